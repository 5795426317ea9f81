"""The experiment: one class that says what to train, how to measure it and how to judge it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Self, get_type_hints

from pydantic import model_validator

from ddpm_exp.spec.base import EXECUTION, JUDGEMENT, Spec
from ddpm_exp.spec.condition import Condition, Unconditional
from ddpm_exp.spec.data import Data, Digits
from ddpm_exp.spec.decision import Decision
from ddpm_exp.spec.diffusion import Diffusion
from ddpm_exp.spec.errors import UserError
from ddpm_exp.spec.evaluation import Evaluation
from ddpm_exp.spec.fields import hint
from ddpm_exp.spec.hardware import Hardware
from ddpm_exp.spec.model import Model, UNet
from ddpm_exp.spec.rules import check_rules
from ddpm_exp.spec.sampling import Sampling
from ddpm_exp.spec.tracking import Tracking
from ddpm_exp.spec.training import Training

if TYPE_CHECKING:
    from pydantic._internal._model_construction import ModelMetaclass
else:
    ModelMetaclass = type(Spec)

_NEVER_INHERITED = ("decision", "baseline")


class _Lineage(ModelMetaclass):
    """Makes subclassing mean "the same but for what is written": see `Experiment`."""

    def __new__(mcs, name: str, bases: tuple[type, ...], namespace: dict[str, Any], **kwargs: Any) -> type:
        parents = [base for base in bases if isinstance(base, _Lineage)]
        if parents:
            _adopt_annotations(name, parents[0], namespace)
        return super().__new__(mcs, name, bases, namespace, **kwargs)


def _adopt_annotations(name: str, parent: Any, namespace: dict[str, Any]) -> None:
    """Give every override the field's own annotation, reset what is not inherited, refuse new fields."""
    annotations = get_type_hints(Experiment, include_extras=True)
    own: dict[str, Any] = namespace.setdefault("__annotations__", {})
    written = [key for key in {**own, **namespace} if not key.startswith("_") and key != "model_config"]
    for key in written:
        if key in parent.model_fields:
            own[key] = annotations[key]
            namespace.setdefault(key, parent.model_fields[key].default)
        elif key in own or not (callable(namespace[key]) or isinstance(namespace[key], property | classmethod | staticmethod)):
            raise UserError(
                "an experiment may not add fields to the one it builds on",
                field=f"{name}.{key}",
                fix=hint(key, Experiment, ""),
            )
    for key in _NEVER_INHERITED:
        if key not in namespace:
            own[key], namespace[key] = annotations[key], None


class Experiment(Spec, metaclass=_Lineage):
    """Subclass it (or another experiment, which is then the baseline) and write only what changes.

    Overrides need no annotation; new or misspelt fields are errors; `decision` and `baseline` are never inherited.
    """

    decision: Annotated[Decision | None, JUDGEMENT] = None
    """What this experiment decides, and by which criteria. None: a run without a verdict."""

    baseline: Annotated[str | None, JUDGEMENT] = None
    """The experiment to compare with, as its ADR id (`ADR-0001`). None: the parent class, if it is an experiment of its own."""

    data: Data = Digits(image_size=16)
    condition: Condition = Unconditional()
    diffusion: Diffusion = Diffusion()
    model: Model = UNet()
    training: Training = Training()
    sampling: Sampling = Sampling()
    evaluation: Evaluation = Evaluation()
    hardware: Annotated[Hardware, EXECUTION] = Hardware()
    tracking: Annotated[Tracking, EXECUTION] = Tracking()

    @model_validator(mode="after")
    def _rules(self) -> Self:
        check_rules(self)
        return self

    @property
    def seeds(self) -> tuple[int, ...]:
        """Training seeds: the decision's, or a single 0."""
        return self.decision.seeds if self.decision else (0,)
