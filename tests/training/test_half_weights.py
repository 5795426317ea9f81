"""Casting weights once gives the bits that autocast gives."""

from __future__ import annotations

import torch
from support.tiny_training import tiny_network

from ddpm_exp.models.build import build_network
from ddpm_exp.models.half import cast_by_autocast
from ddpm_exp.spec.model import DiT, UNet
from ddpm_exp.training.half_weights import HalfWeights


def grown(network: torch.nn.Module) -> torch.nn.Module:
    with torch.no_grad():
        for weight in network.parameters():
            weight.add_(0.05 * torch.randn_like(weight))
    return network.train()


def test_answers_and_gradients_are_those_of_autocast_bit_for_bit_over_two_micro_batches() -> None:
    torch.manual_seed(0)
    for spec in (
        UNet(base_channels=16, multipliers=(1, 2), groups=8, attention_resolutions=(4,), dropout=0.0),
        DiT.S(4).but(depth=2),
    ):
        network = grown(build_network(spec, (), (1, 8, 8)))
        batches = [(torch.randn(3, 1, 8, 8), torch.rand(3) * 1000) for _ in range(2)]
        found = []
        for once in (False, True):
            for weight in network.parameters():
                weight.grad = torch.zeros_like(weight)
            ask = HalfWeights(network, torch.bfloat16) if once else network
            if isinstance(ask, HalfWeights):
                ask.refresh()
            said = []
            for x, t in batches:
                with torch.autocast("cpu", dtype=torch.bfloat16):
                    said.append(ask(x, t, None))
                said[-1].float().square().sum().backward()
                if isinstance(ask, HalfWeights):
                    ask.collect()
            found.append([part.detach().clone() for part in (*said, *(weight.grad for weight in network.parameters()))])
        assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))
        assert any(bool(part.abs().sum() > 0) for part in found[0][2:])


def test_a_refresh_takes_over_what_the_optimizer_did() -> None:
    network = grown(tiny_network())
    once = HalfWeights(network, torch.bfloat16)
    x, t = torch.randn(2, 1, 8, 8), torch.rand(2)
    condition = {"class": torch.zeros(2, dtype=torch.int64)}
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        before = once(x, t, condition)
        for weight in network.parameters():
            weight.mul_(1.5)
        once.refresh()
        assert torch.equal(once(x, t, condition), network(x, t, condition))
        assert not torch.equal(once(x, t, condition), before)


def test_the_time_embedding_stays_in_float32() -> None:
    network = tiny_network()
    names = cast_by_autocast(network)
    assert names and not any(name.startswith("time.") for name in names)
    assert all(weight.dtype == torch.float32 for weight in names.values())
