"""Time features: as their papers say, in float32, and without jumps between whole times."""

from __future__ import annotations

import math
from typing import Literal

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ddpm_exp.models.embeddings import FourierFeatures, LearnedFeatures, TimeEmbedding, sinusoids
from ddpm_exp.spec.model import UNet

Features = Literal["sinusoidal", "learned", "fourier"]


def embedding(features: Features, width: int = 16, timesteps: int = 1000) -> TimeEmbedding:
    torch.manual_seed(0)
    return TimeEmbedding(UNet(time_features=features), width, 12, timesteps)


def test_the_sinusoids_run_from_frequency_one_to_one_in_ten_thousand() -> None:
    c_noise = torch.tensor([0.0, 1.5, 999.0])
    found = sinusoids(c_noise, 128).double()
    angles = c_noise[:, None].double() * 10_000 ** -(torch.arange(64, dtype=torch.float64) / 63)
    torch.testing.assert_close(found, torch.cat([angles.sin(), angles.cos()], 1), atol=1e-4, rtol=0)
    assert sinusoids(c_noise, 9).shape == (3, 9)
    assert torch.equal(sinusoids(torch.tensor([4.0]), 16), sinusoids(torch.tensor([4]), 16))


@given(time=st.floats(0, 9, width=32))
def test_learned_features_mix_their_two_neighbours(time: float) -> None:
    features = LearnedFeatures(10, 6)
    rows = features.table.weight
    below, share = math.floor(time), time - math.floor(time)
    expected = rows[below] * (1 - share) + rows[min(below + 1, 9)] * share
    torch.testing.assert_close(features(torch.tensor([time]))[0], expected, atol=1e-5, rtol=1e-5)


def test_learned_features_are_a_row_at_whole_times_and_the_nearest_outside() -> None:
    features = LearnedFeatures(10, 6)
    assert torch.equal(features(torch.arange(10)), features.table.weight)
    assert torch.equal(features(torch.tensor([-3.0, 12.5])), features.table.weight[[0, 9]])


def test_learned_features_need_whole_times() -> None:
    with pytest.raises(ValueError, match="whole times"):
        embedding("learned", timesteps=0)


def test_fourier_frequencies_are_drawn_once_kept_and_never_trained() -> None:
    network = embedding("fourier", width=2000)
    assert isinstance(network.features, FourierFeatures)
    frequencies = network.features.frequencies
    assert not [name for name, _ in network.named_parameters() if "frequencies" in name]
    assert torch.equal(network.state_dict()["features.frequencies"], frequencies)
    assert frequencies.std().item() == pytest.approx(16.0, rel=0.1)
    c_noise = torch.tensor([-1.5, 0.7])
    angles = 2 * math.pi * c_noise[:, None].double() * frequencies[None].double()
    torch.testing.assert_close(network.features(c_noise).double(), torch.cat([angles.cos(), angles.sin()], 1), atol=1e-3, rtol=0)
    assert FourierFeatures(9)(c_noise).shape == (2, 9)


@pytest.mark.parametrize("features", ["sinusoidal", "learned", "fourier"])
def test_times_are_embedded_in_float32_under_autocast(features: Features) -> None:
    # bfloat16 holds 8 bits: indices 997 and 999 would be the same number.
    network = embedding(features)
    near = torch.tensor([997.0, 999.0])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        under = network(near)
        inside = network.network(sinusoids(near, 16))
    assert inside.dtype == torch.bfloat16
    assert under.dtype == torch.float32
    assert torch.equal(under, network(near))
    assert not torch.equal(under[0], under[1])


@pytest.mark.parametrize("features", ["sinusoidal", "learned", "fourier"])
def test_the_embedding_has_no_jumps(features: Features) -> None:
    network = embedding(features)
    times = torch.linspace(0.9, 1.1, 20_001)
    moves = network(times).diff(dim=0).norm(dim=1)
    assert moves.max() < 0.02
    assert moves.sum() > 1e-3


@pytest.mark.parametrize("features", ["sinusoidal", "learned", "fourier"])
def test_every_parameter_of_the_embedding_gets_a_gradient(features: Features) -> None:
    network = embedding(features, timesteps=10)
    network(torch.tensor([0.0, 2.5, 9.0])).square().sum().backward()
    assert all(parameter.grad is not None and parameter.grad.any() for parameter in network.parameters())
