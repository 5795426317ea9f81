"""What a network's estimates are worth: those of the conditional mean all, those of a network that knows nothing none."""

from __future__ import annotations

import math

import pytest
import torch
from support.known_data import DIFFUSIONS, GaussianData
from torch import Tensor

from ddpm_exp.diffusion.bands import Bands
from ddpm_exp.diffusion.calibration import LEAST_RATIO, Calibration, Each, _regression, calibrate
from ddpm_exp.diffusion.denoiser import denoiser
from ddpm_exp.diffusion.network import Condition, Network
from ddpm_exp.diffusion.paths import build_path
from ddpm_exp.diffusion.step import ratio
from ddpm_exp.spec.diffusion import Diffusion
from ddpm_exp.spec.sampling import Sampling

SHAPE = (1, 8, 8)
DATA = GaussianData(mean=0.2, deviation=0.5)
X0 = DATA.mean + DATA.deviation * torch.randn(512, *SHAPE, generator=torch.Generator().manual_seed(0))
BANDS = Bands(SHAPE, "image")


def by(batch: int) -> Each:
    """So many of the examples at once."""
    return lambda work: [work(slice(first, min(first + batch, len(X0)))) for first in range(0, len(X0), batch)]


def calibrated(diffusion: Diffusion, network: Network, x0: Tensor = X0) -> Calibration:
    mean = torch.full(SHAPE, DATA.mean)
    found = calibrate(diffusion, build_path(diffusion), network, x0, None, mean, BANDS, by(64))
    assert found is not None
    return found


def knows_nothing(x: Tensor, c_noise: Tensor, condition: Condition) -> Tensor:
    """Always the same, whatever it sees."""
    return torch.zeros_like(x)


@pytest.mark.parametrize("name", ["linear", "cosine", "vp-cosine", "rectified-flow"])
def test_the_conditional_mean_comes_out_as_it_was(name: str) -> None:
    # Of Gaussian data it is a line in x, along which nothing tells the two weights apart: what they make of new x is measured.
    diffusion = DIFFUSIONS[name]
    path = build_path(diffusion)
    network = DATA.network(path, diffusion.prediction)
    found = calibrated(diffusion, network)
    ask = denoiser(diffusion, Sampling(), network, condition=None, null=None, within=None, calibration=found)
    for number, log_snr in enumerate(found.log_snrs.tolist()):
        level = path.at_log_snr(log_snr)
        clean, eps = torch.randn(2, 64, *SHAPE, generator=torch.Generator().manual_seed(number))
        x = level.alpha * (DATA.mean + DATA.deviation * clean) + level.sigma * eps
        error = (ask(x, level).x0 - DATA.x0(x, level)).square().mean().sqrt()
        # The luck of 512 examples, of which the lowest band has three numbers each: 0.5 / sqrt(1536), three times.
        assert float(error) < 0.04


def test_a_conditional_mean_that_is_not_linear_keeps_all_its_weight() -> None:
    # Each example is 1 or -1 all over: at these levels the mean of all pixels tells which, and no pixel by itself does.
    signs = torch.where(torch.arange(512) % 2 == 0, 1.0, -1.0).view(-1, 1, 1, 1) * torch.ones(SHAPE)
    diffusion = Diffusion(prediction="x0")
    path = build_path(diffusion)

    def network(x: Tensor, c_noise: Tensor, condition: Condition) -> Tensor:
        at = path.level(float(c_noise[0].round()) + 1)
        return torch.tanh(at.alpha / at.sigma**2 * x.sum(dim=(1, 2, 3), keepdim=True)).expand_as(x)

    found = calibrate(diffusion, path, network, signs, None, torch.zeros(SHAPE), BANDS, by(64))
    assert found is not None
    q, p = found.weights[-1, :, 0]
    assert float(q) == pytest.approx(1.0, abs=0.1) and float(p) == pytest.approx(0.0, abs=0.1)


def test_of_a_network_that_knows_nothing_the_wiener_filter_is_left() -> None:
    diffusion = Diffusion(prediction="x0")
    path = build_path(diffusion)

    def guessing(x: Tensor, c_noise: Tensor, condition: Condition) -> Tensor:
        return torch.randn(x.shape, generator=torch.Generator().manual_seed(int(c_noise[0] * 1000)))

    found = calibrated(diffusion, guessing)
    q, p = found.weights.unbind(1)
    assert float(q.abs().max()) < 0.05
    for at, log_snr in enumerate(found.log_snrs.tolist()):
        level = path.at_log_snr(log_snr)
        wiener = level.alpha * DATA.deviation**2 / (level.alpha**2 * DATA.deviation**2 + level.sigma**2)
        torch.testing.assert_close(p[at], torch.full_like(p[at], wiener), atol=0.03, rtol=0)


def test_a_band_of_which_nothing_is_known_is_left_alone() -> None:
    found = calibrate(
        Diffusion(prediction="x0"), build_path(Diffusion()), knows_nothing, X0, None, torch.zeros(SHAPE), BANDS, by(64)
    )
    assert found is not None and bool(torch.isfinite(found.weights).all())


@pytest.mark.parametrize("name", ["linear", "cosine"])
def test_noise_of_a_length_that_is_said_to_be_one_makes_no_large_examples(name: str) -> None:
    # What half-trained networks say: they normalise what they see, and the length of x itself is lost.
    diffusion = Diffusion(schedule=name)  # type: ignore[arg-type]
    path = build_path(diffusion)
    noisiest = path.level(path.last)

    def normalised(x: Tensor, c_noise: Tensor, condition: Condition) -> Tensor:
        return x / x.square().mean(dim=(1, 2, 3), keepdim=True).sqrt()

    x = torch.randn(64, *SHAPE, generator=torch.Generator().manual_seed(3))

    def x0(found: Calibration | None) -> Tensor:
        ask = denoiser(diffusion, Sampling(), normalised, condition=None, null=None, within=None, calibration=found)
        return ask(x, noisiest).x0

    assert ratio(noisiest) > 150
    assert float(x0(None).std()) > 5
    assert float((x0(calibrated(diffusion, normalised)) - DATA.mean).std()) < DATA.deviation


def test_below_the_least_ratio_estimates_are_the_networks_own() -> None:
    diffusion = Diffusion(prediction="x0")
    found = calibrated(diffusion, knows_nothing)
    path = build_path(diffusion)
    x = torch.randn(4, *SHAPE, generator=torch.Generator().manual_seed(4))
    near = path.at_log_snr(-2 * math.log(LEAST_RATIO) + 1e-3)
    assert found(x, x, near) is x
    far = path.at_log_snr(-2 * math.log(LEAST_RATIO) - 1e-3)
    assert not torch.equal(found(x, x, far), x)


def test_a_path_without_such_levels_needs_no_calibration() -> None:
    short = Diffusion(timesteps=100)
    assert ratio(build_path(short).level(100)) < LEAST_RATIO
    mean = torch.zeros(SHAPE)
    assert calibrate(short, build_path(short), knows_nothing, X0, None, mean, BANDS, by(64)) is None


def test_weights_lie_on_lines_between_measured_levels() -> None:
    weights = torch.stack([torch.full((2, BANDS.count), value, dtype=torch.float64) for value in (0.0, 1.0, 3.0)])
    found = Calibration(torch.zeros(SHAPE), BANDS, torch.tensor([-6.0, -5.0, -4.0], dtype=torch.float64), weights)
    for log_snr, value in ((-9.0, 0.0), (-6.0, 0.0), (-5.5, 0.5), (-4.5, 2.0), (-2.5, 3.0)):
        assert found._at(log_snr).unique().tolist() == pytest.approx([value])


def test_examples_are_asked_about_with_their_own_condition_and_however_many_at_once() -> None:
    diffusion = Diffusion(prediction="x0")
    told = {"class": torch.arange(512)}
    seen: list[int] = []

    def network(x: Tensor, c_noise: Tensor, condition: Condition) -> Tensor:
        assert condition is not None and len(condition["class"]) == len(x)
        seen.extend(condition["class"].tolist())
        return 0.5 * x

    found = [
        calibrate(diffusion, build_path(diffusion), network, X0, told, torch.zeros(SHAPE), BANDS, by(batch)) for batch in (64, 100)
    ]
    assert all(one is not None for one in found)
    torch.testing.assert_close(found[0].weights, found[1].weights, atol=1e-9, rtol=1e-9)  # type: ignore[union-attr]
    assert seen[:512] == list(range(512))


def weights_of(t: Tensor, n: Tensor, *, sparing: bool = False) -> tuple[float, float]:
    """q and p of one band with these true and said numbers, and an x that knows nothing of either."""
    s = torch.randn(len(t), generator=torch.Generator().manual_seed(9), dtype=torch.float64)
    products = [torch.stack([(a * b).sum()]) for a, b in ((t, t), (t, n), (t, s), (n, n), (n, s), (s, s))]
    q, p = _regression(*products, sparing=sparing)
    return float(q), float(p)


@pytest.mark.parametrize(("times", "q"), [(-2.0, 0.0), (0.4, 0.4), (3.0, 1.0)])
def test_a_network_is_trusted_between_not_at_all_and_in_full(times: float, q: float) -> None:
    n = torch.randn(4096, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    assert weights_of(times * n, n)[0] == pytest.approx(q, abs=0.01)


def test_spared_is_the_share_of_the_error_that_mending_would_not_take() -> None:
    # Truth and error have the same power: q = 1/2 takes half of the squared error, so half of the way is gone.
    t, error = torch.randn(2, 65536, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    assert weights_of(t, t + error)[0] == pytest.approx(0.5, abs=0.01)
    assert weights_of(t, t + error, sparing=True)[0] == pytest.approx(0.75, abs=0.01)
