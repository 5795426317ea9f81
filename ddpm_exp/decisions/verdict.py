"""The verdict on a decision: accepted, rejected or inconclusive, from its criteria and the planned runs alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from ddpm_exp.decisions.arm import Arm, seeds_in_words
from ddpm_exp.decisions.comparable import early_ends, refuse_losses, require_comparable, require_one_noise, shared_noise
from ddpm_exp.decisions.judged import Judged, judge_criterion
from ddpm_exp.decisions.looks import look_of, require_plan, share_of
from ddpm_exp.records.amendments import Amendment
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

    look: int = 1
    """How many times these criteria have been looked at, this one included; each amendment of the seeds is one more."""

    error_share: float = 1.0
    """How much of each criterion's error (1 - confidence) this look may spend."""

    amendments: tuple[Amendment, ...] = ()
    """How the planned seeds grew after runs were made."""

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
            "look": self.look,
            "error_share": self.error_share,
            "amendments": [amendment.model_dump(mode="json") for amendment in self.amendments],
            "runs": {"done": self.done, "planned": self.planned},
            "hours": self.hours,
        }


def judge(decision: Decision, variant: Arm, baseline: Arm | None, *, criteria_hash: str | None = None) -> Verdict:
    """Judge `decision` on the runs of its experiment (`variant`) and of its baseline.

    Nothing is concluded before every planned seed of every arm that a criterion needs is finished: stopping as soon as
    a test passes would accept far more often by chance than the confidence says. Where seeds are added later by an amendment, each
    look has its part of the error (`looks`); where any of several criteria rejects, they share it (Holm 1979). `criteria_hash` is
    that of the experiment as it is now; runs made under another one are told of in `cautions`.

    Raises UserError where a criterion needs a baseline and there is none, where the arms differ in data or evaluation
    settings, for losses that do not compare, and where the seeds are not those that were planned and amended.
    """
    if sorted(variant.planned) != sorted(decision.seeds):
        raise ValueError("the variant's planned seeds are not the decision's")
    require_plan(decision, variant)
    criteria = decision.accept_when + decision.reject_when
    compared = _baseline_of(criteria, variant, baseline)
    needed = [variant, *([compared] if compared else [])]
    for arm in needed:
        require_one_noise(arm)
    missing = tuple(sentence for arm in needed for sentence in _missing(arm))
    done, planned = sum(len(arm.counted) for arm in needed), sum(len(arm.planned) for arm in needed)
    withheld = f"{done} of {planned} planned runs are finished, and nothing is concluded before all are" if missing else None
    share = share_of(decision, variant)

    def judged(criterion: Criterion, part: float) -> Judged:
        return _judge_one(criterion, variant, compared, withheld, part)

    accept = tuple(judged(criterion, share) for criterion in decision.accept_when)
    reject = holm(decision.reject_when, judged, share)
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
        (
            *_cautions(variant, criteria_hash),
            *(sentence for arm in needed for sentence in early_ends(arm)),
            *shared_noise(variant, criteria),
        ),
        look_of(variant.amendments),
        share,
        variant.amendments,
    )


def holm(criteria: tuple[Criterion, ...], judged: Callable[[Criterion, float], Judged], share: float) -> tuple[Judged, ...]:
    """Criteria any of which decides, judged so that none of those that are false holds more often than one alone might (Holm 1979).

    `judged(criterion, part)` judges one with that part of its error. All begin with an equal part of `share`; those that hold leave
    theirs to the rest.
    """
    found: dict[int, Judged] = {}
    left = list(range(len(criteria)))
    while left:
        tried = {place: judged(criteria[place], share / len(left)) for place in left}
        held = [place for place in left if tried[place].status == "holds"]
        found |= tried
        left = [place for place in left if place not in held] if held else []
    return tuple(found[place] for place in range(len(criteria)))


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


def _judge_one(criterion: Criterion, variant: Arm, baseline: Arm | None, withheld: str | None, share: float) -> Judged:
    name, point = criterion.metric, criterion.at_point
    reference, sizes = None, None
    if criterion.value is None:
        if criterion.against == "baseline":
            if baseline is not None:
                reference, sizes = baseline.values(name, point), baseline.out_of(name, point)
        else:
            before = name if criterion.against == "untrained" else f"noise/{name}"
            reference, sizes = variant.values_before_training(before), variant.out_of_before_training(before)
    return judge_criterion(
        criterion,
        variant.values(name, point),
        reference,
        withheld,
        out_of=variant.out_of(name, point),
        reference_out_of=sizes,
        share=share,
    )


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
