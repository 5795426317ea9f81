"""Classes and prompts: dropped per image at the stated rate, keyed by ordinal, told in words that the tokenizer keeps apart."""

import hashlib
from collections import Counter

import pytest
import torch

from ddpm_exp.data.conditions import Conditions, build_conditions
from ddpm_exp.data.digits import CLASS_NAMES as DIGITS
from ddpm_exp.data.examples import Batch, Facts
from ddpm_exp.data.fashion_mnist import CLASS_NAMES as CLOTHES
from ddpm_exp.data.prompt_part import PromptPart
from ddpm_exp.data.prompts import PADDING, UNKNOWN, Tokenizer, words
from ddpm_exp.diffusion.draws import uniform
from ddpm_exp.spec.condition import ClassLabels, Condition, Prompts, Unconditional
from ddpm_exp.spec.errors import UserError

ORDINALS = torch.arange(20_000)
LABELS = ORDINALS % 10
RECORDED = ["5b399dfd9f931fa1", "8f3030ace2f0e825"]
"""Hashes of 500 classes and prompts, made by version 0.1.0."""


def _of(labels: torch.Tensor) -> Batch:
    return Batch(torch.zeros(len(labels), 1, 1, 1), labels, None)


def _built(condition: Condition, names: tuple[str, ...] = CLOTHES) -> Conditions:
    return build_conditions(condition, Facts((1, 8, 8), names), uniform)


def _prompts(**changes: object) -> Conditions:
    return _built(Prompts().but(**changes))


def _encode(conditions: Conditions, texts: list[str]) -> torch.Tensor:
    (part,) = conditions.parts
    assert isinstance(part, PromptPart)
    return part.encode(texts)


def _only(condition: dict[str, torch.Tensor] | None) -> torch.Tensor:
    assert condition is not None
    (tensor,) = condition.values()
    return tensor


def _train(conditions: Conditions, ordinals: torch.Tensor = ORDINALS, seed: int = 0) -> torch.Tensor:
    return _only(conditions.train(_of(ordinals % 10), seed, ordinals))


def _null(conditions: Conditions, n: int = 1) -> torch.Tensor:
    return _only(conditions.null(n, "cpu"))


def _tokens(conditions: Conditions, held_out: bool = False) -> torch.Tensor:
    return _only(conditions.fixed(_of(torch.arange(10)), "cpu", held_out))


def test_the_draws_of_a_single_condition_are_those_of_recorded_runs() -> None:
    found = [_train(_built(condition), ORDINALS[:500], seed=3) for condition in (ClassLabels(), Prompts())]
    digests = [hashlib.sha256(tensor.numpy().astype("<i8").tobytes()).hexdigest()[:16] for tensor in found]
    assert digests == RECORDED


def test_unconditional_networks_are_told_nothing() -> None:
    nothing = _built(Unconditional(), ())
    unlabelled = Batch(torch.zeros(2, 1, 1, 1), None, None)
    assert nothing.inputs == ()
    assert nothing.null(3, "cpu") is None
    assert nothing.train(unlabelled, 0, ORDINALS[:2]) is None
    assert nothing.fixed(unlabelled, "cpu") is None
    assert nothing.said(2, "cpu") is None
    assert nothing.texts(unlabelled) == ["", ""]


def test_labels_are_hidden_at_the_stated_rate_and_else_untouched() -> None:
    conditions = _built(ClassLabels(dropout=0.2), DIGITS)
    trained = _train(conditions)
    hidden = trained == 10
    assert 0.19 < float(hidden.float().mean()) < 0.21
    assert torch.equal(trained[~hidden], LABELS[~hidden])
    assert conditions.inputs == ({"kind": "class", "by": "embedding", "classes": 10},)


@pytest.mark.parametrize("condition", [ClassLabels(dropout=0.3), Prompts(dropout=0.3)], ids=["class", "prompt"])
def test_conditions_are_hidden_per_image_not_per_batch(condition: ClassLabels | Prompts) -> None:
    conditions = _built(condition, CLOTHES)
    null = _null(conditions)
    hidden = (_train(conditions) == null[0]).reshape(20_000, -1).all(1).reshape(-1, 50)
    assert bool((hidden.any(1) & ~hidden.all(1)).all())


@pytest.mark.parametrize("condition", [ClassLabels(dropout=0.3), Prompts()], ids=["class", "prompt"])
def test_slicing_a_step_changes_no_condition_and_the_seed_does(condition: ClassLabels | Prompts) -> None:
    conditions = _built(condition, CLOTHES)
    whole = _train(conditions, ORDINALS[:96])
    parts = [_train(conditions, ORDINALS[first : first + 8]) for first in range(0, 96, 8)]
    assert torch.equal(torch.cat(parts), whole)
    assert not torch.equal(_train(conditions, ORDINALS[:96], seed=1), whole)


@pytest.mark.parametrize("condition", [ClassLabels(dropout=0.0), Prompts(dropout=0.0)], ids=["class", "prompt"])
def test_without_dropout_no_condition_is_hidden(condition: ClassLabels | Prompts) -> None:
    conditions = _built(condition, CLOTHES)
    null = _null(conditions)
    assert not bool((_train(conditions) == null[0]).reshape(20_000, -1).all(1).any())


def test_words_are_dropped_one_by_one_at_the_stated_rate() -> None:
    conditions = _prompts(dropout=0.0, word_dropout=0.25)
    trained = _train(conditions)
    real = trained != PADDING
    unread = trained == UNKNOWN
    assert 0.24 < float(unread.sum() / real.sum()) < 0.26
    partly = unread.any(1) & (unread != real).any(1)
    assert float(partly.float().mean()) > 0.3


def test_every_template_is_trained_on_about_equally_often() -> None:
    trained = _train(_prompts(dropout=0.0, word_dropout=0.0))
    boots = trained[LABELS == 9]
    counts = Counter(map(tuple, boots.tolist())).values()
    assert len(counts) == 8
    assert min(counts) > 180
    assert max(counts) < 320


def test_a_prompt_in_training_is_a_template_filled_with_the_class() -> None:
    conditions = _prompts(dropout=0.0, word_dropout=0.0)
    every = {tuple(row) for turn in range(8) for row in _tokens_of(conditions, torch.arange(10), torch.full((10,), turn)).tolist()}
    assert {tuple(row) for row in _train(conditions).tolist()} == every


def test_fixed_prompts_cycle_through_the_templates_and_match_their_captions() -> None:
    conditions = _prompts()
    labels = torch.tensor([6] * 9)
    texts = conditions.texts(_of(labels))
    assert texts[:3] == ["a photo of a shirt", "a picture of a shirt", "an image of a shirt"]
    assert texts[8] == texts[0]
    assert torch.equal(_encode(conditions, texts), _tokens_of(conditions, labels))
    turns = torch.tensor([4, 8, 15])
    assert conditions.texts(_of(labels[:3]), turns=turns) == [texts[4], texts[0], texts[7]]
    assert torch.equal(_tokens_of(conditions, labels[:3], turns), _tokens_of(conditions, labels)[[4, 0, 7]])


def _tokens_of(conditions: Conditions, labels: torch.Tensor, turns: torch.Tensor | None = None) -> torch.Tensor:
    return _only(conditions.fixed(_of(labels), "cpu", turns=turns))


def test_new_wording_is_unknown_but_the_class_stays_readable() -> None:
    conditions = _prompts()
    tokens = _tokens(conditions, held_out=True)
    texts = conditions.texts(_of(torch.arange(10)), held_out=True)
    assert texts[0] == "a drawing showing some t-shirt"
    for row, text, name in zip(tokens.tolist(), texts, CLOTHES, strict=True):
        name_ids = _encode(conditions, [name])[0].tolist()
        for place, word in enumerate(words(text)):
            if word in words(name):
                assert row[place] in name_ids
                assert row[place] > UNKNOWN
    assert int((tokens[0] == UNKNOWN).sum()) == 3


def test_shirt_and_t_shirt_are_different_words_and_case_is_none() -> None:
    conditions = _prompts()
    shirt, t_shirt, loud = _encode(conditions, ["a shirt", "a t-shirt", "  A SHIRT!"])
    assert not torch.equal(shirt, t_shirt)
    assert torch.equal(shirt, loud)
    assert len({tuple(row) for row in _encode(conditions, list(CLOTHES)).tolist()}) == 10


def test_the_null_prompt_is_all_padding_and_sizes_fit_every_prompt() -> None:
    conditions = _prompts()
    null = _null(conditions, 2)
    (size,) = conditions.inputs
    assert null.tolist() == [[PADDING] * size["length"]] * 2
    assert int(_train(conditions).max()) < size["vocabulary"]
    assert (size["kind"], size["by"], size["width"], size["layers"]) == ("prompt", "embedding", 128, 2)


def test_folder_names_with_underscores_read_as_words() -> None:
    conditions = _built(Prompts(), ("golden_retriever", "tabby"))
    assert conditions.texts(_of(torch.tensor([0]))) == ["a photo of a golden retriever"]


@pytest.mark.parametrize("names", [("tea_cup", "Tea Cup"), ("a", "___")])
def test_classes_that_words_cannot_tell_apart_are_refused(names: tuple[str, ...]) -> None:
    with pytest.raises(UserError, match="class name"):
        _built(Prompts(), names)


@pytest.mark.parametrize("condition", [ClassLabels(), Prompts()], ids=["class", "prompt"])
def test_data_without_classes_cannot_be_conditioned_on(condition: ClassLabels | Prompts) -> None:
    with pytest.raises(UserError, match="no classes") as caught:
        _built(condition, ())
    assert caught.value.fix is not None
    assert "sub-folders" in caught.value.fix


def test_a_prompt_of_too_many_words_is_refused_not_cut() -> None:
    with pytest.raises(UserError, match="at most 16 words"):
        _prompts().said(1, "cpu", prompt="word " * 17)


def test_new_wording_without_templates_is_refused_with_the_field() -> None:
    with pytest.raises(UserError, match="held_out_templates"):
        _tokens(_prompts(held_out_templates=()), held_out=True)


def test_long_templates_lengthen_the_prompt() -> None:
    assert Tokenizer(["one " * 30], ["two " * 40]).length == 40


def test_hyphens_and_apostrophes_join_words_and_other_signs_part_them() -> None:
    assert words("It isn't a T-shirt, is_it? Café: 3x!") == ["it", "isn't", "a", "t-shirt", "is", "it", "café", "3x"]
