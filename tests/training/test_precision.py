"""The loss scale of fp16: falls after a bad step, rises after enough good ones, stays within its bounds."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from support.tiny_training import CPU, tiny_trainer

from ddpm_exp.spec.errors import RunError
from ddpm_exp.training.precision import LossScale, fixed_order, set_arithmetic

GOOD, BAD = torch.tensor(0.0), torch.tensor(1.0)


def test_a_bad_step_halves_the_scale() -> None:
    scale = LossScale(CPU, "fp16")
    assert float(scale.scale) == 2.0**16
    scale.update(BAD)
    assert float(scale.scale) == 2.0**15


def test_good_steps_double_it_after_the_interval_and_only_in_a_row() -> None:
    scale = LossScale(CPU, "fp16", interval=3)
    steps = [GOOD, GOOD, GOOD, GOOD, BAD, GOOD, GOOD, GOOD]
    for bad, expected in zip(steps, [16, 16, 17, 17, 16, 16, 16, 17], strict=True):
        scale.update(bad)
        assert float(scale.scale) == 2.0**expected


def test_it_stays_between_1_and_2_to_the_24() -> None:
    scale = LossScale(CPU, "fp16", interval=1)
    for _ in range(20):
        scale.update(GOOD)
    assert float(scale.scale) == 2.0**24
    for _ in range(40):
        scale.update(BAD)
    assert float(scale.scale) == 1.0


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_other_precisions_have_no_scale(precision: str) -> None:
    scale = LossScale(CPU, precision, interval=1)  # type: ignore[arg-type]
    for bad in (BAD, GOOD, GOOD):
        scale.update(bad)
        assert float(scale.scale) == 1.0


def test_its_state_remembers_how_many_good_steps_there_were() -> None:
    straight, resumed = LossScale(CPU, "fp16", interval=3), LossScale(CPU, "fp16", interval=3)
    straight.update(BAD)
    straight.update(GOOD)
    straight.update(GOOD)
    resumed.restore(straight.state())
    resumed.update(GOOD)
    assert float(resumed.scale) == 2.0**16


def test_tf32_and_determinism_are_what_was_said_whatever_was_before() -> None:
    try:
        for on in (True, False):
            torch.backends.cudnn.allow_tf32 = not on
            set_arithmetic(tf32=on, deterministic=on)
            assert torch.backends.cuda.matmul.allow_tf32 is on
            assert torch.backends.cudnn.allow_tf32 is on
            assert torch.backends.cudnn.deterministic is on
            assert torch.are_deterministic_algorithms_enabled() is on
    finally:
        set_arithmetic(tf32=False, deterministic=False)


class _Unordered(torch.autograd.Function):
    """Its backward pass has no kernel of fixed order, as torch says it of its own: an error or a warning, as was asked."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        return x.clone()

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> torch.Tensor:
        (grad,) = grads
        if torch.are_deterministic_algorithms_enabled() and not torch.is_deterministic_algorithms_warn_only_enabled():
            raise RuntimeError("unordered_backward does not have a deterministic implementation, but you set ...\nand more")
        return grad


@pytest.fixture
def deterministic() -> Iterator[None]:
    set_arithmetic(tf32=False, deterministic=True)
    yield
    set_arithmetic(tf32=False, deterministic=False)


@pytest.mark.usefixtures("deterministic")
def test_a_backward_pass_without_fixed_order_is_an_error_where_determinism_was_asked_for() -> None:
    x = torch.ones(2, requires_grad=True)
    with fixed_order(strict=False):
        _Unordered.apply(x).sum().backward()  # type: ignore[no-untyped-call]
    with pytest.raises(RunError) as caught, fixed_order(strict=True):
        _Unordered.apply(x).sum().backward()  # type: ignore[no-untyped-call]
    assert (caught.value.field, caught.value.fix) == ("hardware.deterministic", "set hardware.deterministic to False")
    assert "unordered_backward" in caught.value.rule and "and more" not in caught.value.rule
    assert torch.is_deterministic_algorithms_warn_only_enabled(), "only meanwhile"
    with pytest.raises(RuntimeError, match="another"), fixed_order(strict=True):
        raise RuntimeError("another")


@pytest.mark.usefixtures("deterministic")
def test_attention_is_not_cudnns_meanwhile_whatever_it_was_before() -> None:
    before = torch.backends.cuda.cudnn_sdp_enabled()
    try:
        for enabled in (True, False):
            torch.backends.cuda.enable_cudnn_sdp(enabled)
            with fixed_order(strict=False):
                assert not torch.backends.cuda.cudnn_sdp_enabled()
            assert torch.backends.cuda.cudnn_sdp_enabled() is enabled
    finally:
        torch.backends.cuda.enable_cudnn_sdp(before)


@pytest.mark.usefixtures("deterministic")
def test_a_training_step_goes_back_strictly_and_forward_without_cudnns_attention() -> None:
    trainer = tiny_trainer()
    seen: dict[str, tuple[bool, bool]] = {}

    def note(name: str) -> None:
        seen[name] = torch.is_deterministic_algorithms_warn_only_enabled(), torch.backends.cuda.cudnn_sdp_enabled()

    weight = next(trainer.network.parameters())
    weight.register_hook(lambda grad: note("backward"))
    trainer.network.register_forward_hook(lambda *_: note("forward"))
    trainer.step()
    assert seen == {"forward": (True, False), "backward": (False, False)}
    note("after")
    assert seen["after"] == (True, True)


def test_without_determinism_nothing_changes() -> None:
    with fixed_order(strict=True):
        assert torch.backends.cuda.cudnn_sdp_enabled()
        _Unordered.apply(torch.ones(2, requires_grad=True)).sum().backward()  # type: ignore[no-untyped-call]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.usefixtures("deterministic")
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_attention_of_many_tokens_has_the_same_gradients_each_time(dtype: torch.dtype) -> None:
    q, k, v = (torch.randn(4, 8, 1024, 64, device="cuda", dtype=dtype, requires_grad=True) for _ in range(3))
    found = []
    for _ in range(8):
        with fixed_order(strict=False):
            out = torch.nn.functional.scaled_dot_product_attention(q, k, v)
        with fixed_order(strict=True):
            found.append(torch.autograd.grad(out.square().sum(), (q, k, v)))
    assert all(torch.equal(one, other) for each in found[1:] for one, other in zip(found[0], each, strict=True))
