"""Gradients of one buffer are the gradients of a network that has them one by one."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from ddpm_exp.training.gradients import Gradients


def _network() -> nn.Module:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 5, 3), nn.GroupNorm(5, 5), nn.Flatten(), nn.Linear(5 * 36, 7))
    return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]


def test_a_buffer_gathers_the_gradients_that_weights_would_have_one_by_one() -> None:
    network = _network()
    plain = copy.deepcopy(network)
    gradients = Gradients(list(network.parameters()))
    x = torch.randn(2, 3, 8, 8)
    for _ in range(2):  # accumulated
        network(x).square().sum().backward()
        plain(x).square().sum().backward()
    for ours, theirs in zip(network.parameters(), plain.parameters(), strict=True):
        assert ours.grad is not None and theirs.grad is not None
        assert ours.grad.stride() == ours.stride()
        assert ours.grad.untyped_storage().data_ptr() == gradients.flat.untyped_storage().data_ptr()
        assert torch.equal(ours.grad, theirs.grad)
    norm = torch.nn.utils.get_total_norm([weight.grad for weight in plain.parameters() if weight.grad is not None])
    assert torch.equal(gradients.norm(), norm)
    assert torch.linalg.vector_norm(gradients.flat) == pytest.approx(float(norm), rel=1e-6)
    gradients.multiply(torch.tensor(0.5))
    assert all(
        torch.equal(ours.grad, theirs.grad / 2) for ours, theirs in zip(network.parameters(), plain.parameters(), strict=True)
    )
    gradients.zero()
    assert all(not weight.grad.any() for weight in network.parameters())


def test_each_gradient_begins_where_the_widest_loads_may() -> None:
    network = _network()
    Gradients(list(network.parameters()))
    assert all(weight.grad is not None and weight.grad.storage_offset() * 4 % 128 == 0 for weight in network.parameters())


def test_weights_with_gaps_are_refused() -> None:
    with pytest.raises(ValueError, match="gaps"):
        Gradients([nn.Parameter(torch.zeros(4, 6)[:, :3])])
