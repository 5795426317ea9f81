"""The loop calls back exactly where it promised, reads statistics only there, and stops when asked."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from support.tiny_training import tiny_trainer

from ddpm_exp.training.diverged import Diverged
from ddpm_exp.training.loop import Callbacks, train
from ddpm_exp.training.statistics import Taken
from ddpm_exp.training.trainer import Trainer


class Watch:
    """Everything that a loop called, in order."""

    def __init__(self, trainer: Trainer) -> None:
        self.trainer = trainer
        self.logs: dict[int, dict[str, float]] = {}
        self.images: list[int] = []
        self.ahead: list[int] = []
        self.events: list[str] = []

    def callbacks(self, should_stop: Callable[[], bool] = lambda: False) -> Callbacks:
        def on_log(images: int, values: dict[str, float]) -> None:
            assert images == self.trainer.images_seen
            self.logs[images] = values
            self.events.append(f"log {images}")

        def on_images(images: int) -> None:
            assert images == self.trainer.images_seen
            self.images.append(images)
            self.events.append(f"images {images}")

        def before_pause(images: int) -> None:
            assert images == self.trainer.images_seen
            self.ahead.append(images)
            assert images not in self.logs and images not in self.images, "after the wait that it is to use"

        return Callbacks(on_log, on_images, should_stop, before_pause=before_pause)


def run(
    total: int, log: int, stops: tuple[int, ...], should_stop: Callable[[Trainer], bool] = lambda trainer: False
) -> tuple[Watch, bool]:
    trainer = tiny_trainer(total_images=total)
    watch = Watch(trainer)
    callbacks = watch.callbacks(lambda: should_stop(trainer))
    return watch, train(trainer, log_images=log, stops=stops, stop_after_bad_steps=5, callbacks=callbacks)


def test_callbacks_come_exactly_at_multiples_and_at_the_end() -> None:
    watch, finished = run(88, 16, (24, 40))
    assert finished
    assert watch.images == watch.ahead == [24, 40, 48, 72, 80, 88]
    assert list(watch.logs) == [16, 32, 48, 64, 80, 88]
    assert watch.events[-2:] == ["log 88", "images 88"], "what is recorded at an image count includes its own log"


def test_intervals_between_steps_are_called_at_the_first_step_past_each_multiple() -> None:
    watch, _ = run(48, 12, (20,))
    assert list(watch.logs) == [16, 24, 40, 48]
    assert watch.images == [24, 40, 48]


def test_a_last_step_that_goes_past_the_total_ends_the_training_once() -> None:
    watch, finished = run(20, 100, (100,))
    assert finished
    assert (watch.trainer.images_seen, watch.images, list(watch.logs)) == (24, [24], [24])


def test_asking_it_to_stop_ends_it_after_the_step() -> None:
    watch, finished = run(80, 16, (16,), lambda trainer: trainer.images_seen >= 40)
    assert not finished
    assert (watch.trainer.images_seen, watch.images, list(watch.logs)) == (40, [16, 32], [16, 32])


def test_asking_it_to_stop_at_the_end_is_a_finish() -> None:
    watch, finished = run(16, 8, (8,), lambda trainer: trainer.images_seen >= 16)
    assert finished
    assert watch.images == [8, 16]


def test_a_finished_training_has_nothing_left_to_do() -> None:
    trainer = tiny_trainer(total_images=16)
    trainer.images_seen = 16
    watch = Watch(trainer)
    assert train(trainer, log_images=8, stops=(8,), stop_after_bad_steps=5, callbacks=watch.callbacks())
    assert watch.events == []


def test_statistics_are_read_only_when_they_are_logged(monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = tiny_trainer(total_images=80)
    take, takes = trainer.statistics.take, []

    def counting() -> Taken:
        takes.append(trainer.images_seen)
        return take()

    monkeypatch.setattr(trainer.statistics, "take", counting)
    train(trainer, log_images=32, stops=(8,), stop_after_bad_steps=5, callbacks=Watch(trainer).callbacks())
    assert takes == [32, 64, 80]


def test_a_log_that_is_read_later_tells_of_its_own_moment() -> None:
    at_once, _ = run(88, 24, (64,))
    trainer = tiny_trainer(total_images=88)
    events: list[str] = []
    logs: dict[int, dict[str, float]] = {}

    def on_log(images: int, values: dict[str, float]) -> None:
        events.append(f"log {images} at {trainer.images_seen}")
        logs[images] = values

    callbacks = Callbacks(on_log, lambda images: events.append(f"images {images}"), lambda: False)
    train(trainer, log_images=24, stops=(64,), stop_after_bad_steps=5, callbacks=callbacks, read_later=2)
    # After two steps; before a pause, the end, and another log whatever has passed.
    expected = ["log 24 at 40", "log 48 at 64", "images 64", "log 72 at 88", "log 88 at 88", "images 88"]
    assert events == expected
    for images, values in logs.items():
        for name in ("train/loss", "train/gradient_norm", "train/learning_rate"):
            assert values[name] == at_once.logs[images][name], (images, name)
        assert values["speed/images_per_second"] > 0


def test_a_log_that_is_not_read_yet_is_read_when_the_training_is_stopped() -> None:
    trainer = tiny_trainer(total_images=88)
    logged: list[int] = []
    callbacks = Callbacks(lambda images, values: logged.append(images), lambda images: None, lambda: trainer.images_seen >= 32)
    assert not train(trainer, log_images=24, stops=(), stop_after_bad_steps=5, callbacks=callbacks, read_later=50)
    assert (trainer.images_seen, logged) == (32, [24])


def test_bad_steps_that_are_noticed_later_are_those_up_to_the_log() -> None:
    trainer = tiny_trainer(total_images=400)
    with torch.no_grad():
        trainer.network.last.bias.fill_(1e30)
    callbacks = Callbacks(lambda images, values: None, lambda images: None, lambda: False)
    with pytest.raises(Diverged) as caught:
        train(trainer, log_images=40, stops=(), stop_after_bad_steps=5, callbacks=callbacks, read_later=3)
    assert (caught.value.images, caught.value.bad.longest, trainer.images_seen) == (40, 5, 64)


def test_each_log_holds_the_means_of_its_own_steps_and_the_speed() -> None:
    watch, _ = run(48, 16, ())
    other, losses, norms = tiny_trainer(total_images=48), [], []
    for _ in range(6):
        other.step()
        values, _ = other.statistics.read()
        losses.append(values["train/loss"])
        norms.append(values["train/gradient_norm"])
    for place, images in enumerate((16, 32, 48)):
        pair = slice(2 * place, 2 * place + 2)
        logged = watch.logs[images]
        assert logged["train/loss"] == pytest.approx(sum(losses[pair]) / 2, rel=1e-9)
        assert logged["train/gradient_norm"] == pytest.approx(sum(norms[pair]) / 2, rel=1e-9)
        assert logged["train/bad_steps"] == 0.0
        assert logged["train/learning_rate"] == 1e-3
        assert logged["speed/images_per_second"] > 0
