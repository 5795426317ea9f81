"""The U-Net: nothing before training, every part used, the same result however it is run."""

from __future__ import annotations

import pytest
import torch

from ddpm_exp.models.build import ConditionSize, build_network
from ddpm_exp.models.unet import UNetNetwork, sinusoids
from ddpm_exp.spec.data import Shape
from ddpm_exp.spec.model import UNet

SMALL = UNet(base_channels=16, multipliers=(1, 2), attention_resolutions=(8,), groups=8, time_embedding=32, dropout=0.0)
SHAPE = Shape(1, 8, 8)
NONE = ConditionSize("none")
CLASSES = ConditionSize("class", classes=10)
PROMPTS = ConditionSize("prompt", vocabulary=20, length=6, width=16, layers=2)


def build(spec: UNet = SMALL, condition: ConditionSize = NONE, shape: Shape = SHAPE, *, perturbed: bool = True) -> UNetNetwork:
    """A network whose branches that start at zero were woken up, as training would."""
    torch.manual_seed(0)
    network = build_network(spec, condition, shape)
    assert isinstance(network, UNetNetwork)
    if perturbed:
        for parameter in network.parameters():
            parameter.data += 0.05 * torch.randn_like(parameter)
    return network


def images(shape: Shape = SHAPE, count: int = 3) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(count, *shape, generator=generator), 900 * torch.rand(count, generator=generator)


def conditions(condition: ConditionSize, count: int = 3) -> torch.Tensor | None:
    if condition.kind == "class":
        return torch.arange(count) % (condition.classes + 1)
    if condition.kind == "prompt":
        tokens = torch.randint(1, condition.vocabulary, (count, condition.length), generator=torch.Generator().manual_seed(2))
        tokens[0, 3:] = 0
        tokens[-1] = 0
        return tokens
    return None


@pytest.mark.parametrize(
    ("spec", "shape"),
    [
        (SMALL, SHAPE),
        (SMALL.but(multipliers=(1,), attention_resolutions=()), Shape(1, 9, 9)),
        (SMALL.but(multipliers=(1, 1, 3), attention_resolutions=(4, 16), heads=4), Shape(3, 16, 16)),
        (SMALL.but(multipliers=(2, 1), blocks_per_level=1, attention_resolutions=(4, 8)), Shape(1, 8, 8)),
        (SMALL.but(blocks_per_level=3), Shape(1, 28, 28)),
        (UNet(base_channels=9, groups=3, heads=3, multipliers=(1, 2), time_embedding=8), Shape(3, 8, 8)),
    ],
)
@pytest.mark.parametrize("condition", [NONE, CLASSES, PROMPTS], ids=lambda size: size.kind)
def test_the_output_has_the_shape_of_the_image(spec: UNet, shape: Shape, condition: ConditionSize) -> None:
    network = build(spec, condition, shape)
    x, c_noise = images(shape)
    output = network(x, c_noise, conditions(condition))
    assert output.shape == x.shape
    assert output.isfinite().all()


def test_attention_is_where_the_spec_says_and_in_the_middle() -> None:
    network = build(SMALL.but(multipliers=(1, 2, 2), attention_resolutions=(4,)), shape=Shape(1, 8, 8))
    assert [[block.attention is not None for block in level] for level in network.down] == [[False] * 2, [True] * 2, [False] * 2]
    assert [[block.attention is not None for block in level] for level in network.up] == [[False] * 3, [True] * 3, [False] * 3]
    assert [block.attention is not None for block in network.middle] == [True, False]


def test_the_way_up_mirrors_the_way_down() -> None:
    network = build(SMALL.but(multipliers=(2, 1, 3), attention_resolutions=()))
    down, up = ([level[-1].residual.conv2.out_channels for level in way] for way in (network.down, network.up))
    assert down == [32, 16, 48]
    assert up == down[::-1]


@pytest.mark.parametrize("condition", [NONE, CLASSES, PROMPTS], ids=lambda size: size.kind)
def test_an_untrained_network_says_exactly_zero(condition: ConditionSize) -> None:
    network = build(condition=condition, perturbed=False)
    x, c_noise = images()
    assert (network(x, c_noise, conditions(condition)) == 0).all()


@pytest.mark.parametrize("condition", [NONE, CLASSES, PROMPTS], ids=lambda size: size.kind)
def test_every_parameter_gets_a_gradient(condition: ConditionSize) -> None:
    network = build(condition=condition)
    labels = conditions(condition, 11)
    if condition.kind == "prompt":
        assert labels is not None
        labels[1:10] = torch.arange(1, 10)[:, None] + torch.arange(6) * 2
        labels[1:10] %= condition.vocabulary
    x, c_noise = images(count=11)
    network(x, c_noise, labels).square().sum().backward()
    dead = [name for name, p in network.named_parameters() if p.grad is None or not p.grad.isfinite().all() or not p.grad.any()]
    assert dead == []


@pytest.mark.parametrize("condition", [NONE, PROMPTS], ids=lambda size: size.kind)
def test_recomputing_activations_changes_no_bit(condition: ConditionSize) -> None:
    def train(checkpointing: bool) -> list[torch.Tensor]:
        network = build(SMALL.but(dropout=0.3, checkpointing=checkpointing), condition)
        x, c_noise = images()
        torch.manual_seed(5)
        output = network.train()(x, c_noise, conditions(condition))
        output.square().sum().backward()
        return [output, torch.rand(1), *(parameter.grad for parameter in network.parameters() if parameter.grad is not None)]

    plain, recomputed = train(False), train(True)
    assert len(plain) == len(recomputed)
    assert all(torch.equal(one, two) for one, two in zip(plain, recomputed, strict=True))


def test_recomputing_can_be_switched_on_later_and_really_recomputes() -> None:
    network, calls = build(), [0]
    network.middle[0].register_forward_pre_hook(lambda *_: calls.__setitem__(0, calls[0] + 1))
    x, c_noise = images()
    network.checkpointing = True
    network(x, c_noise).sum().backward()
    assert calls == [2]


def test_dropout_acts_in_training_alone() -> None:
    network = build(SMALL.but(dropout=0.5))
    x, c_noise = images()
    assert not torch.equal(network.train()(x, c_noise), network(x, c_noise))
    assert torch.equal(network.eval()(x, c_noise), network(x, c_noise))


@pytest.mark.parametrize("condition", [CLASSES, PROMPTS], ids=lambda size: size.kind)
def test_the_condition_changes_the_image_that_it_belongs_to(condition: ConditionSize) -> None:
    network = build(condition=condition).eval()
    (x, c_noise), labels = images(), conditions(condition)
    assert labels is not None
    other = labels.clone()
    other[1] = (other[1] + 1) % 10
    before, after = network(x, c_noise, labels), network(x, c_noise, other)
    torch.testing.assert_close(before[[0, 2]], after[[0, 2]])
    assert (before[1] - after[1]).abs().max() > 1e-3


def test_the_noise_level_changes_the_output_without_jumps() -> None:
    network = build().eval()
    x, _ = images(count=1)
    levels = torch.linspace(4.0, 6.0, 101)
    with torch.no_grad():
        outputs = network(x.expand(101, -1, -1, -1), levels).flatten(1)
    moves = outputs.diff(dim=0).norm(dim=1)
    assert (outputs[0] - outputs[-1]).norm() > 1e-2
    assert moves.max() < 3 * moves.mean()
    assert torch.equal(sinusoids(levels[:1], 16), sinusoids(torch.tensor([4]), 16))


def test_the_sinusoids_run_from_frequency_one_to_one_in_ten_thousand() -> None:
    c_noise = torch.tensor([0.0, 1.5, 999.0])
    found = sinusoids(c_noise, 128).double()
    angles = c_noise[:, None].double() * 10_000 ** -(torch.arange(64, dtype=torch.float64) / 63)
    torch.testing.assert_close(found, torch.cat([angles.sin(), angles.cos()], 1), atol=1e-4, rtol=0)
    assert sinusoids(c_noise, 9).shape == (3, 9)


def test_times_are_embedded_in_float32_under_autocast() -> None:
    # bfloat16 holds 8 bits: indices 997 and 999 would be the same number.
    network = build(SMALL.but(base_channels=128))
    near = torch.tensor([997.0, 999.0])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert network.time(near).dtype == torch.float32
        under = network.time(near)
        assert not torch.equal(under, network.time.network(sinusoids(near, 128)).float())
    assert torch.equal(under, network.time(near))
    assert not torch.equal(under[0], under[1])


@pytest.mark.parametrize("condition", [CLASSES, PROMPTS], ids=lambda size: size.kind)
def test_autocast_stays_near_float32(condition: ConditionSize) -> None:
    network = build(condition=condition).eval()
    x, c_noise = images()
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        half = network(x, c_noise, conditions(condition))
    with torch.no_grad():
        full = network(x, c_noise, conditions(condition))
    assert half.isfinite().all()
    assert (half.float() - full).norm() < 0.05 * full.norm()


def test_the_memory_format_changes_nothing_but_speed() -> None:
    network = build().eval()
    x, c_noise = images()
    before = network(x, c_noise)
    after = network.to(memory_format=torch.channels_last)(x.to(memory_format=torch.channels_last), c_noise)
    torch.testing.assert_close(before, after, atol=1e-5, rtol=1e-5)


def test_the_network_compiles_as_one_graph() -> None:
    network = build(SMALL.but(blocks_per_level=1, attention_resolutions=()), PROMPTS)
    x, c_noise = images()
    compiled = torch.compile(network, backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(x, c_noise, conditions(PROMPTS)), network(x, c_noise, conditions(PROMPTS)))


@pytest.mark.parametrize(("condition", "given"), [(NONE, torch.zeros(3, dtype=torch.long)), (CLASSES, None)])
def test_a_condition_is_never_ignored(condition: ConditionSize, given: torch.Tensor | None) -> None:
    x, c_noise = images()
    with pytest.raises(ValueError, match="condition"):
        build(condition=condition)(x, c_noise, given)


def test_the_same_seed_builds_the_same_network() -> None:
    one, two = (build(condition=PROMPTS).state_dict() for _ in range(2))
    assert one.keys() == two.keys()
    assert all(torch.equal(one[name], two[name]) for name in one)
