"""How often criteria are looked at as seeds are added, and how much of their error each look may spend. Judges nothing.

A test that is tried again on more seeds until it passes passes too often. So every look has its part of the error: look j may spend
3 / 4^j of it (three quarters, three sixteenths, ...), which sums to the whole however many looks there are (Bonferroni, by an
alpha-spending series as in Lan and DeMets 1983). Where the seeds are final there is one look, and it may spend all.
"""

from __future__ import annotations

from collections.abc import Sequence

from ddpm_exp.decisions.arm import Arm, seeds_in_words
from ddpm_exp.records.amendments import Amendment
from ddpm_exp.spec.decision import Decision
from ddpm_exp.spec.errors import UserError

_KEPT_BACK = 4


def error_share(look: int) -> float:
    """How much of the error look number `look` (from 1) may spend; all looks together spend 1."""
    return (_KEPT_BACK - 1) / float(_KEPT_BACK) ** look


def look_of(amendments: Sequence[Amendment]) -> int:
    """The number of the look after these. A plan of a single seed could not be judged, so that it was no look."""
    return 1 + sum(len(amendment.before) > 1 for amendment in amendments)


def share_of(decision: Decision, variant: Arm) -> float:
    """How much of each criterion's error may be spent on the seeds as they are planned now."""
    final = not decision.amendable and all(not run.amendable for run in variant.runs if run.planned_seeds)
    return 1.0 if final and not variant.amendments else error_share(look_of(variant.amendments))


def plan_of(variant: Arm) -> tuple[int, ...] | None:
    """The seeds that were planned last, by the first run and the amendments since; None before any run."""
    if variant.amendments:
        return variant.amendments[-1].after
    first = min((run for run in variant.runs if run.planned_seeds), key=lambda run: (run.created, run.place), default=None)
    return None if first is None else first.planned_seeds


def added_seeds(decision: Decision, variant: Arm) -> tuple[int, ...]:
    """Seeds that the decision plans now and the plan did not; none before any run. Raises UserError where planned ones are gone."""
    plan = plan_of(variant)
    if plan is None:
        return ()
    gone = sorted(set(plan) - set(decision.seeds))
    if gone:
        raise UserError(
            f"{seeds_in_words(gone)} of the plan {tuple(sorted(plan))} were taken out after runs were made: what is chosen by its "
            "result is no evidence",
            field="decision.seeds",
            value=decision.seeds,
            fix=f"put them back, seeds={tuple(sorted({*plan, *decision.seeds}))}, or write a new record",
        )
    return tuple(sorted(set(decision.seeds) - set(plan)))


def require_plan(decision: Decision, variant: Arm) -> None:
    """Raise UserError, with the command that amends, unless the decision's seeds are those that were planned."""
    added = added_seeds(decision, variant)
    if not added:
        return
    require_amendable(decision, variant)
    share = amendment(decision, variant, "").error_share
    raise UserError(
        f"{seeds_in_words(added)} came to the plan {tuple(sorted(plan_of(variant) or ()))} after runs were made: seeds added "
        f"until a criterion holds make it hold too often. The next look may spend {share * 100:.4g} % of each criterion's error",
        field="decision.seeds",
        value=decision.seeds,
        fix=f'record why: ddpm-exp decide {variant.name} --amend "why" (or run --amend "why"), or go back to the planned seeds',
    )


def require_amendable(decision: Decision, variant: Arm) -> None:
    """Raise UserError where the seeds are final, or were when a run was made: its look might have spent everything."""
    if not decision.amendable or not all(run.amendable for run in variant.runs if run.planned_seeds):
        raise UserError(
            "these seeds are final: the decision said so, and its one look may spend the whole error",
            field="decision.amendable",
            fix="go back to the seeds that were planned, or write a new record",
        )


def amendment(decision: Decision, variant: Arm, why: str) -> Amendment:
    """What adding seeds to the plan records. There is a plan."""
    before, look = plan_of(variant) or (), look_of(variant.amendments)
    look += len(before) > 1
    return Amendment(why=why, before=before, after=decision.seeds, look=look, error_share=error_share(look))


def in_words(amendment: Amendment) -> str:
    """`amended on 2025-06-09: seeds 0, 1 to 0, 1, 2, 3 (why); look 2 may spend 18.75 % of each criterion's error`."""
    before, after = (", ".join(map(str, seeds)) for seeds in (amendment.before, amendment.after))
    return (
        f"amended on {amendment.created[:10]}: seeds {before} to {after} ({amendment.why}); look {amendment.look} may spend "
        f"{amendment.error_share * 100:.4g} % of each criterion's error"
    )
