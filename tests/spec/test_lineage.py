"""Subclassing an experiment means "the same but for what is written", and nothing else."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from ddpm_exp.spec.decision import Decision
from ddpm_exp.spec.diffusion import Diffusion
from ddpm_exp.spec.errors import UserError
from ddpm_exp.spec.experiment import Experiment
from ddpm_exp.spec.training import Training

DECISION = Decision(title="t", context="c", chosen="d")


class Parent(Experiment):
    """A parent with everything that could be inherited."""

    training = Training(images_per_step=8)
    decision = DECISION
    baseline = "ADR-0001"


def test_values_are_inherited():
    class Child(Parent):
        pass

    assert Child().training.images_per_step == 8


def test_decision_and_baseline_are_never_inherited():
    class Child(Parent):
        pass

    class Grandchild(Child):
        decision = DECISION

    assert Child().decision is None and Child().baseline is None
    assert Grandchild().decision == DECISION and Grandchild().baseline is None
    assert Parent().decision == DECISION, "the child must not change its parent"


def test_an_override_without_annotation_has_the_fields_own_type():
    class Child(Parent):
        training = Diffusion()

    with pytest.raises(ValidationError, match="Training"):
        Child()


def test_an_override_with_another_annotation_still_has_the_fields_own_type():
    class Child(Parent):
        training: Any = Diffusion()

    with pytest.raises(ValidationError, match="Training"):
        Child()


def test_roles_survive_an_override():
    from ddpm_exp.spec.base import Role
    from ddpm_exp.spec.hardware import Hardware

    class Child(Parent):
        hardware = Hardware(workers=0)

    assert Child.role_of("hardware") is Role.EXECUTION


@pytest.mark.parametrize("name", ["diffuson", "timesteps", "colour", "base"])
def test_a_subclass_may_not_add_fields(name):
    for namespace in ({name: 1}, {"__annotations__": {name: int}}, {"__annotations__": {name: "int"}, name: 1}):
        with pytest.raises(UserError, match="may not add fields") as caught:
            type(Parent)("Child", (Parent,), {"__module__": __name__, "__qualname__": "Child", **namespace})
        assert caught.value.field == f"Child.{name}" and caught.value.fix


def test_a_subclass_may_have_methods_and_private_names():
    class Child(Parent):
        _note = "why"

        @property
        def double(self) -> int:
            return 2 * self.training.images_per_step

    assert Child().double == 16


def test_seeds_are_the_decisions():
    assert Parent().seeds == (0, 1, 2)
    assert Experiment().seeds == (0,)
