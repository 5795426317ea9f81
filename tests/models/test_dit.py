"""The transformer: the paper's sizes, points without order, every part used, the same result however it is run."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from support.condition_ways import ALL_AT_ONCE, WAYS
from support.network_inputs import HOLES, NONE, SEVERAL, conditions

from ddpm_exp.models.build import build_network
from ddpm_exp.models.dit import DiTNetwork
from ddpm_exp.models.inputs import ConditionInput
from ddpm_exp.spec.data import Family
from ddpm_exp.spec.model import DiT

SMALL = DiT(width=32, depth=2, heads=4, patch=4)
Inputs = tuple[ConditionInput, ...]
FAMILIES: dict[Family, tuple[int, ...]] = {"image": (3, 8, 8), "sequence": (2, 16), "points": (2, 11)}
CONDITIONS = {"none": NONE, **WAYS, "all at once": ALL_AT_ONCE}
OF_IMAGES = {**CONDITIONS, "holes": HOLES, "several": SEVERAL}
CHOICES = {
    "default": SMALL,
    "no positions": SMALL.but(positions="none"),
    "narrow": SMALL.but(mlp_ratio=1.5, heads=1),
    "learned": SMALL.but(time_features="learned"),
    "fourier": SMALL.but(time_features="fourier"),
    "orthogonal": SMALL.but(initialization="orthogonal", zero_init=False),
    "kaiming": SMALL.but(initialization="kaiming", zero_init=False),
}
every_family = pytest.mark.parametrize("family", FAMILIES)
every_condition = pytest.mark.parametrize("inputs", OF_IMAGES.values(), ids=OF_IMAGES)


def build(
    spec: DiT = SMALL, inputs: Inputs = NONE, family: Family = "image", *, woken: bool = True, outputs: int = 1
) -> DiTNetwork:
    torch.manual_seed(0)
    network = build_network(spec, inputs, FAMILIES[family], outputs=outputs, timesteps=1000, family=family)
    assert isinstance(network, DiTNetwork)
    if woken:
        for parameter in network.parameters():
            parameter.data += 0.05 * torch.randn_like(parameter)
    return network


def examples(family: Family = "image", count: int = 3) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(count, *FAMILIES[family], generator=generator), 900 * torch.rand(count, generator=generator)


@pytest.mark.parametrize(("spec", "millions"), [(DiT.S, 33), (DiT.B, 130), (DiT.L, 458), (DiT.XL, 675)], ids="SBLX")
def test_the_sizes_are_the_papers(spec: Any, millions: int) -> None:
    with torch.device("meta"):
        network = build_network(spec(patch=2), (ConditionInput("class", "embedding", classes=1000),), (4, 32, 32), outputs=2)
    assert sum(parameter.numel() for parameter in network.parameters()) / 1e6 == pytest.approx(millions, rel=0.01)


@pytest.mark.parametrize(
    ("family", "inputs"),
    [*(("image", inputs) for inputs in OF_IMAGES.values()), *((f, i) for f in ("sequence", "points") for i in CONDITIONS.values())],
    ids=[*OF_IMAGES, *(f"{family} {name}" for family in ("sequence", "points") for name in CONDITIONS)],
)
def test_the_output_has_the_shape_of_the_example(family: Family, inputs: Inputs) -> None:
    x, c_noise = examples(family)
    for outputs in (1, 2):
        output = build(inputs=inputs, family=family, outputs=outputs)(x, c_noise, conditions(inputs))
        assert output.shape == (3, outputs * x.shape[1], *x.shape[2:])
        assert output.isfinite().all()


@pytest.mark.parametrize("shape", [(1, 4, 12), (1, 12, 4), (3, 4, 4)])
def test_images_need_not_be_square(shape: tuple[int, ...]) -> None:
    network = build_network(SMALL.but(zero_init=False), NONE, shape)
    assert network(torch.randn(2, *shape), torch.tensor([1.0, 2.0])).shape == (2, *shape)


@pytest.mark.parametrize(
    ("spec", "inputs", "family"),
    [
        *((spec, SEVERAL, "image") for spec in CHOICES.values()),
        *((SMALL, inputs, "image") for inputs in OF_IMAGES.values()),
        *((SMALL, ALL_AT_ONCE, family) for family in FAMILIES),
    ],
    ids=[*CHOICES, *OF_IMAGES, *FAMILIES],
)
def test_every_parameter_gets_a_gradient(spec: DiT, inputs: Inputs, family: Family) -> None:
    network = build(spec, inputs, family)
    x, c_noise = examples(family, 12)
    network(x, c_noise, conditions(inputs, 12)).square().sum().backward()
    # Where there is one token, looking at it is no choice: queries and norms before them move nothing, but for rounding.
    single = inputs == WAYS["class by cross-attention"]
    idle = {name for name, _ in network.named_parameters() if single and (".look.query." in name or ".look_norm." in name)}
    dead = {name for name, p in network.named_parameters() if p.grad is None or not p.grad.isfinite().all() or not p.grad.any()}
    assert dead <= idle


@pytest.mark.parametrize("spec", CHOICES.values(), ids=CHOICES)
@pytest.mark.parametrize("inputs", [NONE, SEVERAL], ids=["none", "several"])
def test_an_untrained_network_says_zero_and_each_block_nothing_unless_told_not_to(spec: DiT, inputs: Inputs) -> None:
    network, changed = build(spec, inputs, woken=False), []
    for block in network.blocks:
        block.register_forward_hook(lambda _, given, out: changed.append(not torch.equal(given[0], out)))
    x, c_noise = examples()
    said = network(x, c_noise, conditions(inputs))
    assert (said != 0).any() == (not spec.zero_init)
    assert changed == [not spec.zero_init] * 2


def test_the_papers_initial_weights() -> None:
    network = build(SMALL.but(width=128), WAYS["class by embedding"], woken=False)
    for weight in (
        network.time.network[0].weight,
        network.time.network[2].weight,
        network.condition.class_part.embedding.weight,
    ):
        assert weight.std().item() == pytest.approx(0.02, rel=0.1)
    limit = (6 / (128 + 3 * 128)) ** 0.5
    assert 0.98 * limit < network.blocks[0].qkv.weight.abs().max().item() <= limit


@every_condition
def test_each_part_of_a_condition_changes_the_example_that_it_belongs_to(inputs: Inputs) -> None:
    network = build(inputs=inputs).eval()
    (x, c_noise), told = examples(), conditions(inputs) or {}
    before = network(x, c_noise, told or None)
    for kind, tensor in told.items():
        other = tensor.clone()
        other[1] = other[0]
        after = network(x, c_noise, {**told, kind: other})
        torch.testing.assert_close(before[[0, 2]], after[[0, 2]])
        assert (before[1] - after[1]).abs().max() > 1e-5, kind


@every_family
def test_the_time_changes_the_output_without_jumps(family: Family) -> None:
    network = build(family=family).eval()
    x, _ = examples(family, 1)
    with torch.no_grad():
        outputs = network(x.expand(101, *x.shape[1:]), torch.linspace(4.0, 6.0, 101)).flatten(1)
    moves = outputs.diff(dim=0).norm(dim=1)
    assert (outputs[0] - outputs[-1]).norm() > 1e-2
    assert moves.max() < 3 * moves.mean()


@pytest.mark.parametrize("inputs", [NONE, ALL_AT_ONCE], ids=["none", "all at once"])
def test_points_are_drawn_in_no_order(inputs: Inputs) -> None:
    network = build(inputs=inputs, family="points").eval()
    x, c_noise = examples("points")
    turn = torch.randperm(x.shape[2], generator=torch.Generator().manual_seed(4))
    told = conditions(inputs)
    torch.testing.assert_close(network(x[:, :, turn], c_noise, told), network(x, c_noise, told)[:, :, turn])


def test_sequences_and_images_have_an_order_unless_told_otherwise() -> None:
    for family in ("sequence", "image"):
        for spec in (SMALL, SMALL.but(positions="none")):
            network = build(spec, family=family).eval()
            x, c_noise = examples(family)
            turned = network(x.roll(4, dims=2), c_noise).roll(-4, dims=2)
            assert torch.allclose(turned, network(x, c_noise), atol=1e-5) == (spec.positions == "none"), family


def test_positions_are_no_weights() -> None:
    network = build()
    assert network.positions is not None
    assert not [name for name in network.state_dict() if "positions" in name]
    assert build(family="points").positions is None


def test_every_token_looks_at_every_other() -> None:
    network = build().eval()
    x, c_noise = examples()
    other = x.clone()
    other[:, :, -1, -1] += 1
    assert (network(x, c_noise) - network(other, c_noise))[:, :, :4, :4].abs().amax(dim=(1, 2, 3)).min() > 1e-6


@pytest.mark.parametrize("inputs", [NONE, SEVERAL], ids=["none", "several"])
def test_recomputing_activations_changes_no_bit(inputs: Inputs) -> None:
    def train(checkpointing: bool) -> list[torch.Tensor]:
        network, calls = build(SMALL.but(dropout=0.3), inputs), []
        network.checkpointing = checkpointing
        network.blocks[0].register_forward_pre_hook(lambda *_: calls.append(1))
        x, c_noise = examples()
        torch.manual_seed(5)
        output = network.train()(x, c_noise, conditions(inputs))
        output.square().sum().backward()
        assert len(calls) == 1 + checkpointing
        return [output, torch.rand(1), *(parameter.grad for parameter in network.parameters() if parameter.grad is not None)]

    assert all(torch.equal(one, two) for one, two in zip(train(False), train(True), strict=True))


def test_dropout_acts_in_training_alone() -> None:
    network = build(SMALL.but(dropout=0.5))
    x, c_noise = examples()
    assert not torch.equal(network.train()(x, c_noise), network(x, c_noise))
    assert torch.equal(network.eval()(x, c_noise), network(x, c_noise))


@pytest.mark.parametrize("half", [torch.bfloat16, torch.float16], ids=["bf16", "fp16"])
@every_condition
def test_autocast_and_the_memory_format_stay_near_float32(inputs: Inputs, half: torch.dtype) -> None:
    network = build(inputs=inputs).eval()
    x, c_noise = examples()
    with torch.no_grad():
        full = network(x, c_noise, conditions(inputs))
        last = network.to(memory_format=torch.channels_last)(x.to(memory_format=torch.channels_last), c_noise, conditions(inputs))
        with torch.autocast("cpu", dtype=half):
            low = network(x, c_noise, conditions(inputs))
    torch.testing.assert_close(last, full)
    assert (low.float() - full).norm() < (0.05 if half is torch.bfloat16 else 0.01) * full.norm()


def test_the_network_compiles_as_one_graph() -> None:
    network: Any = build(SMALL.but(checkpointing=True, depth=1), SEVERAL)
    x, c_noise = examples()
    compiled = torch.compile(network, backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(x, c_noise, conditions(SEVERAL)), network(x, c_noise, conditions(SEVERAL)))


@pytest.mark.parametrize(("built", "given"), [(NONE, SEVERAL), (SEVERAL, NONE), (HOLES, SEVERAL)])
def test_a_condition_is_never_ignored(built: Inputs, given: Inputs) -> None:
    x, c_noise = examples()
    with pytest.raises(ValueError, match="condition"):
        build(inputs=built)(x, c_noise, conditions(given))


@pytest.mark.parametrize("shape", [(7,), (1, 6, 8), (1, 8, 6), (2, 15), (1, 4, 4, 4)])
def test_what_patches_do_not_cut_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="shape"):
        build_network(SMALL, NONE, shape)
