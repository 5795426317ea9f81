"""A loss that is not finite changes nothing, is counted, and stops the run when it stays: the last good checkpoint is kept."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from support.tiny_training import CPU, TRAINING, copied, identical, tiny_trainer

from ddpm_exp.checkpoints.store import latest, save
from ddpm_exp.spec.errors import RunError
from ddpm_exp.training.loop import Callbacks, train
from ddpm_exp.training.state import to_checkpoint
from ddpm_exp.training.statistics import BadSteps, Statistics
from ddpm_exp.training.trainer import Trainer


def diverge(trainer: Trainer) -> None:
    """Weights are finite but so large that the squared error is not."""
    with torch.no_grad():
        trainer.network.last.bias.fill_(1e30)


@contextmanager
def diverged(trainer: Trainer) -> Iterator[None]:
    before = trainer.network.last.bias.detach().clone()
    diverge(trainer)
    yield
    with torch.no_grad():
        trainer.network.last.bias.copy_(before)


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_a_bad_step_changes_neither_weights_nor_moments_and_is_counted(precision: str) -> None:
    trainer = tiny_trainer(TRAINING.but(weight_decay=0.1), precision=precision)  # type: ignore[arg-type]
    for _ in range(2):
        trainer.step()
    trainer.statistics.read()
    with diverged(trainer):
        before = copied([trainer.network.state_dict(), trainer.optimizer.state_dict()["state"]])
        trainer.step()
        assert identical(copied([trainer.network.state_dict(), trainer.optimizer.state_dict()["state"]]), before)
    assert trainer.statistics.read() == ({"train/bad_steps": 1.0}, BadSteps(1, by_loss=1, by_gradient=0))
    weights = copied(dict(trainer.network.state_dict()))
    trainer.step()
    values, _ = trainer.statistics.read()
    assert values["train/bad_steps"] == 0.0
    assert values["train/loss"] < 3
    assert not identical(copied(dict(trainer.network.state_dict())), weights)


def test_a_bad_first_step_is_skipped_too() -> None:
    trainer = tiny_trainer()
    diverge(trainer)
    before = copied(dict(trainer.network.state_dict()))
    trainer.step()
    assert identical(dict(trainer.network.state_dict()), before)


def test_a_bad_fp16_step_halves_the_loss_scale() -> None:
    trainer = tiny_trainer(precision="fp16")
    with diverged(trainer):
        trainer.step()
    assert float(trainer.loss_scale.scale) == 2.0**15


def test_a_gradient_that_overflows_under_a_finite_loss_is_a_bad_step() -> None:
    trainer = tiny_trainer(precision="fp16")
    trainer.loss_scale.scale.fill_(2.0**100)
    before = copied(dict(trainer.network.state_dict()))
    trainer.step()
    assert trainer.statistics.read() == ({"train/bad_steps": 1.0}, BadSteps(1, by_loss=0, by_gradient=1))
    assert identical(dict(trainer.network.state_dict()), before)
    trainer.loss_scale.scale.fill_(1.0)
    trainer.step()
    assert trainer.statistics.read()[0]["train/loss"] < 3, "the loss itself was finite all the time"


def test_bad_steps_do_not_spoil_the_means_and_runs_are_counted_across_logs() -> None:
    statistics = Statistics(CPU)

    def add(loss: float, bad: float) -> None:
        statistics.add(torch.tensor(loss), torch.tensor(2 * loss), torch.tensor(bad))

    for loss, bad in [(1.0, 0.0), (float("nan"), 1.0), (3.0, 0.0), (float("inf"), 1.0), (float("inf"), 1.0)]:
        add(loss, bad)
    assert statistics.read() == ({"train/bad_steps": 3.0, "train/loss": 2.0, "train/gradient_norm": 4.0}, BadSteps(2, 3, 0))
    add(float("nan"), 1.0)
    assert statistics.read() == ({"train/bad_steps": 1.0}, BadSteps(3, 1, 0))
    add(1.0, 0.0)
    add(float("nan"), 1.0)
    assert statistics.read()[1].longest == 1


def sit(trainer: Trainer, folder: Path, *, bad_from: int, bad_steps: int, stop_after: int) -> list[int]:
    """Train 20 steps with a checkpoint every second one; `bad_steps` of them diverge, from `bad_from` images on."""
    logged: list[int] = []
    healthy: list[torch.Tensor] = []

    def on_images(images: int) -> None:
        if healthy and images >= bad_from + 8 * bad_steps:
            with torch.no_grad():
                trainer.network.last.bias.copy_(healthy.pop())
        if images % 16 == 0 and not healthy:
            save(folder, to_checkpoint(trainer, {}))
        if images == bad_from:
            healthy.append(trainer.network.last.bias.detach().clone())
            diverge(trainer)

    callbacks = Callbacks(lambda images, values: logged.append(images), on_images, lambda: False)
    train(trainer, log_images=24, stops=(8,), stop_after_bad_steps=stop_after, callbacks=callbacks)
    return logged


def test_too_many_bad_steps_in_a_row_stop_the_run_naming_the_cause_and_keep_the_last_good_checkpoint(tmp_path: Path) -> None:
    trainer = tiny_trainer(total_images=160)
    with pytest.raises(RunError, match="in a row had a loss that was not finite") as caught:
        sit(trainer, tmp_path, bad_from=32, bad_steps=100, stop_after=3)
    assert trainer.images_seen == 72, "noticed at the first log after the third bad step"
    error = caught.value
    assert (error.field, error.value, error.exit_code) == ("training.learning_rate", 1e-3, 1)
    assert "lower the learning rate" in str(error.fix)
    found = latest(tmp_path)
    assert found is not None
    assert found[1].images_seen == 32
    assert all(bool(weight.isfinite().all()) for weight in found[1].tensors["network"].values())
    assert float(found[1].tensors["network"]["last.bias"].abs().max()) < 1


def test_fewer_bad_steps_in_a_row_do_not_stop_it(tmp_path: Path) -> None:
    trainer = tiny_trainer(total_images=160)
    logged = sit(trainer, tmp_path, bad_from=32, bad_steps=2, stop_after=3)
    assert logged == [24, 48, 72, 96, 120, 144, 160]
