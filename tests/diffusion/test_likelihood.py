"""Bits per dimension against the closed form of Gaussian data, whose best denoiser, and so every term, is known."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support.gaussian_bits import closed_form, error
from torch import Tensor

from ddpm_exp.diffusion import draws
from ddpm_exp.diffusion.likelihood import Bits, bits_per_dimension, parts
from ddpm_exp.diffusion.paths import build_path
from ddpm_exp.diffusion.variance import variances
from ddpm_exp.spec.diffusion import Diffusion

T = 40
SPECS = [
    Diffusion(timesteps=T, beta_start=25e-4, beta_end=0.5),
    Diffusion(timesteps=T, schedule="cosine", prediction="v"),
    Diffusion(timesteps=T, schedule="sigmoid", prediction="x0"),
    Diffusion(timesteps=T, schedule="cosine", prediction="v", zero_terminal_snr=True),
]
COUNT = 3000


def data(gaussian: Any) -> Tensor:
    x0: Tensor = gaussian.mean + gaussian.deviation * draws.normal(0, "data", torch.arange(COUNT), (8,))
    return x0


def measured(gaussian: Any, spec: Diffusion, **options: Any) -> Bits:
    path = build_path(spec)
    network = options.pop("network", None) or gaussian.network(path, spec.prediction)
    return bits_per_dimension(spec, path, network, data(gaussian), None, 1, torch.arange(COUNT), **options)


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: f"{spec.schedule}-{spec.prediction}-{spec.zero_terminal_snr}")
def test_every_part_has_its_closed_form(gaussian: Any, spec: Diffusion) -> None:
    bits = measured(gaussian, spec)
    for found, expected in zip((bits.prior, bits.steps, bits.decoder), closed_form(gaussian, spec), strict=True):
        uncertainty = 5 * float(found.double().std()) / math.sqrt(COUNT)
        assert float(found.double().mean()) == pytest.approx(expected, abs=uncertainty + 1e-6)
    torch.testing.assert_close(bits.total, bits.prior + bits.steps + bits.decoder)


def best_network(gaussian: Any, spec: Diffusion) -> Any:
    """The ideal mean, and the variance that minimises the bound: the posterior's plus the mean's expected squared error."""
    path = build_path(spec)
    mean = gaussian.network(path, spec.prediction)

    def ask(x: Tensor, c_noise: Tensor, condition: Any) -> Tensor:
        said = []
        for time in (c_noise.long() + 1).tolist():
            t, s = path.level(time), path.level(time - 1)
            small, large = variances(t, s)
            low, high = (variances(path.level(2), t)[0] if time == 1 else small), large
            best = small + (s.alpha * large / t.sigma**2) ** 2 * error(gaussian, path, time)
            said.append(2 * math.log(best / low) / math.log(high / low) - 1)
        return torch.cat([mean(x, c_noise, condition), torch.tensor(said)[:, None].expand_as(x)], dim=1)

    return ask


def test_the_best_learned_variance_has_its_closed_form_and_is_between_small_and_the_entropy(gaussian: Any) -> None:
    spec = SPECS[0].but(learned_variance=True)
    bits = measured(gaussian, spec, network=best_network(gaussian, spec))
    expected = closed_form(gaussian, spec, best_variance=True)
    for found, value in zip((bits.prior, bits.steps, bits.decoder), expected, strict=True):
        assert float(found.double().mean()) == pytest.approx(value, abs=5 * float(found.double().std()) / math.sqrt(COUNT) + 1e-6)
    entropy = 0.5 * math.log2(2 * math.pi * math.e * gaussian.deviation**2)
    assert entropy - 1e-6 < sum(expected) < sum(closed_form(gaussian, spec))
    # Of a normal, every reverse step is a normal: with the best variance the bound is the likelihood but for the prior.
    assert sum(expected[1:]) - entropy < 0.02


def test_more_times_tighten_the_bound_on_the_entropy(gaussian: Any) -> None:
    entropy = 0.5 * math.log2(2 * math.pi * math.e * gaussian.deviation**2)
    bounds = [
        sum(closed_form(gaussian, Diffusion(timesteps=count, beta_start=0.1 / count, beta_end=20 / count)))
        for count in (100, 400, 1600)
    ]
    assert bounds[0] > bounds[1] > bounds[2] > entropy


def test_all_terms_are_the_default(gaussian: Any) -> None:
    for one, two in zip(measured(gaussian, SPECS[0]), measured(gaussian, SPECS[0], terms=T - 1), strict=True):
        assert torch.equal(one, two)


@given(count=st.integers(1, 2000), data=st.data())
@settings(max_examples=60, deadline=None)
def test_parts_are_neighbours_that_share_out_all_steps_and_narrow_towards_the_data(count: int, data: st.DataObject) -> None:
    terms = data.draw(st.integers(1, count))
    edges = parts(count, terms)
    widths = [after - before for before, after in pairwise(edges)]
    assert len(widths) == terms and edges[0] == 0 and edges[-1] == count
    assert min(widths) >= 1 and widths[0] == min(widths)


@pytest.mark.parametrize(("terms", "share"), [(2, 0.2), (13, 0.05)])
def test_fewer_terms_estimate_the_same_sum(gaussian: Any, terms: int, share: float) -> None:
    whole, sampled = measured(gaussian, SPECS[0]), measured(gaussian, SPECS[0], terms=terms)
    uncertainty = 5 * float(sampled.steps.double().std()) / math.sqrt(COUNT)
    assert float(sampled.steps.double().mean()) == pytest.approx(float(whole.steps.double().mean()), abs=uncertainty)
    assert uncertainty < share * float(whole.steps.mean())
    assert torch.equal(whole.prior, sampled.prior) and torch.equal(whole.decoder, sampled.decoder)


def test_an_example_has_its_bits_in_any_batch(gaussian: Any) -> None:
    spec, path = SPECS[0], build_path(SPECS[0])
    network, x0 = gaussian.network(path, "eps"), data(gaussian)[:6]
    whole = bits_per_dimension(spec, path, network, x0, None, 1, torch.arange(6), terms=5)
    part = bits_per_dimension(spec, path, network, x0[4:], None, 1, torch.arange(4, 6), terms=5)
    torch.testing.assert_close(whole.total[4:], part.total)


def test_bits_of_images_are_of_their_grey_values(gaussian: Any) -> None:
    # A network that knows nothing costs about the 8 bits of a grey value; x0 clamped costs no more than unclamped.
    spec, path = SPECS[2], build_path(SPECS[2])
    x0 = (draws.integers(0, "grey", torch.arange(16 * 48), 256).view(16, 3, 4, 4) / 127.5) - 1
    nothing = bits_per_dimension(spec, path, lambda x, c, condition: torch.zeros_like(x), x0, None, 0, torch.arange(16))
    assert 0 < float(nothing.prior.mean()) < 0.1
    assert float(nothing.total.mean()) > 8
    far = lambda x, c, condition: torch.full_like(x, 3.0)  # noqa: E731
    loose, clamped = (
        bits_per_dimension(spec, path, far, x0, None, 0, torch.arange(16), clip_x0=clip).total.mean() for clip in (False, True)
    )
    assert clamped < loose


def test_real_times_and_impossible_numbers_of_terms_are_refused(gaussian: Any) -> None:
    flow = Diffusion(schedule="rectified-flow", prediction="velocity")
    with pytest.raises(ValueError, match="whole times"):
        measured(gaussian, flow)
    for terms in (0, T):
        with pytest.raises(ValueError, match="1 to 39 terms"):
            measured(gaussian, SPECS[0], terms=terms)
