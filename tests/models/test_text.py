"""The text encoder: padding is never read, the null prompt is well defined, words are states or their mean."""

from __future__ import annotations

import pytest
import torch

from ddpm_exp.models.text import TextEncoder


def encoder(layers: int = 2, width: int = 16) -> TextEncoder:
    torch.manual_seed(0)
    return TextEncoder(vocabulary=30, length=8, width=width, layers=layers, out=12)


PROMPT = torch.tensor([[5, 9, 3, 0, 0, 0, 0, 0]])


@pytest.mark.parametrize("layers", [0, 1, 3])
@pytest.mark.parametrize("width", [9, 10, 16])
def test_features_have_the_embeddings_width(layers: int, width: int) -> None:
    assert encoder(layers, width)(PROMPT).shape == (1, 12)


@pytest.mark.parametrize("layers", [0, 2])
def test_padding_is_never_read(layers: int) -> None:
    text = encoder(layers)
    before, states = text(PROMPT), text.tokens(PROMPT)[0][:, :3]
    torch.testing.assert_close(text(PROMPT[:, :3]), before)
    text.words.weight.data[0] += 100
    assert torch.equal(text(PROMPT), before)
    assert torch.equal(text.tokens(PROMPT)[0][:, :3], states)


@pytest.mark.parametrize("layers", [0, 2])
def test_the_null_prompt_is_its_own_vector_and_has_finite_gradients(layers: int) -> None:
    text = encoder(layers)
    tokens = torch.cat([PROMPT, torch.zeros_like(PROMPT)])
    features = text(tokens)
    torch.testing.assert_close(features[1], text.out(text.null))
    features.sum().backward()
    for name, parameter in text.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), name
    assert text.null.grad is not None and text.null.grad.any()


def test_the_null_prompt_is_one_token() -> None:
    text = encoder()
    states, visible = text.tokens(torch.cat([PROMPT, torch.zeros_like(PROMPT)]))
    assert visible.tolist() == [[True] * 3 + [False] * 5, [True] + [False] * 7]
    torch.testing.assert_close(states[1, 0], text.out(text.null))


@pytest.mark.parametrize("layers", [0, 2])
def test_features_are_the_mean_of_the_states(layers: int) -> None:
    # The last map is affine, so it may come before or after the mean.
    text = encoder(layers)
    torch.testing.assert_close(text.tokens(PROMPT)[0][0, :3].mean(0), text(PROMPT)[0])


def test_a_prompt_does_not_depend_on_its_neighbours() -> None:
    text = encoder()
    others = torch.randint(0, 30, (5, 8), generator=torch.Generator().manual_seed(1))
    among = torch.cat([others, PROMPT, torch.zeros_like(PROMPT)])
    torch.testing.assert_close(text(among)[5:6], text(PROMPT))
    torch.testing.assert_close(text.tokens(among)[0][5:6, :3], text.tokens(PROMPT)[0][:, :3])


def test_the_order_of_words_matters_with_layers_and_not_without() -> None:
    turned = torch.tensor([[3, 9, 5, 0, 0, 0, 0, 0]])
    assert (encoder(2)(PROMPT) - encoder(2)(turned)).abs().max() > 1e-4
    torch.testing.assert_close(encoder(0)(PROMPT), encoder(0)(turned))


def test_without_layers_features_are_the_mean_of_the_words() -> None:
    text = encoder(0)
    torch.testing.assert_close(text(PROMPT)[0], text.out(text.words.weight[[5, 9, 3]].mean(0)))
