"""Compilation is spent only where it is earned back."""

from __future__ import annotations

from ddpm_exp.spec.experiment import Experiment
from ddpm_exp.spec.hardware import Hardware
from ddpm_exp.workflow import compiling
from ddpm_exp.workflow.compiling import Compilation, choose


def test_a_run_is_compiled_only_if_it_is_long_enough_and_the_network_gains(monkeypatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setattr(compiling, "GAINS", {"unet": Compilation(60.0, 1.25)})
    experiment = Experiment()
    # 1.25 times as fast saves a fifth: 600 s save 120 s, twice what compiling costs.
    assert not choose(experiment, 590).compile
    assert choose(experiment, 610).compile
    assert "would take 2 min off 10 min of training, and 60 s itself" in choose(experiment, 590).why
    monkeypatch.setattr(compiling, "GAINS", {"unet": Compilation(60.0, 0.97)})
    assert not choose(experiment, 1e6).compile


def test_an_experiment_that_says_is_obeyed() -> None:
    for said in (True, False):
        experiment = Experiment(hardware=Hardware(compile=said))
        assert choose(experiment, 1.0).compile is said
        assert choose(experiment, 1e6).compile is said


def test_every_network_has_a_gain_on_record() -> None:
    from typing import get_args

    from ddpm_exp.spec.model import Model

    kinds = {model.model_fields["kind"].default for model in get_args(get_args(Model)[0])}
    assert kinds == set(compiling.GAINS)
