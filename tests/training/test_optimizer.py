"""Each optimizer is the formula of its paper, skips a bad step on the device, and goes on from a checkpoint bit for bit."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from support.tiny_training import TRAINING, copied, identical, tiny_network, tiny_trainer
from torch import nn

from ddpm_exp.checkpoints.store import latest, save
from ddpm_exp.training.muon import Muon, orthogonal
from ddpm_exp.training.optimizer import build_optimizer, split, state_bytes
from ddpm_exp.training.state import restore, to_checkpoint

KINDS = ("adamw", "adam", "muon")


def with_gradients(network: nn.Module, seed: int) -> None:
    for number, weight in enumerate(network.parameters()):
        generator = torch.Generator().manual_seed(100 * seed + number)
        weight.grad = torch.randn(weight.shape, generator=generator)


def bits(trainer: Any) -> Any:
    return copied([trainer.network.state_dict(), trainer.optimizer.state_dict()["state"]])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("poison", [float("nan"), float("inf")])
def test_a_skipped_step_leaves_weights_and_state_of_every_optimizer_alone(kind: Any, poison: float) -> None:
    trainer = tiny_trainer(TRAINING.but(optimizer=kind, weight_decay=0.1))
    for _ in range(2):
        trainer.step()
    healthy = trainer.network.last.bias.detach().clone()
    with torch.no_grad():
        trainer.network.last.bias.fill_(poison)
    before = bits(trainer)
    trainer.step()
    assert all(torch.isnan(weight.grad).any() for name, weight in trainer.network.named_parameters() if name == "first.weight")
    # NaN differs from everything, so the poisoned bias is compared apart.
    after = bits(trainer)
    assert identical(after[0].pop("last.bias").nan_to_num(), before[0].pop("last.bias").nan_to_num())
    assert identical(after, before)
    with torch.no_grad():
        trainer.network.last.bias.copy_(healthy)
    trainer.step()
    assert not identical(bits(trainer)[0]["first.weight"], before[0]["first.weight"])


@pytest.mark.parametrize("kind", KINDS)
def test_a_training_by_any_optimizer_resumes_bit_for_bit(tmp_path: Path, kind: Any) -> None:
    def fresh() -> Any:
        training = TRAINING.but(optimizer=kind, weight_decay=0.01, rate="cosine")
        return tiny_trainer(training, dropout=0.3, micro_batch=4, total_images=64)

    straight, first, second = fresh(), fresh(), fresh()
    for _ in range(6):
        straight.step()
    for _ in range(3):
        first.step()
    save(tmp_path, to_checkpoint(first, {}))
    found = latest(tmp_path)
    assert found is not None
    restore(second, found[1])
    for _ in range(3):
        second.step()
    assert identical(to_checkpoint(second, {}).tensors, to_checkpoint(straight, {}).tensors)


def test_adamw_decays_the_weight_and_adam_the_gradient() -> None:
    """Without a gradient AdamW shrinks a weight by rate x decay; Adam takes a step of the whole rate, whatever the decay."""
    for kind, expected in (("adamw", 2.0 * (1 - 1e-3 * 0.1)), ("adam", 2.0 - 1e-3)):
        network = nn.Linear(1, 1, bias=False)
        nn.init.constant_(network.weight, 2.0)
        optimizer = build_optimizer(TRAINING.but(optimizer=kind, weight_decay=0.1), network, "fp32")
        network.weight.grad = torch.zeros_like(network.weight)
        optimizer.step()
        assert network.weight.item() == pytest.approx(expected, rel=1e-6), kind


@pytest.mark.parametrize("shape", [(5, 12, 7), (5, 7, 12), (3, 8, 8)])
def test_muon_moves_every_singular_value_near_one_and_keeps_the_singular_vectors(shape: tuple[int, ...]) -> None:
    matrices = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    found = orthogonal(matrices)
    for given, made in zip(matrices, found, strict=True):
        left, _, right = torch.linalg.svd(given, full_matrices=False)
        inside = left.T @ made @ right.T
        assert ((inside.diagonal() > 0.65) & (inside.diagonal() < 1.25)).all()
        assert (inside - torch.diag(inside.diagonal())).abs().max() < 1e-4
    assert torch.equal(orthogonal(torch.zeros(2, 3, 4)), torch.zeros(2, 3, 4))


def test_what_is_only_rounding_is_not_made_a_whole_update() -> None:
    """Two slicings of a step differ by rounding where a gradient is zero; Muon must not turn that into a direction."""
    noise = 1e-12 * torch.randn(1, 8, 8, generator=torch.Generator().manual_seed(0))
    assert float(orthogonal(noise).abs().max()) < 0.05 * float(orthogonal(1e6 * noise).abs().max())


def test_muon_is_torchs_own_on_matrices_and_adamw_on_the_rest() -> None:
    """torch's rounds to bfloat16, so it is compared with ours in bfloat16, within that rounding."""
    ours, theirs = (nn.ModuleDict({"first": nn.Linear(6, 8), "middle": nn.Linear(8, 8), "wide": nn.Linear(8, 24)}) for _ in "ab")
    theirs.load_state_dict(ours.state_dict())
    training = TRAINING.but(optimizer="muon", weight_decay=0.1)
    optimizer = build_optimizer(training, ours, "bf16")
    matrices, others = split(theirs)
    assert {name for name, weight in theirs.named_parameters() if any(weight is one for one in matrices)} == {
        "middle.weight",
        "wide.weight",
    }
    muon = torch.optim.Muon(matrices, lr=1e-3, weight_decay=0.1, momentum=0.95, adjust_lr_fn="match_rms_adamw")
    adamw = torch.optim.AdamW(others, lr=1e-3, weight_decay=0.1, fused=True)
    for step in range(4):
        for network in (ours, theirs):
            with_gradients(network, step)
        for one in (optimizer, muon, adamw):
            one.step()
    for name, weight in ours.named_parameters():
        other = theirs.get_parameter(name)
        if name in ("middle.weight", "wide.weight"):
            assert (weight - other).abs().max() < 0.05 * 4 * 1e-3, name
        else:
            assert torch.equal(weight, other), name


def test_an_update_of_muon_has_a_root_mean_square_of_a_fifth_of_the_rate_whatever_the_shape() -> None:
    for shape in ((64, 64), (16, 256), (32, 16, 3, 3), (128, 8)):
        weight = nn.Parameter(torch.zeros(shape))
        optimizer = Muon([weight], [], lr=1e-2, betas=(0.9, 0.999), weight_decay=0.0, momentum=0.95, half=False)
        weight.grad = torch.randn(shape, generator=torch.Generator().manual_seed(1))
        optimizer.step()
        flat = weight.detach().flatten(1)
        rank, most = min(flat.shape), max(flat.shape)
        full = math.sqrt(rank / (flat.shape[0] * flat.shape[1])) * math.sqrt(most)  # 1 where all singular values are 1
        assert full == pytest.approx(1.0)
        assert weight.square().mean().sqrt().item() == pytest.approx(0.2e-2, rel=0.25), shape


def test_muon_takes_hidden_layers_and_leaves_first_and_last_layers_embeddings_norms_and_biases_to_adamw() -> None:
    network = tiny_network()
    names = {id(weight): name for name, weight in network.named_parameters()}
    matrices, others = split(network)
    taken = {names[id(weight)] for weight in matrices}
    assert "down.0.0.residual.conv1.weight" in taken and "middle.0.attention.qkv.weight" in taken
    left = {names[id(weight)] for weight in others}
    assert {"first.weight", "last.weight", "time.network.0.weight", "condition.class_part.embedding.weight"} <= left
    assert all(weight.ndim >= 2 for weight in matrices) and taken | left == set(names.values()) and not taken & left


@pytest.mark.parametrize("kind", KINDS)
def test_the_bytes_that_are_planned_for_an_optimizer_are_those_that_it_keeps(kind: Any) -> None:
    trainer = tiny_trainer(TRAINING.but(optimizer=kind))
    trainer.step()
    states = trainer.optimizer.state_dict()["state"].values()
    kept = sum(value.numel() * value.element_size() for state in states for name, value in state.items() if name != "step")
    assert kept == state_bytes(kind, trainer.network)


@pytest.mark.parametrize("kind", KINDS)
def test_every_optimizer_learns(kind: Any) -> None:
    trainer = tiny_trainer(TRAINING.but(optimizer=kind))
    losses = []
    for _ in range(2):
        for _ in range(15):
            trainer.step()
        losses.append(trainer.statistics.read()[0]["train/loss"])
    assert losses[1] < 0.9 * losses[0]


def test_every_group_of_an_optimizer_is_given_the_rate_of_the_step() -> None:
    trainer = tiny_trainer(TRAINING.but(optimizer="muon"), warmup_images=80)
    trainer.step()
    trainer.step()
    assert [group["lr"] for group in trainer.optimizer.param_groups] == [1e-4, 1e-4]
