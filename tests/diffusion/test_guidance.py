"""Guidance: scale 1 is the conditional model, 0 the unconditional one, every prediction is guided alike; its four refinements."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support.known_data import DIFFUSIONS

from ddpm_exp.diffusion.denoiser import denoiser
from ddpm_exp.diffusion.guidance import Ask, guided, rescaled
from ddpm_exp.diffusion.levels import Level
from ddpm_exp.diffusion.network import Condition, Output, asked
from ddpm_exp.diffusion.paths import build_path
from ddpm_exp.diffusion.predictions import Prediction, target, to_x0
from ddpm_exp.diffusion.step import ratio
from ddpm_exp.spec.diffusion import Diffusion
from ddpm_exp.spec.sampling import Sampling

X = torch.randn(3, 1, 4, 4, generator=torch.Generator().manual_seed(0))
LABELS, NULLS = {"class": torch.tensor([1, 4, 7])}, {"class": torch.full((3,), 10)}
LEVEL = build_path(Diffusion()).level(500)


class Counting:
    """A network that differs by condition and remembers the batches that it was asked for."""

    def __init__(self, slope: float = 1.0) -> None:
        self.batches: list[int] = []
        self.slope = slope

    def __call__(self, x: torch.Tensor, c_noise: torch.Tensor, condition: Condition) -> torch.Tensor:
        assert condition is not None
        self.batches.append(len(x))
        assert len(c_noise) == len(x)
        return (self.slope * x * (1 + condition["class"].float().view(-1, 1, 1, 1)) + c_noise.view(-1, 1, 1, 1)).sin()


def ask_of(network: Any, diffusion: Diffusion | None = None) -> Ask:
    def ask(x: torch.Tensor, level: Level, condition: Condition) -> Output:
        return asked(diffusion or Diffusion(), network, x, level, x.new_full((len(x),), level.c_noise), condition)

    return ask


def value(network: Any, sampling: Sampling, guide: Any = None, level: Level = LEVEL, null: Condition = NULLS) -> torch.Tensor:
    answer = guided(ask_of(network), sampling, LABELS, null, guide=None if guide is None else ask_of(guide))
    return answer(X, level).output.value


def plain(network: Any, condition: Condition, level: Level = LEVEL) -> torch.Tensor:
    return ask_of(network)(X, level, condition).value


def test_scale_one_is_the_conditional_model_itself() -> None:
    network = Counting()
    assert torch.equal(value(network, Sampling(), null=None), plain(network, LABELS))
    assert network.batches == [3, 3]


def test_scale_one_gives_the_sampler_bit_for_bit_what_no_guidance_gives() -> None:
    without = denoiser(Diffusion(), Sampling(), Counting(), condition=LABELS, null=None)(X, LEVEL)
    with_null = denoiser(Diffusion(), Sampling(guidance_scale=1.0), Counting(), condition=LABELS, null=NULLS)(X, LEVEL)
    assert torch.equal(without.x0, with_null.x0)
    assert torch.equal(without.eps, with_null.eps)


def test_scale_zero_is_the_unconditional_model() -> None:
    network = Counting()
    assert torch.equal(value(network, Sampling(guidance_scale=0.0)), plain(network, NULLS))
    assert network.batches == [3, 3]


@pytest.mark.parametrize("scale", [0.5, 2.0, 7.5])
def test_other_scales_ask_once_with_a_doubled_batch(scale: float) -> None:
    network = Counting()
    found = value(network, Sampling(guidance_scale=scale))
    assert network.batches == [6]
    conditional, unconditional = plain(network, LABELS), plain(network, NULLS)
    torch.testing.assert_close(found, (1 - scale) * unconditional + scale * conditional)


def test_every_part_of_the_condition_is_doubled() -> None:
    seen: dict[str, torch.Tensor] = {}

    def network(x: torch.Tensor, c_noise: torch.Tensor, condition: Condition) -> torch.Tensor:
        seen.update(condition or {})
        return x

    condition = {"class": torch.tensor([1, 2, 3]), "values": torch.rand(3, 4), "image": torch.rand(3, 2, 4, 4)}
    null = {kind: torch.zeros_like(part) for kind, part in condition.items()}
    guided(ask_of(network), Sampling(guidance_scale=2.0), condition, null)(X, LEVEL)
    assert seen.keys() == condition.keys()
    for kind, part in condition.items():
        assert torch.equal(seen[kind], torch.cat([part, null[kind]]))


@pytest.mark.parametrize("scale", [0.999999, 1.000001, 0.000001])
def test_guidance_is_continuous_in_its_scale(scale: float) -> None:
    network = Counting()
    near, at = (value(network, Sampling(guidance_scale=w)) for w in (scale, float(round(scale))))
    torch.testing.assert_close(near, at, atol=1e-5, rtol=0)


@given(
    name=st.sampled_from(["linear", "vp-cosine", "rectified-flow", "ve"]),
    prediction=st.sampled_from(["eps", "v", "score", "velocity"]),
    scale=st.floats(0, 20),
    share=st.floats(0.02, 0.98),
)
@settings(max_examples=60, deadline=None)
def test_guiding_any_prediction_is_guiding_x0(name: str, prediction: Prediction, scale: float, share: float) -> None:
    path = build_path(DIFFUSIONS[name])
    level = path.level(float(round(1000 * share)) if path.discrete else share)
    if level.d_alpha is None and prediction == "velocity":
        return  # no derivative on whole times
    x, sampling = X.double() * path.prior_std, Sampling(guidance_scale=scale)

    def clean(x: torch.Tensor, level: Level, condition: Condition) -> Output:
        assert condition is not None
        return Output((x / path.prior_std + condition["class"].view(-1, 1, 1, 1)).tanh(), None)

    def other(x: torch.Tensor, level: Level, condition: Condition) -> Output:
        x0 = clean(x, level, condition).value
        return Output(target(prediction, x0, (x - level.alpha * x0) / level.sigma, level), None)

    in_x0 = guided(clean, sampling, LABELS, NULLS)(x, level).output.value
    in_other = guided(other, sampling, LABELS, NULLS)(x, level).output.value
    torch.testing.assert_close(to_x0(prediction, in_other, x, level), in_x0, atol=1e-6, rtol=1e-6)


def test_guidance_is_computed_in_float32() -> None:
    def half(x: torch.Tensor, c_noise: torch.Tensor, condition: Condition) -> torch.Tensor:
        assert condition is not None
        return (x + condition["class"].view(-1, 1, 1, 1) / 7).bfloat16()

    found = value(half, Sampling(guidance_scale=7.5))
    conditional, unconditional = (half(X, X, c).float() for c in (LABELS, NULLS))
    assert found.dtype == torch.float32
    assert torch.equal(found, unconditional + 7.5 * (conditional - unconditional))


def test_the_clamp_comes_after_guidance() -> None:
    # Clamping the two images before they are combined would leave the guided one out of range.
    diffusion, sampling = Diffusion(prediction="x0"), Sampling(guidance_scale=9.0)
    found = denoiser(diffusion, sampling, Counting(), condition=LABELS, null=NULLS)(X, LEVEL).x0
    assert torch.equal(found, value(Counting(), sampling).clamp(-1, 1))
    assert found.abs().max() == 1


@pytest.mark.parametrize(("null", "condition"), [(None, LABELS), (NULLS, None), (None, None)])
def test_guidance_without_conditions_is_refused(null: Condition, condition: Condition) -> None:
    with pytest.raises(ValueError, match="needs"):
        guided(ask_of(Counting()), Sampling(guidance_scale=2.0), condition, null)


def test_conditions_of_other_parts_are_refused() -> None:
    answer = guided(ask_of(Counting()), Sampling(guidance_scale=2.0), LABELS, {"values": torch.zeros(3, 2)})
    with pytest.raises(ValueError, match="null condition"):
        answer(X, LEVEL)


@pytest.mark.parametrize("scale", [0.0, 3.0])
def test_outside_the_interval_the_model_is_asked_once_and_plainly(scale: float) -> None:
    path, sampling = build_path(Diffusion()), Sampling(guidance_scale=scale, guidance_interval=(0.5, 2.0))
    for t in (1, 100, 300, 500, 1000):
        level, network = path.level(t), Counting()
        found = value(network, sampling, level=level)
        if 0.5 <= ratio(level) <= 2.0:
            assert torch.equal(found, value(Counting(), sampling.but(guidance_interval=None), level=level))
        else:
            assert network.batches == [3]
            assert torch.equal(found, plain(Counting(), LABELS, level))


def test_pure_noise_is_outside_every_interval() -> None:
    sampling = Sampling(guidance_scale=3.0, guidance_interval=(0.0, 1e9))
    level = build_path(DIFFUSIONS["zero-snr"]).level(1000)
    assert torch.equal(value(Counting(), sampling, level=level), plain(Counting(), LABELS, level))


@pytest.mark.parametrize("share", [0.0, 0.7, 1.0])
def test_rescaling_moves_the_deviation_of_x0_towards_the_conditional_one(share: float) -> None:
    # Lin et al. 2024, eq. 15 and 16.
    conditional, guided_x0 = torch.randn(3, 2, 8, 8), 4 * torch.randn(3, 2, 8, 8) + 1
    found = rescaled(guided_x0, conditional, share)
    for image in range(3):
        wanted, before = conditional[image].std(correction=0), guided_x0[image].std(correction=0)
        assert float(found[image].std(correction=0)) == pytest.approx(float(share * wanted + (1 - share) * before), rel=1e-5)
        torch.testing.assert_close(found[image] / guided_x0[image], (found[image] / guided_x0[image]).mean().expand(2, 8, 8))


def test_rescaling_leaves_what_has_no_deviation_alone() -> None:
    assert torch.equal(rescaled(torch.full((2, 3), 5.0), torch.rand(2, 3), 1.0), torch.full((2, 3), 5.0))
    assert torch.equal(rescaled(torch.rand(2, 1), torch.rand(2, 1), 1.0).isfinite(), torch.ones(2, 1, dtype=torch.bool))


@pytest.mark.parametrize("prediction", ["eps", "x0", "v"])
def test_the_denoiser_rescales_in_x0_space_and_derives_the_noise_again(prediction: Any) -> None:
    diffusion, sampling = Diffusion(prediction=prediction), Sampling(guidance_scale=5.0, guidance_rescale=0.7)
    ask = ask_of(Counting(), diffusion)
    x0, eps, _ = denoiser(diffusion, sampling, Counting(), condition=LABELS, null=NULLS, within=None)(X, LEVEL)
    conditional, whole = ask(X, LEVEL, LABELS).value, guided(ask, sampling, LABELS, NULLS)(X, LEVEL).output.value
    expected = rescaled(*(to_x0(prediction, each, X, LEVEL) for each in (whole, conditional)), 0.7)
    torch.testing.assert_close(x0, expected)
    torch.testing.assert_close(LEVEL.alpha * x0 + LEVEL.sigma * eps, X, atol=1e-5, rtol=1e-5)
    assert (x0 - to_x0(prediction, whole, X, LEVEL)).abs().max() > 0.01


@pytest.mark.parametrize("scale", [0.5, 2.0])
def test_a_guide_takes_the_place_of_the_unconditional_model(scale: float) -> None:
    network, guide = Counting(), Counting(slope=0.5)
    found = value(network, Sampling(guidance_scale=scale), guide, null=None)
    assert (network.batches, guide.batches) == ([3], [3])
    towards, away = plain(network, LABELS), plain(guide, LABELS)
    torch.testing.assert_close(found, away + scale * (towards - away))


def test_a_guide_is_asked_where_it_counts_only() -> None:
    network, guide = Counting(), Counting(slope=0.5)
    assert torch.equal(value(network, Sampling(guidance_scale=0.0), guide), plain(guide, LABELS))
    assert network.batches == []
    value(network, Sampling(guidance_scale=2.0, guidance_interval=(1e-4, 1e-3)), guide)
    assert (network.batches, guide.batches) == ([3], [3, 3])


def test_a_guide_needs_no_condition() -> None:
    def network(x: torch.Tensor, c_noise: torch.Tensor, condition: Condition) -> torch.Tensor:
        assert condition is None
        return x.sin()

    answer = guided(ask_of(network), Sampling(guidance_scale=3.0), None, None, guide=ask_of(lambda x, c, _: x.cos()))
    torch.testing.assert_close(answer(X, LEVEL).output.value, X.cos() + 3 * (X.sin() - X.cos()))


def test_a_learned_variance_is_the_conditional_models_own() -> None:
    diffusion = Diffusion(learned_variance=True)

    def network(x: torch.Tensor, c_noise: torch.Tensor, condition: Condition) -> torch.Tensor:
        assert condition is not None
        return torch.cat([x, condition["class"].float().view(-1, 1, 1, 1).expand_as(x)], 1)

    found = denoiser(diffusion, Sampling(guidance_scale=4.0), network, condition=LABELS, null=NULLS)(X, LEVEL).variance
    assert found is not None
    assert torch.equal(found[:, 0, 0, 0], LABELS["class"].float())
