"""Cross-attention: a weighted mean of what is visible, and of nothing else."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from support.condition_ways import ALL_AT_ONCE
from support.network_inputs import conditions

from ddpm_exp.models.attention import CrossAttention
from ddpm_exp.models.conditions import ConditionEncoder


def attention(heads: int = 2) -> CrossAttention:
    torch.manual_seed(0)
    return CrossAttention(8, 6, heads)


def test_it_is_softmax_of_queries_times_keys_times_values() -> None:
    look, x, tokens = attention(), torch.randn(3, 4, 8), torch.randn(3, 5, 6)
    visible = torch.rand(3, 5) > 0.4
    visible[:, 2] = True
    key, value = look.key_value(tokens).chunk(2, dim=2)
    heads = []
    for q, k, v in zip(*(part.split(4, dim=2) for part in (look.query(x), key, value)), strict=True):
        scores = (q @ k.transpose(1, 2) / 2.0).masked_fill(~visible[:, None, :], -torch.inf)
        heads.append(scores.softmax(2) @ v)
    torch.testing.assert_close(look(x, tokens, visible), look.merge(torch.cat(heads, dim=2)))


@given(hidden=st.lists(st.booleans(), min_size=4, max_size=4), loud=st.floats(-1e4, 1e4))
def test_hidden_tokens_are_as_if_they_were_not_there(hidden: list[bool], loud: float) -> None:
    look, x, tokens = attention(), torch.randn(1, 3, 8), torch.randn(1, 5, 6)
    visible = torch.tensor([[True, *(not one for one in hidden)]])
    without = look(x, tokens[visible][None], None)
    tokens[~visible] = loud
    torch.testing.assert_close(look(x, tokens, visible), without)


def test_all_visible_is_no_mask() -> None:
    look, x, tokens = attention(), torch.randn(2, 3, 8), torch.randn(2, 5, 6)
    torch.testing.assert_close(look(x, tokens, torch.ones(2, 5, dtype=torch.bool)), look(x, tokens))


def test_the_order_of_tokens_is_nothing_to_it() -> None:
    look, x, tokens = attention(), torch.randn(2, 3, 8), torch.randn(2, 5, 6)
    visible = torch.tensor([[True, False, True, True, False]] * 2)
    turned = torch.tensor([3, 1, 0, 4, 2])
    torch.testing.assert_close(look(x, tokens[:, turned], visible[:, turned]), look(x, tokens, visible))


def test_examples_that_are_told_nothing_give_no_nan_forward_or_backward() -> None:
    torch.manual_seed(0)
    encoder, look = ConditionEncoder(ALL_AT_ONCE, embedding=8, token_width=6), attention()
    told = {kind: tensor[-1:] for kind, tensor in (conditions(ALL_AT_ONCE) or {}).items()}
    encoded = encoder(told)
    x = torch.randn(1, 3, 8, requires_grad=True)
    seen = look(x, encoded.tokens, encoded.visible)
    assert seen.isfinite().all()
    seen.square().sum().backward()
    for parameter in (x, *look.parameters(), *encoder.parameters()):
        assert parameter.grad is None or parameter.grad.isfinite().all()
    assert all(getattr(encoder, f"{kind}_part").null.grad.any() for kind in ("prompt", "states"))


def test_heads_divide_the_width() -> None:
    with pytest.raises(ValueError, match="3 heads"):
        attention(3)
