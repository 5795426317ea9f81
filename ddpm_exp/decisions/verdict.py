"""The verdict on a decision: accepted, rejected or inconclusive, from its criteria and the planned runs alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from ddpm_exp.decisions.arm import Arm, seeds_in_words
from ddpm_exp.decisions.comparable import early_ends, refuse_losses, require_comparable
from ddpm_exp.decisions.judged import Judged, judge_criterion
from ddpm_exp.spec.decision import Criterion, Decision
from ddpm_exp.spec.errors import UserError

Outcome = Literal["accepted", "rejected", "inconclusive"]


@dataclass(frozen=True)
class Verdict:
    """What the criteria say, and why."""

    outcome: Outcome
    accept: tuple[Judged, ...]
    """The criteria of `accept_when`, in order."""

    reject: tuple[Judged, ...]
    """The criteria of `reject_when`, in order."""

    reasons: tuple[str, ...]
    """Why the outcome is what it is, as sentences."""

    missing: tuple[str, ...]
    """What is still to run, as sentences; empty when every planned run is finished."""

    done: int
    """Planned runs that are finished, of all arms that are needed."""

    planned: int
    hours: float
    """Time spent in all runs of the arms that say so."""

    cautions: tuple[str, ...] = ()
    """What a reader must know before believing the outcome."""

    @property
    def criteria(self) -> tuple[Judged, ...]:
        """All criteria, those for acceptance first."""
        return self.accept + self.reject

    def to_json(self) -> dict[str, Any]:
        """Plain values, without infinities or NaN."""
        return {
            "outcome": self.outcome,
            "reasons": list(self.reasons),
            "missing": list(self.missing),
            "cautions": list(self.cautions),
            "accept_when": [judged.to_json() for judged in self.accept],
            "reject_when": [judged.to_json() for judged in self.reject],
            "runs": {"done": self.done, "planned": self.planned},
            "hours": self.hours,
        }


def judge(decision: Decision, variant: Arm, baseline: Arm | None, *, criteria_hash: str | None = None) -> Verdict:
    """Judge `decision` on the runs of its experiment (`variant`) and of its baseline.

    Nothing is concluded before every planned seed of every arm that a criterion needs is finished: stopping as soon as
    a test passes would accept far more often by chance than the confidence says. `criteria_hash` is that of the
    experiment as it is now; runs made under another one are told of in `cautions`.

    Raises UserError where a criterion needs a baseline and there is none, where the arms differ in data or evaluation
    settings, and for losses that do not compare.
    """
    if sorted(variant.planned) != sorted(decision.seeds):
        raise ValueError("the variant's planned seeds are not the decision's")
    criteria = decision.accept_when + decision.reject_when
    compared = _baseline_of(criteria, variant, baseline)
    needed = [variant, *([compared] if compared else [])]
    missing = tuple(sentence for arm in needed for sentence in _missing(arm))
    done, planned = sum(len(arm.counted) for arm in needed), sum(len(arm.planned) for arm in needed)
    withheld = f"{done} of {planned} planned runs are finished, and nothing is concluded before all are" if missing else None
    judged = [_judge_one(criterion, variant, compared, withheld) for criterion in criteria]
    accept, reject = tuple(judged[: len(decision.accept_when)]), tuple(judged[len(decision.accept_when) :])
    outcome, reasons = _conclude(accept, reject, withheld)
    return Verdict(
        outcome,
        accept,
        reject,
        reasons,
        missing,
        done,
        planned,
        variant.hours + (baseline.hours if baseline else 0.0),
        _cautions(variant, criteria_hash) + tuple(sentence for arm in needed for sentence in early_ends(arm)),
    )


def _baseline_of(criteria: tuple[Criterion, ...], variant: Arm, baseline: Arm | None) -> Arm | None:
    """The baseline where a criterion needs it, after making sure that it compares."""
    against = [criterion for criterion in criteria if criterion.value is None and criterion.against == "baseline"]
    if not against:
        return None
    if baseline is None:
        raise UserError(
            "this criterion compares with a baseline, and the experiment has none",
            field=against[0].metric,
            fix="subclass the experiment to compare with, set `baseline` to its id, or write against='untrained' or a bound",
        )
    require_comparable(variant, baseline)
    for criterion in against:
        refuse_losses(criterion.metric, variant, baseline)
    return baseline


def _judge_one(criterion: Criterion, variant: Arm, baseline: Arm | None, withheld: str | None) -> Judged:
    values = variant.values(criterion.metric, criterion.at_point)
    reference: Mapping[int, float | None] | None = None
    if criterion.value is None:
        if criterion.against == "untrained":
            reference = variant.values_before_training(criterion.metric)
        elif criterion.against == "noise":
            reference = variant.values_before_training(f"noise/{criterion.metric}")
        elif baseline is not None:
            reference = baseline.values(criterion.metric, criterion.at_point)
    return judge_criterion(criterion, values, reference, withheld)


def _missing(arm: Arm) -> list[str]:
    sentences = []
    for seed in arm.missing:
        attempts = [run for run in arm.runs if run.seed == seed and not run.finished]
        last = max(attempts, key=lambda run: (run.created, run.place), default=None)
        state = "has no run" if last is None else f"is {last.state}"
        if last is not None and last.message:
            state += f" ({' '.join(last.message.split())})"
        sentences.append(f"{arm.experiment_id}, seed {seed}, {state}")
    return sentences


def _conclude(accept: tuple[Judged, ...], reject: tuple[Judged, ...], withheld: str | None) -> tuple[Outcome, tuple[str, ...]]:
    if withheld:
        return "inconclusive", (withheld,)
    against = [judged for judged in reject if judged.status == "holds"]
    met = bool(accept) and all(judged.status == "holds" for judged in accept)
    if against:
        reasons = [f"a criterion for rejection holds: {judged.criterion}" for judged in against]
        if met:
            reasons.append("every criterion for acceptance holds as well; the criteria contradict each other, and rejection wins")
        return "rejected", tuple(reasons)
    if met:
        return "accepted", ("every criterion for acceptance holds and none for rejection",)
    if not accept:
        return "inconclusive", ("no criterion for rejection holds, and the decision names none for acceptance",)
    reasons = [f"not met: {judged.sentence}" for judged in accept if judged.status != "holds"]
    if any(judged.status == "fails" for judged in accept):
        reasons.append("it cannot be accepted on these runs, but no criterion for rejection holds")
    return "inconclusive", tuple(reasons)


def _cautions(variant: Arm, criteria_hash: str | None) -> tuple[str, ...]:
    cautions = []
    changed = [run.seed for run in variant.counted.values() if criteria_hash and run.criteria_hash != criteria_hash]
    if changed:
        cautions.append(
            f"criteria changed after runs: {seeds_in_words(changed)} ran under other criteria or planned seeds than these, "
            "so this verdict was not fixed in advance"
        )
    spare = variant.extra
    if spare:
        cautions.append(f"{len(spare)} run(s) of this experiment are listed but not used: not planned, repeated or unfinished")
    return tuple(cautions)
