"""Initial weights: what each choice promises of a matrix, and that nothing else is touched."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from ddpm_exp.models.initial import initial_weights, start_at_zero, weights_like_ddpm, weights_of_torch


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(8, 64, 3), nn.GroupNorm(4, 64), nn.Linear(200, 100), nn.Embedding(5, 6), nn.Conv1d(4, 16, 1))


def test_orthogonal_maps_have_orthonormal_rows_or_columns() -> None:
    one = network()
    initial_weights(one, "orthogonal", default=weights_of_torch)
    for module in (one[0], one[2], one[4]):
        matrix = module.weight.detach().flatten(1)
        gram = matrix @ matrix.T if matrix.shape[0] <= matrix.shape[1] else matrix.T @ matrix
        torch.testing.assert_close(gram, torch.eye(len(gram)), atol=1e-5, rtol=0)
        assert not module.bias.any()


def test_kaiming_maps_have_variance_two_over_their_inputs() -> None:
    one = network()
    initial_weights(one, "kaiming", default=weights_of_torch)
    for module, inputs in ((one[0], 72), (one[2], 200)):
        assert module.weight.var().item() == pytest.approx(2 / inputs, rel=0.1)
        assert not module.bias.any()


def test_ddpm_maps_are_glorot_uniform() -> None:
    one = network()
    initial_weights(one, "default", default=weights_like_ddpm)
    limit = (6 / (200 + 100)) ** 0.5
    assert 0.98 * limit < one[2].weight.abs().max().item() <= limit
    assert not one[2].bias.any()


@pytest.mark.parametrize("how", ["orthogonal", "kaiming", "default"])
def test_norms_and_tables_keep_what_they_were_made_with(how: str) -> None:
    one, before = network(), network().state_dict()
    initial_weights(one, how, default=weights_like_ddpm)
    for name in ("1.weight", "1.bias", "3.weight"):
        assert torch.equal(one.state_dict()[name], before[name])
    assert not torch.equal(one[0].weight, before["0.weight"])


def test_torchs_own_weights_take_no_draw() -> None:
    one, before = network(), network().state_dict()
    state = torch.get_rng_state()
    initial_weights(one, "default", default=weights_of_torch)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(one.state_dict()[name], before[name]) for name in before)


def test_only_a_map_starts_at_zero() -> None:
    linear = nn.Linear(3, 4)
    start_at_zero(linear)
    assert not linear.weight.any() and not linear.bias.any()
    with pytest.raises(TypeError, match="GroupNorm"):
        start_at_zero(nn.GroupNorm(1, 4))
