"""The MLP: every part used, told the time in three ways and conditions in all, the same result however it is run."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from support.condition_ways import ALL_AT_ONCE, WAYS
from support.network_inputs import NONE, conditions

from ddpm_exp.models.build import build_network
from ddpm_exp.models.inputs import ConditionInput
from ddpm_exp.models.mlp import MLPNetwork
from ddpm_exp.spec.model import MLP

SMALL = MLP(hidden_dim=32, layers=2, time_embedding=16, heads=4)
FEATURES = 5
Inputs = tuple[ConditionInput, ...]
CONDITIONS = {"none": NONE, **WAYS, "all at once": ALL_AT_ONCE}
CHOICES = {
    "concatenated": SMALL,
    "additive": SMALL.but(time_conditioning="additive"),
    "adaln": SMALL.but(time_conditioning="adaln"),
    "learned": SMALL.but(time_features="learned"),
    "fourier": SMALL.but(time_features="fourier"),
    "orthogonal": SMALL.but(initialization="orthogonal", zero_init=False),
    "kaiming": SMALL.but(initialization="kaiming", zero_init=False),
}
every_condition = pytest.mark.parametrize("inputs", CONDITIONS.values(), ids=CONDITIONS)
every_choice = pytest.mark.parametrize("spec", CHOICES.values(), ids=CHOICES)


def build(spec: MLP = SMALL, inputs: Inputs = NONE, *, woken: bool = True, outputs: int = 1) -> MLPNetwork:
    torch.manual_seed(0)
    network = build_network(spec, inputs, (FEATURES,), outputs=outputs, timesteps=1000)
    assert isinstance(network, MLPNetwork)
    if woken:
        for parameter in network.parameters():
            parameter.data += 0.05 * torch.randn_like(parameter)
    return network


def vectors(count: int = 3) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(count, FEATURES, generator=generator), 900 * torch.rand(count, generator=generator)


@every_condition
@pytest.mark.parametrize("outputs", [1, 2])
def test_the_output_has_the_shape_of_the_vector(inputs: Inputs, outputs: int) -> None:
    x, c_noise = vectors()
    output = build(inputs=inputs, outputs=outputs)(x, c_noise, conditions(inputs))
    assert output.shape == (3, outputs * FEATURES)
    assert output.isfinite().all()


@pytest.mark.parametrize(
    ("spec", "inputs"),
    [*((spec, ALL_AT_ONCE) for spec in CHOICES.values()), *((SMALL, inputs) for inputs in CONDITIONS.values())],
    ids=[*CHOICES, *CONDITIONS],
)
def test_every_parameter_gets_a_gradient(spec: MLP, inputs: Inputs) -> None:
    network = build(spec, inputs)
    x, c_noise = vectors(12)
    network(x, c_noise, conditions(inputs, 12)).square().sum().backward()
    # Where there is one token, looking at it is no choice: queries and norms before them move nothing, but for rounding.
    single = inputs == WAYS["class by cross-attention"]
    idle = {name for name, _ in network.named_parameters() if single and (".look.query." in name or ".look_norm." in name)}
    dead = {name for name, p in network.named_parameters() if p.grad is None or not p.grad.isfinite().all() or not p.grad.any()}
    assert dead <= idle


@every_choice
@pytest.mark.parametrize("inputs", [NONE, ALL_AT_ONCE], ids=["none", "all at once"])
def test_an_untrained_network_says_zero_and_each_block_nothing_unless_told_not_to(spec: MLP, inputs: Inputs) -> None:
    x, c_noise = vectors()
    network = build(spec, inputs, woken=False)
    changed: list[bool] = []
    for block in network.blocks:
        block.register_forward_hook(lambda _, given, out: changed.append(not torch.equal(given[0], out)))
    said = network(x, c_noise, conditions(inputs))
    assert (said != 0).any() == (not spec.zero_init)
    assert changed == [not spec.zero_init] * 2


@pytest.mark.parametrize("inputs", [i for i in CONDITIONS.values() if i], ids=[name for name in CONDITIONS if name != "none"])
def test_each_part_of_a_condition_changes_the_vector_that_it_belongs_to(inputs: Inputs) -> None:
    network = build(inputs=inputs).eval()
    (x, c_noise), told = vectors(), conditions(inputs)
    assert told is not None
    before = network(x, c_noise, told)
    for kind, tensor in told.items():
        other = tensor.clone()
        other[1] = other[0]
        after = network(x, c_noise, {**told, kind: other})
        torch.testing.assert_close(before[[0, 2]], after[[0, 2]])
        assert (before[1] - after[1]).abs().max() > 1e-5, kind


@every_choice
def test_the_time_changes_the_output_of_the_vector_that_it_belongs_to(spec: MLP) -> None:
    network = build(spec).eval()
    x, c_noise = vectors()
    before, after = network(x, c_noise), network(x, c_noise + torch.tensor([0.0, 5.0, 0.0]))
    torch.testing.assert_close(before[[0, 2]], after[[0, 2]])
    assert (before[1] - after[1]).abs().max() > 1e-4


def test_the_three_ways_of_telling_are_what_they_say() -> None:
    h, embedding = torch.randn(3, 32), torch.randn(3, 16)
    for name in ("concatenated", "additive", "adaln"):
        block = build(CHOICES[name]).blocks[0]
        seen: list[torch.Tensor] = []
        block.linear2.register_forward_pre_hook(lambda _, given, seen=seen: seen.append(given[0]))
        block(h, embedding)
        normed = block.norm(h)
        if name == "concatenated":
            inner = block.linear1(torch.cat([normed, embedding], 1))
        elif name == "additive":
            inner = block.linear1(normed) + block.embedding(embedding)
        else:
            scale, shift = block.embedding(embedding).split(32, dim=1)
            inner = block.linear1(normed + normed * scale + shift)
        torch.testing.assert_close(seen[0], torch.nn.functional.silu(inner))


@pytest.mark.parametrize("inputs", [NONE, ALL_AT_ONCE], ids=["none", "all at once"])
def test_recomputing_activations_changes_no_bit(inputs: Inputs) -> None:
    def train(checkpointing: bool) -> list[torch.Tensor]:
        network = build(SMALL.but(dropout=0.3), inputs)
        network.checkpointing = checkpointing
        calls: list[int] = []
        network.blocks[0].register_forward_pre_hook(lambda *_: calls.append(1))
        x, c_noise = vectors()
        torch.manual_seed(5)
        output = network.train()(x, c_noise, conditions(inputs))
        output.square().sum().backward()
        assert len(calls) == 1 + checkpointing
        return [output, torch.rand(1), *(parameter.grad for parameter in network.parameters() if parameter.grad is not None)]

    assert all(torch.equal(one, two) for one, two in zip(train(False), train(True), strict=True))


def test_dropout_acts_in_training_alone() -> None:
    network = build(SMALL.but(dropout=0.5))
    x, c_noise = vectors()
    assert not torch.equal(network.train()(x, c_noise), network(x, c_noise))
    assert torch.equal(network.eval()(x, c_noise), network(x, c_noise))


@pytest.mark.parametrize("half", [torch.bfloat16, torch.float16], ids=["bf16", "fp16"])
@pytest.mark.parametrize(
    ("spec", "inputs"),
    [*((spec, NONE) for spec in CHOICES.values()), *((SMALL, inputs) for inputs in CONDITIONS.values())],
    ids=[*CHOICES, *(f"told {name}" for name in CONDITIONS)],
)
def test_autocast_stays_near_float32(spec: MLP, inputs: Inputs, half: torch.dtype) -> None:
    network = build(spec, inputs).eval()
    x, c_noise = vectors()
    with torch.no_grad():
        full = network(x, c_noise, conditions(inputs))
        with torch.autocast("cpu", dtype=half):
            low = network(x, c_noise, conditions(inputs))
    assert (low.float() - full).norm() < (0.05 if half is torch.bfloat16 else 0.01) * full.norm()


def test_the_network_compiles_as_one_graph() -> None:
    network: Any = build(SMALL.but(checkpointing=True), ALL_AT_ONCE)
    x, c_noise = vectors()
    compiled = torch.compile(network, backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(x, c_noise, conditions(ALL_AT_ONCE)), network(x, c_noise, conditions(ALL_AT_ONCE)))


@pytest.mark.parametrize(("built", "given"), [("none", "class by embedding"), ("class by embedding", "none")])
def test_a_condition_is_never_ignored(built: str, given: str) -> None:
    x, c_noise = vectors()
    with pytest.raises(ValueError, match="condition"):
        build(inputs=CONDITIONS[built])(x, c_noise, conditions(CONDITIONS[given]))


@pytest.mark.parametrize("shape", [(1, 8, 8), (2, 16)])
def test_an_image_or_a_sequence_is_no_vector(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="vectors"):
        build_network(SMALL, NONE, shape)
