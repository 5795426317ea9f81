"""The U-Net: nothing before training, every part used, the same result however it is run."""

from __future__ import annotations

import pytest
import torch
from support.network_inputs import CLASSES, EVERY, NONE, PROMPTS, SEVERAL, conditions
from support.small_unet import CHOICES, SHAPE, SMALL, Inputs, build, images

from ddpm_exp.models.build import build_network
from ddpm_exp.spec.data import Shape
from ddpm_exp.spec.model import UNet


def a_condition_of_each_way() -> pytest.MarkDecorator:
    return pytest.mark.parametrize("inputs", [NONE, CLASSES, PROMPTS, SEVERAL], ids=["none", "class", "prompt", "several"])


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
@a_condition_of_each_way()
def test_the_output_has_the_shape_of_the_image(spec: UNet, shape: Shape, inputs: Inputs) -> None:
    network = build(spec, inputs, shape)
    x, c_noise = images(shape)
    output = network(x, c_noise, conditions(inputs, side=shape.height))
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


@a_condition_of_each_way()
def test_an_untrained_network_says_exactly_zero(inputs: Inputs) -> None:
    network = build(inputs=inputs, perturbed=False)
    x, c_noise = images()
    assert (network(x, c_noise, conditions(inputs)) == 0).all()


@pytest.mark.parametrize(
    ("spec", "inputs"),
    [*((spec, CLASSES) for spec in CHOICES.values()), *((SMALL, inputs) for inputs in EVERY.values())],
    ids=[*CHOICES, *EVERY],
)
def test_every_parameter_gets_a_gradient(spec: UNet, inputs: Inputs) -> None:
    network = build(spec, inputs)
    x, c_noise = images(count=11)
    network(x, c_noise, conditions(inputs, 11)).square().sum().backward()
    dead = [name for name, p in network.named_parameters() if p.grad is None or not p.grad.isfinite().all() or not p.grad.any()]
    assert dead == []


@pytest.mark.parametrize("inputs", [NONE, SEVERAL], ids=["none", "several"])
def test_recomputing_activations_changes_no_bit(inputs: Inputs) -> None:
    def train(checkpointing: bool) -> list[torch.Tensor]:
        network = build(SMALL.but(dropout=0.3, checkpointing=checkpointing), inputs)
        x, c_noise = images()
        torch.manual_seed(5)
        output = network.train()(x, c_noise, conditions(inputs))
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


@pytest.mark.parametrize("inputs", [inputs for inputs in EVERY.values() if inputs], ids=[name for name in EVERY if name != "none"])
def test_each_part_of_a_condition_changes_the_image_that_it_belongs_to(inputs: Inputs) -> None:
    network = build(inputs=inputs).eval()
    (x, c_noise), told = images(), conditions(inputs)
    assert told is not None
    before = network(x, c_noise, told)
    for kind, tensor in told.items():
        other = tensor.clone()
        other[1] = other[0]
        after = network(x, c_noise, {**told, kind: other})
        torch.testing.assert_close(before[[0, 2]], after[[0, 2]])
        assert (before[1] - after[1]).abs().max() > 1e-4, kind


def test_the_noise_level_changes_the_output_without_jumps() -> None:
    network = build().eval()
    x, _ = images(count=1)
    levels = torch.linspace(4.0, 6.0, 101)
    with torch.no_grad():
        outputs = network(x.expand(101, -1, -1, -1), levels).flatten(1)
    moves = outputs.diff(dim=0).norm(dim=1)
    assert (outputs[0] - outputs[-1]).norm() > 1e-2
    assert moves.max() < 3 * moves.mean()


@pytest.mark.parametrize("half", [torch.bfloat16, torch.float16], ids=["bf16", "fp16"])
@pytest.mark.parametrize(
    ("spec", "inputs"),
    [*((spec, NONE) for spec in CHOICES.values()), (SMALL, PROMPTS), (SMALL, SEVERAL)],
    ids=[*CHOICES, "prompt", "several"],
)
def test_autocast_stays_near_float32(spec: UNet, inputs: Inputs, half: torch.dtype) -> None:
    network = build(spec, inputs).eval()
    x, c_noise = images()
    with torch.no_grad(), torch.autocast("cpu", dtype=half):
        low = network(x, c_noise, conditions(inputs))
    with torch.no_grad():
        full = network(x, c_noise, conditions(inputs))
    assert low.isfinite().all()
    assert (low.float() - full).norm() < (0.05 if half is torch.bfloat16 else 0.01) * full.norm()


@pytest.mark.parametrize("spec", CHOICES.values(), ids=CHOICES)
def test_the_memory_format_changes_nothing_but_speed(spec: UNet) -> None:
    network = build(spec).eval()
    x, c_noise = images()
    before = network(x, c_noise)
    after = network.to(memory_format=torch.channels_last)(x.to(memory_format=torch.channels_last), c_noise)
    torch.testing.assert_close(before, after, atol=1e-4 * before.abs().max().item(), rtol=1e-4)


@pytest.mark.parametrize(
    ("spec", "inputs"),
    [(SMALL, SEVERAL), (CHOICES["learned"].but(time_conditioning="adagn", skip_scaling=True), NONE)],
    ids=["several", "choices"],
)
def test_the_network_compiles_as_one_graph(spec: UNet, inputs: Inputs) -> None:
    network = build(spec.but(blocks_per_level=1, multipliers=(1,)), inputs)
    x, c_noise = images()
    compiled = torch.compile(network, backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(x, c_noise, conditions(inputs)), network(x, c_noise, conditions(inputs)))


@pytest.mark.parametrize(("built", "given"), [(NONE, CLASSES), (CLASSES, NONE), (SEVERAL, CLASSES), (CLASSES, SEVERAL)])
def test_a_condition_is_never_ignored(built: Inputs, given: Inputs) -> None:
    x, c_noise = images()
    with pytest.raises(ValueError, match="condition"):
        build(inputs=built)(x, c_noise, conditions(given))


def test_the_same_seed_builds_the_same_network() -> None:
    one, two = (build(inputs=SEVERAL).state_dict() for _ in range(2))
    assert one.keys() == two.keys()
    assert all(torch.equal(one[name], two[name]) for name in one)


@pytest.mark.parametrize(
    ("inputs", "next_draw", "size"),
    [(NONE, 0.5068, 45.7745), (CLASSES, 0.1730, 34.6822), (PROMPTS, 0.5764, 52.8075)],
    ids=["none", "class", "prompt"],
)
def test_recorded_runs_would_begin_as_they_did(inputs: Inputs, next_draw: float, size: float) -> None:
    torch.manual_seed(0)
    network = build_network(SMALL.but(dropout=0.1), inputs, SHAPE)
    assert torch.rand(4)[0].item() == pytest.approx(next_draw, abs=1e-4), "fresh weights take other draws than on record"
    for parameter in network.parameters():
        parameter.data += 0.05 * torch.randn_like(parameter)
    x, c_noise = torch.randn(3, *SHAPE), torch.tensor([0.0, 7.5, 999.0])
    told = {"class": torch.tensor([0, 4, 10])} if inputs == CLASSES else conditions(inputs)
    assert network.train()(x, c_noise, told).double().abs().sum().item() == pytest.approx(size, rel=1e-5)
