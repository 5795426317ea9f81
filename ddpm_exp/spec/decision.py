"""A decision record and the criteria that a machine can check. Criteria are data; `decisions` judges them."""

from __future__ import annotations

import difflib
from typing import Annotated, Literal

from annotated_types import Ge, Gt, Lt
from pydantic import field_validator, model_validator
from pydantic_core import PydanticCustomError

from ddpm_exp.spec.base import Spec, broken
from ddpm_exp.spec.errors import UserError
from ddpm_exp.spec.metrics import METRIC_NAMES, find_metric
from ddpm_exp.spec.progress import Amount

Reference = Literal["baseline", "untrained", "noise"]
"""`baseline`: the other arm. `untrained`: this network before its first step. `noise`: white noise in place of samples."""

Kind = Literal["falls", "rises", "no_worse", "at_most", "at_least"]


class Criterion(Spec):
    """One condition on one metric; build it with `metric(...)`."""

    metric: str
    """Name in the metric catalogue."""

    kind: Kind
    """`falls` / `rises`: differs from the reference by at least `by`. `no_worse`: worse by at most `by`.
    `at_most` / `at_least`: compares the mean with `value`."""

    by: Annotated[float, Ge(0)] = 0.0
    """Margin; a share of the reference's mean if `relative`."""

    relative: bool = False
    value: float | None = None
    """Bound of `at_most` and `at_least`."""

    against: Reference = "baseline"
    confidence: Annotated[float, Gt(0.5), Lt(1)] = 0.95
    """One-sided confidence that the statement needs."""

    at_point: Amount | None = None
    """Where in the training; None: at the end."""

    @field_validator("metric")
    @classmethod
    def _catalogued(cls, name: str) -> str:
        if name not in METRIC_NAMES:
            near = difflib.get_close_matches(name, METRIC_NAMES, n=1)
            hint = f"did you mean '{near[0]}'?" if near else f"known: {', '.join(METRIC_NAMES)}"
            raise PydanticCustomError("metric", "no such metric; {hint}", {"hint": hint})
        return name

    @model_validator(mode="after")
    def _bound(self) -> Criterion:
        if (self.kind in ("at_most", "at_least")) != (self.value is not None):
            raise broken(
                "at_most and at_least need a value, the other kinds have none",
                field="value",
                value=self.value,
                fix="write metric(name) <= value, or .falls(by=...)",
            )
        return self

    def __bool__(self) -> bool:
        # `0.1 <= metric(name) <= 0.3` would otherwise drop its first half without a word
        raise UserError(
            "a criterion is judged later, by runs, and is neither true nor false now",
            field="criterion",
            value=str(self),
            fix="write one criterion per bound: metric(name) >= 0.1, metric(name) <= 0.3",
        )

    def at(self, point: str) -> Criterion:
        """The same criterion at `point` of the training ("20 epochs") instead of the end."""
        return self.but(at_point=point)

    def __str__(self) -> str:
        where = f" at {self.at_point}" if self.at_point else ""
        margin = f"{self.by * 100:g} %" if self.relative else f"{self.by:g}"
        sentence = {
            "falls": f"falls by {margin} against {self.against}",
            "rises": f"rises by {margin} against {self.against}",
            "no_worse": f"no worse than {self.against} by more than {margin}",
            "at_most": f"<= {self.value:g}" if self.value is not None else "",
            "at_least": f">= {self.value:g}" if self.value is not None else "",
        }[self.kind]
        return f"{self.metric} {sentence}{where} (confidence {self.confidence * 100:g} %)"


class MetricTerm:
    """The start of a criterion: `metric("val/denoising").falls(by="10%")`, `metric("samples/fid") <= 30`."""

    def __init__(self, name: str, at_point: str | None) -> None:
        self._name, self._at = name, at_point

    def _make(self, kind: Kind, by: float | str, against: Reference, confidence: float) -> Criterion:
        relative = isinstance(by, str)
        if isinstance(by, str):
            if not by.strip().endswith("%"):
                raise UserError("a margin is a number or a share", field="by", value=by, fix="write by='5%' or by=0.01")
            try:
                by = float(by.strip().removesuffix("%")) / 100
            except ValueError:
                raise UserError("a share is a number and %", field="by", value=by, fix="write by='5%'") from None
        return Criterion(
            metric=self._name, kind=kind, by=by, relative=relative, against=against, confidence=confidence, at_point=self._at
        )

    def falls(self, by: float | str = 0.0, *, against: Reference = "baseline", confidence: float = 0.95) -> Criterion:
        """The metric is lower than the reference's by at least `by` (a number, or a share such as "10%")."""
        return self._make("falls", by, against, confidence)

    def rises(self, by: float | str = 0.0, *, against: Reference = "baseline", confidence: float = 0.95) -> Criterion:
        """The metric is higher than the reference's by at least `by`."""
        return self._make("rises", by, against, confidence)

    def no_worse(self, by: float | str, *, against: Reference = "baseline", confidence: float = 0.95) -> Criterion:
        """The metric is worse than the reference's by at most `by`, in the catalogue's direction."""
        return self._make("no_worse", by, against, confidence)

    def __le__(self, value: float) -> Criterion:
        return Criterion(metric=self._name, kind="at_most", value=value, at_point=self._at)

    def __ge__(self, value: float) -> Criterion:
        return Criterion(metric=self._name, kind="at_least", value=value, at_point=self._at)


def metric(name: str, *, at: str | None = None) -> MetricTerm:
    """A metric of the catalogue, at the end of training or `at` a point ("20 epochs")."""
    return MetricTerm(name, at)


class Alternative(Spec):
    """A road not taken."""

    title: str
    description: str
    outcome: Literal["rejected", "deferred"] = "rejected"
    reason: str


class Consequences(Spec):
    """What the decision is expected to bring."""

    positive: tuple[str, ...] = ()
    negative: tuple[str, ...] = ()
    risks: tuple[str, ...] = ()
    mitigations: tuple[str, ...] = ()


class Decision(Spec):
    """An architecture decision record whose outcome is decided by runs."""

    title: str
    status: Literal["proposed", "accepted", "rejected", "superseded"] = "proposed"
    date: str | None = None
    """Day of the proposal, ISO 8601."""

    context: str
    chosen: str
    alternatives: tuple[Alternative, ...] = ()
    consequences: Consequences = Consequences()
    seeds: tuple[Annotated[int, Ge(0)], ...] = (0, 1, 2)
    """Training seeds of each arm, planned before the first run."""

    amendable: bool = True
    """Whether seeds may be added after runs were made, with `--amend`. The first look then spends three quarters of each
    criterion's error and leaves the rest to later ones. False: the seeds are final, and one look spends all of it."""

    accept_when: tuple[Criterion, ...] = ()
    """All must hold for acceptance."""

    reject_when: tuple[Criterion, ...] = ()
    """Any that holds is enough for rejection."""

    supersedes: str | None = None
    """Id of the record that this one replaces, such as `ADR-0001`."""

    @field_validator("seeds")
    @classmethod
    def _distinct(cls, seeds: tuple[int, ...]) -> tuple[int, ...]:
        if not seeds or len(set(seeds)) != len(seeds):
            raise PydanticCustomError("seeds", "seeds are at least one and all different; write them like (0, 1, 2)")
        return seeds

    @model_validator(mode="after")
    def _decidable(self) -> Decision:
        for field in ("accept_when", "reject_when"):
            for criterion in getattr(self, field):
                if criterion.kind == "no_worse" and find_metric(criterion.metric).better == "neither":
                    raise broken(
                        f"neither direction of {criterion.metric} is better, so that no value of it is worse",
                        field=field,
                        value=str(criterion),
                        fix="write .falls(by=...), .rises(by=...), <= or >=",
                    )
        return self
