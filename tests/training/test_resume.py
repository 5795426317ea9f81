"""A training that was stopped and goes on from its checkpoint is the training that never stopped, bit for bit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from support.tiny_training import TINY, TRAINING, identical, tiny_network, tiny_trainer

from ddpm_exp.checkpoints.store import latest, save
from ddpm_exp.spec.errors import RunError
from ddpm_exp.training.loop import Callbacks, train
from ddpm_exp.training.state import restore, to_checkpoint
from ddpm_exp.training.trainer import Trainer

SCHEDULED = TRAINING.but(rate="cosine", ema_ramp=0.3, weight_decay=0.01)


def fresh(precision: Any = "fp32") -> Trainer:
    return tiny_trainer(SCHEDULED, dropout=0.3, micro_batch=4, precision=precision, total_images=80, warmup_images=16)


def go(trainer: Trainer, stop_at: int | None = None) -> list[tuple[int, dict[str, float]]]:
    rows: list[tuple[int, dict[str, float]]] = []

    def on_log(images: int, values: dict[str, float]) -> None:
        rows.append((images, {name: value for name, value in values.items() if not name.startswith("speed/")}))

    callbacks = Callbacks(on_log, lambda images: None, lambda: stop_at is not None and trainer.images_seen >= stop_at)
    finished = train(trainer, log_images=32, stops=(), stop_after_bad_steps=5, callbacks=callbacks)
    assert finished == (stop_at is None)
    return rows


def stopped_and_resumed(folder: Path, stop_at: int, precision: Any = "fp32") -> tuple[Trainer, list[tuple[int, dict[str, float]]]]:
    first = fresh(precision)
    rows = go(first, stop_at)
    save(folder, to_checkpoint(first, {}))
    second = fresh(precision)
    torch.manual_seed(99)
    found = latest(folder)
    assert found is not None
    restore(second, found[1])
    assert second.images_seen == stop_at
    return second, rows + go(second)


# 48 is inside a log interval of 32: the statistics not yet read must survive.
@pytest.mark.parametrize("stop_at", [8, 48, 64])
def test_stopping_and_resuming_changes_no_bit(tmp_path: Path, stop_at: int) -> None:
    straight = fresh()
    rows = go(straight)
    resumed, found_rows = stopped_and_resumed(tmp_path, stop_at)
    expected, found = to_checkpoint(straight, {}), to_checkpoint(resumed, {})
    assert found.images_seen == expected.images_seen == 80
    for part in ("network", "ema", "optimizer", "loss_scale", "statistics"):
        assert identical(found.tensors[part], expected.tensors[part]), part
    assert [images for images, _ in rows] == [32, 64, 80]
    assert found_rows == rows


def test_moments_that_lie_otherwise_in_memory_are_the_same_moments(tmp_path: Path) -> None:
    """As several devices keep them, or a network of another memory format."""
    straight, resumed = (tiny_trainer(SCHEDULED, memory_format=torch.channels_last, total_images=80) for _ in range(2))
    go(straight, 48)
    kept = to_checkpoint(straight, {})
    moments = kept.tensors["optimizer"]["state"]
    kept.tensors["optimizer"]["state"] = {
        number: {name: value.contiguous() for name, value in one.items()} for number, one in moments.items()
    }
    save(tmp_path, kept)
    found = latest(tmp_path)
    assert found is not None
    restore(resumed, found[1])
    go(resumed)
    go(straight)
    assert identical(to_checkpoint(resumed, {}).tensors["network"], to_checkpoint(straight, {}).tensors["network"])


def test_half_precision_resumes_with_its_loss_scale(tmp_path: Path) -> None:
    straight = fresh("fp16")
    straight.loss_scale.scale.fill_(1024.0)
    for _ in range(3):
        straight.step()
    save(tmp_path, to_checkpoint(straight, {}))
    found, resumed = latest(tmp_path), fresh("fp16")
    assert found is not None
    restore(resumed, found[1])
    for trainer in (straight, resumed):
        trainer.step()
    assert float(resumed.loss_scale.scale) == 1024.0
    assert identical(to_checkpoint(resumed, {}).tensors, to_checkpoint(straight, {}).tensors)


def test_dropout_and_average_take_part_in_what_resuming_must_restore() -> None:
    """Guards the tests above: without dropout they would not notice its generator, without an average not its weights."""
    trainer, certain = fresh(), tiny_trainer(SCHEDULED, micro_batch=4, total_images=80, warmup_images=16)
    for _ in range(4):
        trainer.step()
        certain.step()
    assert trainer.ema is not None
    assert not identical(dict(trainer.network.state_dict()), dict(certain.network.state_dict()))
    assert not identical(dict(trainer.ema.network.state_dict()), dict(trainer.network.state_dict()))


def test_a_checkpoint_of_another_network_is_refused_in_words(tmp_path: Path) -> None:
    trainer = fresh()
    save(tmp_path, to_checkpoint(trainer, {}))
    found = latest(tmp_path)
    assert found is not None
    found[1].tensors["network"] = tiny_network(TINY.but(base_channels=16)).state_dict()
    with pytest.raises(RunError, match="does not fit this network") as caught:
        restore(trainer, found[1])
    assert "--fresh" in str(caught.value)
