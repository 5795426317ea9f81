"""A network whose weights were cast once says what it says under autocast, bit for bit."""

from __future__ import annotations

import copy

import pytest
import torch

from ddpm_exp.evaluation.captured import Captured, with_half_weights
from ddpm_exp.models.build import build_network
from ddpm_exp.spec.model import UNet


def lively() -> torch.nn.Module:
    torch.manual_seed(0)
    network = build_network(UNet(base_channels=16, multipliers=(1, 2), groups=8, attention_resolutions=(4,)), (), (1, 8, 8))
    with torch.no_grad():
        for weight in network.parameters():
            weight.add_(0.05 * torch.randn_like(weight))
    return network.eval().requires_grad_(False)


def test_weights_cast_once_change_no_bit_of_the_answer() -> None:
    network = lively()
    once = copy.deepcopy(network)
    with_half_weights(once, torch.bfloat16)
    x, t = torch.randn(3, 1, 8, 8), torch.rand(3) * 1000
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(once(x, t, None), network(x, t, None))
    assert any(weight.dtype == torch.bfloat16 for weight in once.parameters())
    assert all(weight.dtype == torch.float32 for weight in network.parameters())


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_captured_evaluation_is_the_one_op_by_op_whatever_came_before() -> None:
    network = lively().cuda()
    captured = Captured(network, torch.bfloat16)
    for n in (3, 5, 3, 4, 2):
        x, t = torch.randn(n, 1, 8, 8, device="cuda"), torch.rand(n, device="cuda") * 1000
        with torch.no_grad(), torch.autocast("cuda", dtype=torch.bfloat16):
            expected = network(x, t, None)
        assert torch.allclose(captured(x, t, None).float(), expected.float(), atol=2e-2)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_somewhat_smaller_batches_need_no_graph_of_their_own_and_release_gives_all_back() -> None:
    captured = Captured(lively().cuda(), torch.bfloat16)
    for n, graphs in ((8, 1), (5, 1), (4, 2), (3, 2), (9, 3)):
        captured(torch.randn(n, 1, 8, 8, device="cuda"), torch.rand(n, device="cuda"), None)
        assert sum(map(len, captured._graphs.values())) == graphs
    held = torch.cuda.memory_reserved()
    assert captured.release() and not captured.release()
    torch.cuda.empty_cache()
    assert torch.cuda.memory_reserved() < held
