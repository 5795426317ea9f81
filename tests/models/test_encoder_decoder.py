"""Guide 000's encoder and decoder: as large as the guide says, every part used, the same result however it is run."""

from __future__ import annotations

import pytest
import torch
from support.network_inputs import EVERY, NONE, PROMPTS, SEVERAL, WORDS, conditions

from ddpm_exp.models.build import build_network
from ddpm_exp.models.encoder_decoder import EncoderDecoderNetwork
from ddpm_exp.models.inputs import ConditionInput
from ddpm_exp.spec.data import Shape
from ddpm_exp.spec.model import EncoderDecoder

SMALL = EncoderDecoder(hidden_dim=32, time_emb_dim=16)
SHAPE = Shape(1, 8, 8)
Inputs = tuple[ConditionInput, ...]
FITTING = {name: inputs for name, inputs in EVERY.items() if all(part.by != "cross-attention" for part in inputs)}


def build(spec: EncoderDecoder = SMALL, inputs: Inputs = NONE, *, outputs: int = 1) -> EncoderDecoderNetwork:
    torch.manual_seed(0)
    network = build_network(spec, inputs, SHAPE, outputs=outputs, timesteps=1000)
    assert isinstance(network, EncoderDecoderNetwork)
    for parameter in network.parameters():
        parameter.data += 0.05 * torch.randn_like(parameter)
    return network


def images(count: int = 3) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(count, *SHAPE, generator=generator), 900 * torch.rand(count, generator=generator)


def size(hidden_dim: int) -> int:
    with torch.device("meta"):
        network = build_network(EncoderDecoder(hidden_dim=hidden_dim, time_emb_dim=hidden_dim // 2), NONE, Shape(3, 32, 32))
    return sum(parameter.numel() for parameter in network.parameters())


@pytest.mark.parametrize(("hidden_dim", "millions"), [(128, 0.5), (256, 2.0), (512, 8.0)])
def test_it_is_as_large_as_guide_000_says(hidden_dim: int, millions: float) -> None:
    assert size(hidden_dim) / 1e6 == pytest.approx(millions, rel=0.2)


@pytest.mark.parametrize("hidden_dim", [128, 256, 512])
def test_twice_the_width_is_four_times_the_parameters(hidden_dim: int) -> None:
    assert size(2 * hidden_dim) / size(hidden_dim) == pytest.approx(4.0, rel=0.02)


@pytest.mark.parametrize("inputs", FITTING.values(), ids=FITTING)
def test_every_parameter_gets_a_gradient(inputs: Inputs) -> None:
    network = build(inputs=inputs)
    x, c_noise = images(11)
    output = network(x, c_noise, conditions(inputs, 11))
    assert output.shape == x.shape
    output.square().sum().backward()
    dead = [name for name, p in network.named_parameters() if p.grad is None or not p.grad.isfinite().all() or not p.grad.any()]
    assert dead == []


def test_the_sides_are_halved_twice_and_the_skips_are_read() -> None:
    network, sides = build().eval(), {}
    for name, module in network.named_modules():
        module.register_forward_hook(lambda _, __, out, name=name: sides.__setitem__(name, tuple(out.shape[1:])))
    x, c_noise = images()
    before = network(x, c_noise)
    assert [sides[name] for name in ("first", "encoder.0", "encoder.1", "middle", "decoder.0", "decoder.1", "last")] == [
        (8, 8, 8), (8, 8, 8), (16, 4, 4), (32, 2, 2), (16, 4, 4), (8, 8, 8), (1, 8, 8),
    ]  # fmt: skip
    # Both decoders read the channels that skips bring, which come last.
    for stage, skipped in ((network.decoder[0], 16), (network.decoder[1], 8)):
        handle = stage.register_forward_pre_hook(
            lambda _, given, skipped=skipped: (torch.cat([given[0][:, :-skipped], 0 * given[0][:, -skipped:]], 1), given[1])
        )
        assert not torch.allclose(network(x, c_noise), before)
        handle.remove()


def test_it_is_told_the_time_and_the_condition_of_each_image() -> None:
    inputs = FITTING["class"]
    network = build(inputs=inputs).eval()
    (x, c_noise), told = images(), conditions(inputs)
    assert told is not None
    before = network(x, c_noise, told)
    later = network(x, c_noise + torch.tensor([0.0, 5.0, 0.0]), told)
    other = network(x, c_noise, {"class": torch.tensor([0, 7, 10])})
    for after in (later, other):
        torch.testing.assert_close(before[[0, 2]], after[[0, 2]])
        assert (before[1] - after[1]).abs().max() > 1e-3


def test_an_untrained_network_says_zero_unless_told_not_to_begin_there() -> None:
    x, c_noise = images()
    assert (build_network(SMALL, NONE, SHAPE)(x, c_noise) == 0).all()
    assert (build_network(SMALL.but(zero_init=False), NONE, SHAPE)(x, c_noise) != 0).any()


def test_recomputing_activations_changes_no_bit() -> None:
    def train(checkpointing: bool) -> list[torch.Tensor]:
        network = build(SMALL.but(dropout=0.3, checkpointing=checkpointing))
        x, c_noise = images()
        torch.manual_seed(5)
        network.train()(x, c_noise).square().sum().backward()
        return [torch.rand(1), *(parameter.grad for parameter in network.parameters() if parameter.grad is not None)]

    assert all(torch.equal(one, two) for one, two in zip(train(False), train(True), strict=True))


@pytest.mark.parametrize("half", [torch.bfloat16, torch.float16], ids=["bf16", "fp16"])
def test_autocast_and_the_memory_format_stay_near_float32(half: torch.dtype) -> None:
    network = build().eval()
    x, c_noise = images()
    with torch.no_grad():
        full = network(x, c_noise)
        last = network.to(memory_format=torch.channels_last)(x.to(memory_format=torch.channels_last), c_noise)
        with torch.autocast("cpu", dtype=half):
            low = network(x, c_noise)
    torch.testing.assert_close(last, full, atol=1e-5, rtol=1e-5)
    assert (low.float() - full).norm() < 0.05 * full.norm()


def test_it_compiles_as_one_graph() -> None:
    network = build(inputs=PROMPTS)
    x, c_noise = images()
    compiled = torch.compile(network, backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(x, c_noise, conditions(PROMPTS)), network(x, c_noise, conditions(PROMPTS)))


def test_twice_the_outputs() -> None:
    x, c_noise = images()
    assert build(outputs=2)(x, c_noise).shape == (3, 2, 8, 8)


@pytest.mark.parametrize("inputs", [WORDS, SEVERAL])
def test_it_looks_at_no_tokens(inputs: Inputs) -> None:
    with pytest.raises(ValueError, match="no attention"):
        build_network(SMALL, inputs, SHAPE)
