"""The step: what it draws, how it is sliced, what it clips, in which precision it computes, and that it waits for nobody."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from support.tiny_training import TRAINING, Inputs, digits, identical, tiny_trainer
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from ddpm_exp.data.order import index_of
from ddpm_exp.diffusion.paths import build_path
from ddpm_exp.spec.diffusion import Diffusion
from ddpm_exp.training.trainer import Trainer


def statistics_of(trainer: Trainer, steps: int) -> list[dict[str, float]]:
    found = []
    for _ in range(steps):
        trainer.step()
        found.append(trainer.statistics.read()[0])
    return found


def test_slicing_a_step_changes_neither_draws_nor_losses() -> None:
    whole, sliced = tiny_trainer(micro_batch=8), tiny_trainer(micro_batch=2)
    inputs = [Inputs(trainer.network) for trainer in (whole, sliced)]
    found = [statistics_of(trainer, 4) for trainer in (whole, sliced)]
    assert (len(inputs[0].seen), len(inputs[1].seen)) == (4, 16)
    for one, other in zip(inputs[0].together(), inputs[1].together(), strict=True):
        assert torch.equal(one, other)
    for one_row, other_row in zip(*found, strict=True):
        assert one_row == pytest.approx(other_row, rel=1e-4)
    assert found[0][0]["train/loss"] > 0.5


def noise_of(inputs: Inputs, trainer: Trainer, step: int, count: int) -> torch.Tensor:
    """The eps that each image met in `step`, by image: x = alpha x0 + sigma eps solved for it."""
    x, c_noise, _ = inputs.seen[step]
    index = index_of(0, torch.arange(count * step, count * (step + 1)), count)
    alpha, sigma, *_ = build_path(Diffusion()).at(c_noise.long() + 1)
    x0 = digits(count).train.batch(index).x0
    eps = (x - alpha.view(-1, 1, 1, 1) * x0) / sigma.view(-1, 1, 1, 1)
    return eps[index.argsort()]


def test_an_image_meets_other_noise_at_another_time_in_every_epoch() -> None:
    trainer = tiny_trainer(TRAINING.but(images_per_step=64), subset=64)
    inputs = Inputs(trainer.network)
    for _ in range(2):
        trainer.step()
    first, second = (noise_of(inputs, trainer, step, 64) for step in range(2))
    assert float(first.std()) == pytest.approx(1.0, abs=0.1)
    correlation = float((first * second).mean())
    assert abs(correlation) < 0.1
    among_images = float((first[:-1] * first[1:]).mean())
    assert abs(among_images) < 0.1
    assert not torch.equal(inputs.seen[0][1], inputs.seen[1][1])


@pytest.mark.parametrize("clip", [0.01, 0.5])
def test_the_clipped_gradient_has_at_most_the_norm_asked_for_and_keeps_its_direction(clip: float) -> None:
    free, clipped = tiny_trainer(TRAINING.but(gradient_clip=None)), tiny_trainer(TRAINING.but(gradient_clip=clip))
    reported = []
    for trainer in (free, clipped):
        reported.append(statistics_of(trainer, 1)[0]["train/gradient_norm"])
    gradients = [
        torch.cat([weight.grad.flatten() for weight in trainer.network.parameters() if weight.grad is not None])
        for trainer in (free, clipped)
    ]
    whole, norm = gradients[0], float(gradients[0].norm())
    assert norm > 0.5
    assert float(gradients[1].norm()) <= clip * (1 + 1e-6)
    torch.testing.assert_close(gradients[1], whole * (clip / norm), rtol=1e-4, atol=1e-8)
    assert reported == pytest.approx([norm, norm], rel=1e-5)


class _Reads(TorchDispatchMode):
    """Counts numbers that travel from a tensor to Python."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += func is torch.ops.aten._local_scalar_dense.default
        return func(*args, **(kwargs or {}))


class _Lists(TorchFunctionMode):
    """Names the calls that would wait for a device, on floats. Integers are left out: which image is next is asked on the CPU."""

    WAITING = ("tolist", "item", "numpy", "cpu", "nonzero", "__bool__", "__float__", "__int__")

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = getattr(func, "__name__", "")
        if name in self.WAITING and args and args[0].is_floating_point():
            self.names.append(name)
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_a_step_never_waits_for_the_device(precision: Any) -> None:
    trainer = tiny_trainer(TRAINING.but(ema_ramp=0.1), micro_batch=4, precision=precision)
    trainer.step()  # The first batch's range is asserted, once.
    reads, lists = _Reads(), _Lists()
    with reads, lists:
        trainer.step()
    assert (reads.count, lists.names) == (0, [])
    with reads, lists:
        float(torch.ones(()))
        trainer.statistics.read()
    assert (reads.count, lists.names) == (1, ["__float__", "tolist"]), "the guard itself must see reads"


def test_bf16_computes_the_network_in_half_precision_and_everything_around_it_in_full() -> None:
    full, half = tiny_trainer(), tiny_trainer(precision="bf16")
    inputs = [Inputs(trainer.network) for trainer in (full, half)]
    outputs: list[torch.dtype] = []
    half.network.first.register_forward_hook(lambda module, given, out: outputs.append(out.dtype))
    found = [statistics_of(trainer, 1)[0] for trainer in (full, half)]
    assert outputs == [torch.bfloat16]
    for one, other in zip(inputs[0].together(), inputs[1].together(), strict=True):
        assert one.dtype == other.dtype
        assert torch.equal(one, other)
    assert inputs[1].seen[0][0].dtype == torch.float32
    assert {weight.dtype for weight in half.network.parameters()} == {torch.float32}
    assert {weight.grad.dtype for weight in half.network.parameters() if weight.grad is not None} == {torch.float32}
    assert found[1] == pytest.approx(found[0], rel=0.03)
    assert found[1] != found[0]


def test_the_fp16_loss_scale_is_gone_from_gradients_and_losses() -> None:
    full, half = (statistics_of(tiny_trainer(precision=precision), 3) for precision in ("fp32", "fp16"))
    for one, other in zip(full, half, strict=True):
        assert other == pytest.approx(one, rel=0.02)


def test_training_on_digits_lowers_the_loss() -> None:
    trainer = tiny_trainer(TRAINING.but(images_per_step=32, learning_rate=5e-3), total_images=32 * 120)
    losses = [row["train/loss"] for row in statistics_of(trainer, 120)]
    assert losses[0] == pytest.approx(1.0, abs=0.1)
    assert sum(losses[-30:]) / 30 < 0.4


def test_equal_seeds_train_equal_weights_whatever_was_drawn_before() -> None:
    first, second = tiny_trainer(dropout=0.3), tiny_trainer(dropout=0.3)
    for trainer, noise in ((first, 1), (second, 2)):
        for _ in range(2):
            torch.manual_seed(noise)
            torch.rand(noise)
            trainer.step()
    assert identical(dict(first.network.state_dict()), dict(second.network.state_dict()))
