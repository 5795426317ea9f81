"""All decisions at a glance: one row each, with status, verdict, main effect and cost. Prints nothing."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from ddpm_exp.decisions.arm import Arm
from ddpm_exp.decisions.verdict import judge
from ddpm_exp.decisions.wording import NOT_AVAILABLE, with_interval
from ddpm_exp.spec.decision import Decision
from ddpm_exp.spec.errors import UserError


@dataclass(frozen=True)
class BoardRow:
    """One decision."""

    experiment_id: str
    title: str
    status: str
    """As the experiment file says."""

    verdict: str
    """`accepted`, `rejected`, `inconclusive`, or `refused` where the runs cannot be judged."""

    effect: str
    """The first criterion's metric with its difference and interval."""

    done: int
    planned: int
    """Runs of all arms that the criteria need."""

    hours: float
    note: str = ""
    """What is missing, why it was refused, or what to beware of."""

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def board_row(
    experiment_id: str, decision: Decision, variant: Arm, baseline: Arm | None, *, criteria_hash: str | None = None
) -> BoardRow:
    """The row of one decision. What cannot be judged gets a row too, with the reason: one bad record hides no other."""
    try:
        verdict = judge(decision, variant, baseline, criteria_hash=criteria_hash)
    except UserError as error:
        return _row(experiment_id, decision, "refused", NOT_AVAILABLE, variant, " ".join(str(error).split()))
    first = next(iter(verdict.criteria), None)
    effect = NOT_AVAILABLE
    if first is not None and first.difference is not None:
        effect = f"{first.criterion.metric} {with_interval(first.difference, first.interval)}"
    note = "; ".join((*verdict.missing, *verdict.cautions))
    row = _row(experiment_id, decision, verdict.outcome, effect, variant, note)
    return BoardRow(**{**asdict(row), "done": verdict.done, "planned": verdict.planned, "hours": verdict.hours})


def sorted_board(rows: list[BoardRow]) -> list[BoardRow]:
    """Rows by id."""
    return sorted(rows, key=lambda row: row.experiment_id)


def _row(experiment_id: str, decision: Decision, verdict: str, effect: str, variant: Arm, note: str) -> BoardRow:
    done, planned = len(variant.counted), len(variant.planned)
    return BoardRow(experiment_id, decision.title, decision.status, verdict, effect, done, planned, variant.hours, note)
