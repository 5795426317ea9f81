"""Conditions: each kind in each way, hidden ones well defined, parts together what they are alone, and none ignored."""

from __future__ import annotations

import pytest
import torch
from support.condition_ways import ALL_AT_ONCE, WAYS
from support.network_inputs import HOLES, SEVERAL, conditions
from torch import nn

from ddpm_exp.models.condition_parts import ClassFeatures
from ddpm_exp.models.conditions import BESIDE, ConditionEncoder
from ddpm_exp.models.inputs import ConditionInput
from ddpm_exp.models.text import TextEncoder

Inputs = tuple[ConditionInput, ...]
every_way = pytest.mark.parametrize("inputs", WAYS.values(), ids=WAYS)
COUNT = 12
"""Examples, the last of which is told nothing; every class is there."""


def encoder(inputs: Inputs) -> ConditionEncoder:
    torch.manual_seed(0)
    return ConditionEncoder(inputs, embedding=16, token_width=8)


def told(inputs: Inputs) -> dict[str, torch.Tensor]:
    condition = conditions(inputs, COUNT)
    assert condition is not None
    return condition


@every_way
def test_each_way_gives_what_it_promises_and_nothing_else(inputs: Inputs) -> None:
    module = encoder(inputs)
    encoded = module(told(inputs))
    by = inputs[0].by
    assert (encoded.embedding is not None, encoded.tokens is not None, encoded.channels is not None) == (
        by == "embedding",
        by == "cross-attention",
        by == "concatenation",
    )
    assert module.channels == (BESIDE if by == "concatenation" else 0)
    if encoded.embedding is not None:
        assert encoded.embedding.shape == (COUNT, 16)
    if encoded.channels is not None:
        assert encoded.channels.shape == (COUNT, BESIDE)
    if encoded.tokens is not None:
        length = {"class": 1, "prompt": 6, "states": 6, "values": 2}[inputs[0].kind]
        assert encoded.tokens.shape == (COUNT, length, 8)
        assert encoded.visible is None or (encoded.visible.shape == (COUNT, length) and encoded.visible.dtype == torch.bool)


@every_way
def test_every_parameter_gets_a_finite_gradient(inputs: Inputs) -> None:
    module = encoder(inputs)
    encoded = module(told(inputs))
    tokens = encoded.tokens if encoded.visible is None or encoded.tokens is None else encoded.tokens[encoded.visible]
    sum(part.square().sum() for part in (encoded.embedding, tokens, encoded.channels) if part is not None).backward()
    dead = [name for name, p in module.named_parameters() if p.grad is None or not p.grad.isfinite().all() or not p.grad.any()]
    assert dead == []


@every_way
def test_nothing_said_is_something_learnt_to_look_at(inputs: Inputs) -> None:
    encoded = encoder(inputs)(told(inputs))
    for part in (encoded.embedding, encoded.channels, encoded.tokens):
        assert part is None or part[-1].isfinite().all()
    if encoded.visible is not None:
        assert encoded.visible[-1].tolist() == [True] + [False] * (encoded.visible.shape[1] - 1)
        assert encoded.visible.any(1).all()


@pytest.mark.parametrize("kind", ["prompt", "states", "values"])
def test_what_is_not_said_is_not_visible(kind: str) -> None:
    inputs = WAYS[f"{kind} by cross-attention"]
    condition = told(inputs)
    if kind == "values":
        condition["values"][0] = torch.tensor([0.0, 1.5, 0.0, 1.0])
    encoded = encoder(inputs)(condition)
    assert encoded.visible is not None
    assert encoded.visible[0].tolist() == ([False, True] if kind == "values" else [True] * 3 + [False] * 3)
    assert encoded.visible[1].all()


@pytest.mark.parametrize("by", ["embedding", "concatenation", "cross-attention"])
def test_states_of_padding_are_never_read(by: str) -> None:
    inputs = WAYS[f"states by {by}"]
    module, condition = encoder(inputs), told(inputs)
    other = condition["states"].clone()
    other[0, 3:, :-1] = 7.0
    other[-1, :, :-1] = -7.0
    before, after = module(condition), module({"states": other})
    for one, two in zip(before, after, strict=True):
        if one is not None:
            seen = before.visible if one.dim() == 3 else slice(None)
            torch.testing.assert_close(one[seen], two[seen])


@pytest.mark.parametrize("by", ["embedding", "concatenation", "cross-attention"])
def test_a_value_of_zero_is_not_a_hidden_value(by: str) -> None:
    module = encoder(WAYS[f"values by {by}"])
    zero, hidden = torch.tensor([[0.0, 0.0, 1.0, 1.0]]), torch.zeros(1, 4)
    said, unsaid = module({"values": zero}), module({"values": hidden})
    parts = [(one, two) for one, two in zip(said, unsaid, strict=True) if one is not None and one.is_floating_point()]
    assert parts and all((one - two).abs().max() > 1e-3 for one, two in parts)


def test_parts_together_are_what_they_are_alone() -> None:
    inputs = (*WAYS["class by embedding"], *WAYS["values by embedding"], *WAYS["prompt by cross-attention"])
    whole, condition = encoder(inputs), told(inputs)
    encoded = whole(condition)
    alone = [getattr(whole, f"{part.kind}_part") for part in inputs]
    assert torch.equal(encoded.embedding, alone[0](condition["class"]) + alone[1](condition["values"]))
    assert torch.equal(encoded.tokens, alone[2].tokens(condition["prompt"])[0])


def test_tokens_of_several_parts_follow_each_other() -> None:
    inputs = (*WAYS["class by cross-attention"], *WAYS["prompt by cross-attention"], *WAYS["values by cross-attention"])
    encoded = encoder(inputs)(told(inputs))
    assert encoded.tokens is not None and encoded.visible is not None
    assert encoded.tokens.shape == (COUNT, 1 + 6 + 2, 8)
    assert encoded.visible[0].tolist() == [True, True, True, True, False, False, False, True, True]
    assert encoded.visible[-1].tolist() == [True, True, False, False, False, False, False, True, False]


def test_vectors_are_spread_over_the_image_that_they_stand_beside() -> None:
    inputs = (*WAYS["class by concatenation"], *HOLES)
    module = encoder(inputs)
    condition = told(inputs)
    channels = module(condition).channels
    assert channels.shape == (COUNT, module.channels, 8, 8) and module.channels == BESIDE + 2
    assert (channels[:, :BESIDE] == channels[:, :BESIDE, :1, :1]).all()
    assert torch.equal(channels[:, BESIDE:], condition["image"])


def test_an_image_alone_is_handed_on_as_it_is() -> None:
    condition = told(HOLES)
    assert torch.equal(encoder(HOLES)(condition).channels, condition["image"])
    assert not list(encoder(HOLES).parameters())


@pytest.mark.parametrize("inputs", [SEVERAL, ALL_AT_ONCE], ids=["several", "all at once"])
def test_a_part_that_is_missing_or_not_built_for_is_named(inputs: Inputs) -> None:
    module = encoder(inputs)
    condition = told(inputs)
    missing = condition.pop(inputs[1].kind)
    with pytest.raises(ValueError, match=f"missing: {inputs[1].kind}"):
        module(condition)
    with pytest.raises(ValueError, match="not built for: audio"):
        module({**condition, inputs[1].kind: missing, "audio": missing})


@pytest.mark.parametrize(
    "inputs",
    [
        (),
        (*WAYS["class by embedding"], *WAYS["class by concatenation"]),
        (ConditionInput("image", "cross-attention", channels=2),),
        (ConditionInput("image", "embedding", channels=2),),
    ],
)
def test_conditions_that_cannot_be_are_refused(inputs: Inputs) -> None:
    with pytest.raises(ValueError, match=r"condition has|concatenation"):
        encoder(inputs)


@pytest.mark.parametrize("kind", ["class", "prompt"])
def test_a_single_part_by_embedding_begins_as_recorded_runs_began(kind: str) -> None:
    inputs = WAYS[f"{kind} by embedding"]
    found = encoder(inputs).state_dict()
    torch.manual_seed(0)
    alone: nn.Module = (
        ClassFeatures(10, 16) if kind == "class" else TextEncoder(vocabulary=20, length=6, width=16, layers=2, out=16)
    )
    assert [name.removeprefix(f"{kind}_part.") for name in found] == list(alone.state_dict())
    assert all(torch.equal(found[f"{kind}_part.{name}"], tensor) for name, tensor in alone.state_dict().items())


def test_the_null_label_is_one_more_class() -> None:
    features = ClassFeatures(10, 12)(torch.arange(11))
    assert features.shape == (11, 12)
    assert len(features.unique(dim=0)) == 11
