"""A step for which memory runs out is taken again with fewer images at once, and is the step that it would have been."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from support.tiny_training import TRAINING, Inputs, copied, identical, tiny_trainer

from ddpm_exp.ranks.full_device import is_out_of_memory
from ddpm_exp.spec.diffusion import Diffusion
from ddpm_exp.training.out_of_memory import Halved, NoRoomError
from ddpm_exp.training.state import to_checkpoint
from ddpm_exp.training.trainer import Trainer

STEPS = 4
IMPORTANCE = Diffusion(time_density="importance", timesteps=8)


class Room:
    """The network raises what a full device raises, where it has forward or backward passes of more than `images` images."""

    def __init__(self, trainer: Trainer, images: int, *, where: str = "forward", from_images: int = 0) -> None:
        self.images = images
        self._trainer, self._from, self._calls = trainer, from_images, 0
        self.halved: list[Halved] = []
        trainer.on_halved = self.halved.append
        if where == "forward":
            trainer.network.register_forward_pre_hook(lambda module, given: self._need(len(given[0])))
        else:
            trainer.network.register_forward_hook(self._in_backward)

    def _need(self, images: int) -> None:
        self._calls += 1
        # Not in the first micro-batch: the step has added gradients and shown losses already.
        if images > self.images and self._trainer.images_seen >= self._from and self._calls % 2 == 0:
            self.full(images)

    @staticmethod
    def full(images: int) -> None:
        raise torch.OutOfMemoryError(f"CUDA out of memory. Tried to allocate {images} GiB.\nGPU 0 is full.")

    def _in_backward(self, module: torch.nn.Module, given: Any, answer: torch.Tensor) -> None:
        images = len(answer)
        answer.register_hook(lambda gradient: self._need(images))


def after(trainer: Trainer, steps: int = STEPS) -> Any:
    for _ in range(steps):
        trainer.step()
    return copied(to_checkpoint(trainer, {}).tensors)


@pytest.mark.parametrize("where", ["forward", "backward"])
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_a_run_short_of_memory_is_bit_for_bit_the_one_with_the_smaller_micro_batch(where: str, precision: Any) -> None:
    training = TRAINING.but(images_per_step=16)
    straight = after(tiny_trainer(training, micro_batch=2, precision=precision, diffusion=IMPORTANCE))
    trainer = tiny_trainer(training, micro_batch=8, precision=precision, diffusion=IMPORTANCE)
    room = Room(trainer, 2, where=where)
    assert identical(after(trainer), straight)
    assert [(one.images, one.micro_batch, one.accumulation) for one in room.halved] == [(0, 4, 4), (0, 2, 8)]
    assert room.halved[0].said == "CUDA out of memory. Tried to allocate 8 GiB."
    assert trainer.micro_batch == 2 and trainer.statistics.read()[0]["train/bad_steps"] == 0


def test_memory_that_runs_out_in_mid_run_changes_results_by_rounding_and_counts_nothing_twice() -> None:
    training = TRAINING.but(images_per_step=16)
    whole, short = (tiny_trainer(training, micro_batch=8, diffusion=IMPORTANCE) for _ in range(2))
    room = Room(short, 4, from_images=32)
    expected, found = after(whole), after(short)
    assert [(one.images, one.micro_batch) for one in room.halved] == [(32, 4)]
    for name, value in expected["network"].items():
        torch.testing.assert_close(found["network"][name], value, rtol=1e-3, atol=2e-5)
    assert torch.equal(found["objective"]["observed"], expected["objective"]["observed"]), "each loss is counted once"
    assert found["statistics"]["sums"].tolist() == pytest.approx(expected["statistics"]["sums"].tolist(), rel=1e-5)


def test_a_step_that_was_begun_again_sees_the_same_images_and_noise() -> None:
    training = TRAINING.but(images_per_step=16)
    whole, short = tiny_trainer(training, micro_batch=8), tiny_trainer(training, micro_batch=8)
    expected = Inputs(whole.network)
    Room(short, 4)
    whole.step()
    found = Inputs(short.network)  # behind the one that raises: it sees what had room
    short.step()
    for ours, theirs in zip(found.together(), expected.together(), strict=True):
        assert torch.equal(ours[-16:], theirs)


def test_halves_of_what_is_not_even_still_divide_the_step() -> None:
    training = TRAINING.but(images_per_step=15)
    trainer = tiny_trainer(training, micro_batch=5)
    room = Room(trainer, 1)
    trainer.step()
    assert [one.micro_batch for one in room.halved] == [1]


def test_without_room_for_one_image_the_run_stops_and_says_what_the_device_said() -> None:
    trainer = tiny_trainer(micro_batch=4)
    room = Room(trainer, 0)
    before = copied(dict(trainer.network.state_dict()))
    with pytest.raises(NoRoomError, match="even with one image at once, after 0 images: CUDA out of memory") as caught:
        trainer.step()
    assert [one.micro_batch for one in room.halved] == [2, 1] and caught.value.value == 1
    assert identical(dict(trainer.network.state_dict()), before) and trainer.images_seen == 0


def test_an_update_without_room_stops_the_run_as_it_cannot_be_begun_again() -> None:
    trainer = tiny_trainer(micro_batch=4)
    trainer.on_halved = lambda halved: pytest.fail("nothing was halved")
    trainer.optimizer.register_step_pre_hook(lambda *given: Room.full(8))
    with pytest.raises(NoRoomError, match="the optimizer's update has no room on the device after 0 images: CUDA out of memory"):
        trainer.step()
    assert trainer.images_seen == 0


def test_whoever_looks_for_what_fits_is_told_and_other_errors_are_left_alone() -> None:
    trainer = tiny_trainer(micro_batch=4)
    Room(trainer, 0)
    trainer.on_halved = None
    with pytest.raises(torch.OutOfMemoryError):
        trainer.step()
    other = tiny_trainer(micro_batch=4)
    other.on_halved = lambda halved: pytest.fail("this was no lack of memory")
    other.network.register_forward_pre_hook(lambda module, given: torch.zeros(2) @ torch.zeros(3))
    with pytest.raises(RuntimeError, match="inconsistent"):
        other.step()


def test_a_lack_of_memory_is_seen_behind_the_error_that_it_caused() -> None:
    try:
        try:
            raise torch.OutOfMemoryError("CUDA out of memory")
        finally:
            raise RuntimeError("operation failed due to a previous error during capture")
    except RuntimeError as error:
        assert is_out_of_memory(error)
    assert not is_out_of_memory(RuntimeError("no kernel image is available"))


def test_where_weights_are_spread_nothing_is_tried_again_and_the_error_says_what_would_fit() -> None:
    trainer = tiny_trainer(TRAINING.but(images_per_step=16), micro_batch=8)
    trainer.spread = True
    room = Room(trainer, 2)
    with pytest.raises(NoRoomError, match="on one of the devices") as caught:
        trainer.step()
    assert caught.value.fix is not None and "hardware.micro_batch = 4" in caught.value.fix
    assert room.halved == [] and trainer.micro_batch == 8
