"""Guidance: scale 1 is the conditional model, 0 the unconditional one, and every prediction is guided alike."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from ddpm_exp.diffusion.guidance import guided
from ddpm_exp.diffusion.paths import build_path
from ddpm_exp.diffusion.predictions import Prediction, target, to_x0
from ddpm_exp.diffusion.samplers import denoiser
from ddpm_exp.spec.diffusion import Diffusion

NULL = 10
X = torch.randn(3, 1, 4, 4, generator=torch.Generator().manual_seed(0))
C_NOISE = torch.tensor([3.0, 8.0, 2.0])
LABELS, NULLS = torch.tensor([1, 4, 7]), torch.full((3,), NULL)


class Counting:
    """A network that differs by condition and remembers the batches that it was asked for."""

    def __init__(self) -> None:
        self.batches: list[int] = []

    def __call__(self, x: torch.Tensor, c_noise: torch.Tensor, condition: torch.Tensor | None) -> torch.Tensor:
        assert condition is not None
        self.batches.append(len(x))
        return (x * (1 + condition.float().view(-1, 1, 1, 1)) + c_noise.view(-1, 1, 1, 1)).sin()


def test_scale_one_is_the_conditional_model_itself() -> None:
    network = Counting()
    assert torch.equal(guided(network, 1.0, NULLS)(X, C_NOISE, LABELS), network(X, C_NOISE, LABELS))
    assert network.batches == [3, 3]
    assert guided(network, 1.0, None) is network


def test_scale_zero_is_the_unconditional_model() -> None:
    network = Counting()
    assert torch.equal(guided(network, 0.0, NULLS)(X, C_NOISE, LABELS), network(X, C_NOISE, NULLS))
    assert network.batches == [3, 3]


@pytest.mark.parametrize("scale", [0.5, 2.0, 7.5])
def test_other_scales_ask_once_with_a_doubled_batch(scale: float) -> None:
    network = Counting()
    found = guided(network, scale, NULLS)(X, C_NOISE, LABELS)
    assert network.batches == [6]
    conditional, unconditional = network(X, C_NOISE, LABELS), network(X, C_NOISE, NULLS)
    torch.testing.assert_close(found, (1 - scale) * unconditional + scale * conditional)


@pytest.mark.parametrize("scale", [0.999999, 1.000001, 0.000001])
def test_guidance_is_continuous_in_its_scale(scale: float) -> None:
    network = Counting()
    near, at = (guided(network, w, NULLS)(X, C_NOISE, LABELS) for w in (scale, float(round(scale))))
    torch.testing.assert_close(near, at, atol=1e-5, rtol=0)


@pytest.mark.parametrize("prediction", ["eps", "v", "score"])
@pytest.mark.parametrize("t", [1, 300, 1000])
def test_guiding_any_prediction_is_guiding_x0(prediction: Prediction, t: int) -> None:
    path = build_path(Diffusion())
    alpha, sigma, c_noise = path.level(t)
    x, at = X.double(), torch.full((3,), c_noise)

    def clean(x: torch.Tensor, c_noise: torch.Tensor, condition: torch.Tensor | None) -> torch.Tensor:
        return (x + condition.view(-1, 1, 1, 1)).tanh()  # type: ignore[union-attr]

    def other(x: torch.Tensor, c_noise: torch.Tensor, condition: torch.Tensor | None) -> torch.Tensor:
        x0 = clean(x, c_noise, condition)
        return target(prediction, x0, (x - alpha * x0) / sigma, alpha, sigma)

    in_x0 = guided(clean, 3.0, NULLS)(x, at, LABELS)
    in_other = guided(other, 3.0, NULLS)(x, at, LABELS)
    torch.testing.assert_close(to_x0(prediction, in_other, x, alpha, sigma), in_x0, atol=1e-6, rtol=0)


def test_guidance_is_computed_in_float32() -> None:
    def half(x: torch.Tensor, c_noise: torch.Tensor, condition: torch.Tensor | None) -> torch.Tensor:
        return (x + condition.view(-1, 1, 1, 1) / 7).bfloat16()  # type: ignore[union-attr]

    found = guided(half, 7.5, NULLS)(X, C_NOISE, LABELS)
    conditional, unconditional = (half(X, C_NOISE, c).float() for c in (LABELS, NULLS))
    assert found.dtype == torch.float32
    assert torch.equal(found, unconditional + 7.5 * (conditional - unconditional))


def test_the_clamp_comes_after_guidance() -> None:
    # Clamping the two images before they are combined would leave the guided one out of range.
    path, network = build_path(Diffusion()), Counting()
    ask = denoiser(network, path, "x0", clip_x0=True, condition=LABELS, null=NULLS, guidance_scale=9.0)
    x0, _ = ask(X, 500)
    expected = guided(Counting(), 9.0, NULLS)(X, torch.full((3,), 499.0), LABELS).clamp(-1, 1)
    assert torch.equal(x0, expected)


@pytest.mark.parametrize(("null", "condition"), [(None, LABELS), (NULLS, None)])
def test_guidance_without_conditions_is_refused(null: Any, condition: Any) -> None:
    with pytest.raises(ValueError, match="needs"):
        guided(Counting(), 2.0, null)(X, C_NOISE, condition)
