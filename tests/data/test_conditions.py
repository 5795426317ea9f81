"""Conditions: dropped per image at the stated rate, keyed by ordinal, told in words that the tokenizer keeps apart."""

from collections import Counter

import pytest
import torch

from ddpm_exp.data.conditions import Conditions, PromptConditions, build_conditions
from ddpm_exp.data.digits import CLASS_NAMES as DIGITS
from ddpm_exp.data.fashion_mnist import CLASS_NAMES as CLOTHES
from ddpm_exp.data.prompts import PADDING, UNKNOWN, Tokenizer, words
from ddpm_exp.diffusion.draws import uniform
from ddpm_exp.spec.condition import ClassLabels, Prompts, Unconditional
from ddpm_exp.spec.errors import UserError

ORDINALS = torch.arange(20_000)
LABELS = ORDINALS % 10


def _prompts(**changes: object) -> PromptConditions:
    built = build_conditions(Prompts().but(**changes), CLOTHES, uniform)
    assert isinstance(built, PromptConditions)
    return built


def _train(conditions: Conditions, ordinals: torch.Tensor = ORDINALS, seed: int = 0) -> torch.Tensor:
    trained = conditions.train(ordinals % 10, seed, ordinals)
    assert trained is not None
    return trained


def _tokens(conditions: Conditions, held_out: bool = False) -> torch.Tensor:
    fixed = conditions.fixed(torch.arange(10), "cpu", held_out)
    assert fixed is not None
    return fixed


def test_unconditional_networks_are_told_nothing() -> None:
    nothing = build_conditions(Unconditional(), (), uniform)
    assert nothing.size["kind"] == "none"
    assert nothing.null(3, "cpu") is None
    assert nothing.train(None, 0, ORDINALS) is None
    assert nothing.fixed(LABELS, "cpu") is None
    assert nothing.texts(LABELS[:2]) == ["", ""]


def test_labels_are_hidden_at_the_stated_rate_and_else_untouched() -> None:
    conditions = build_conditions(ClassLabels(dropout=0.2), DIGITS, uniform)
    trained = _train(conditions)
    hidden = trained == 10
    assert 0.19 < float(hidden.float().mean()) < 0.21
    assert torch.equal(trained[~hidden], LABELS[~hidden])
    assert conditions.size["classes"] == 10


@pytest.mark.parametrize("condition", [ClassLabels(dropout=0.3), Prompts(dropout=0.3)], ids=["class", "prompt"])
def test_conditions_are_hidden_per_image_not_per_batch(condition: ClassLabels | Prompts) -> None:
    conditions = build_conditions(condition, CLOTHES, uniform)
    null = conditions.null(1, "cpu")
    assert null is not None
    hidden = (_train(conditions) == null[0]).reshape(20_000, -1).all(1).reshape(-1, 50)
    assert bool((hidden.any(1) & ~hidden.all(1)).all())


@pytest.mark.parametrize("condition", [ClassLabels(dropout=0.3), Prompts()], ids=["class", "prompt"])
def test_slicing_a_step_changes_no_condition_and_the_seed_does(condition: ClassLabels | Prompts) -> None:
    conditions = build_conditions(condition, CLOTHES, uniform)
    whole = _train(conditions, ORDINALS[:96])
    parts = [_train(conditions, ORDINALS[first : first + 8]) for first in range(0, 96, 8)]
    assert torch.equal(torch.cat(parts), whole)
    assert not torch.equal(_train(conditions, ORDINALS[:96], seed=1), whole)


@pytest.mark.parametrize("condition", [ClassLabels(dropout=0.0), Prompts(dropout=0.0)], ids=["class", "prompt"])
def test_without_dropout_no_condition_is_hidden(condition: ClassLabels | Prompts) -> None:
    conditions = build_conditions(condition, CLOTHES, uniform)
    null = conditions.null(1, "cpu")
    assert null is not None
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
    texts = conditions.texts(labels)
    assert texts[:3] == ["a photo of a shirt", "a picture of a shirt", "an image of a shirt"]
    assert texts[8] == texts[0]
    assert torch.equal(conditions.encode(texts, "cpu"), _tokens_of(conditions, labels))
    turns = torch.tensor([4, 8, 15])
    assert conditions.texts(labels[:3], turns=turns) == [texts[4], texts[0], texts[7]]
    assert torch.equal(_tokens_of(conditions, labels[:3], turns), _tokens_of(conditions, labels)[[4, 0, 7]])


def _tokens_of(conditions: Conditions, labels: torch.Tensor, turns: torch.Tensor | None = None) -> torch.Tensor:
    fixed = conditions.fixed(labels, "cpu", turns=turns)
    assert fixed is not None
    return fixed


def test_new_wording_is_unknown_but_the_class_stays_readable() -> None:
    conditions = _prompts()
    tokens = _tokens(conditions, held_out=True)
    texts = conditions.texts(torch.arange(10), held_out=True)
    assert texts[0] == "a drawing showing some t-shirt"
    for row, text, name in zip(tokens.tolist(), texts, CLOTHES, strict=True):
        name_ids = conditions.encode([name], "cpu")[0].tolist()
        for place, word in enumerate(words(text)):
            if word in words(name):
                assert row[place] in name_ids
                assert row[place] > UNKNOWN
    assert int((tokens[0] == UNKNOWN).sum()) == 3


def test_shirt_and_t_shirt_are_different_words_and_case_is_none() -> None:
    conditions = _prompts()
    shirt, t_shirt, loud = conditions.encode(["a shirt", "a t-shirt", "  A SHIRT!"], "cpu")
    assert not torch.equal(shirt, t_shirt)
    assert torch.equal(shirt, loud)
    assert len({tuple(row) for row in conditions.encode(list(CLOTHES), "cpu").tolist()}) == 10


def test_the_null_prompt_is_all_padding_and_sizes_fit_every_prompt() -> None:
    conditions = _prompts()
    null = conditions.null(2, "cpu")
    size = conditions.size
    assert null.tolist() == [[PADDING] * size["length"]] * 2
    assert int(_train(conditions).max()) < size["vocabulary"]
    assert (size["kind"], size["classes"], size["width"], size["layers"]) == ("prompt", 10, 128, 2)


def test_folder_names_with_underscores_read_as_words() -> None:
    conditions = build_conditions(Prompts(), ("golden_retriever", "tabby"), uniform)
    assert conditions.texts(torch.tensor([0])) == ["a photo of a golden retriever"]


@pytest.mark.parametrize("names", [("tea_cup", "Tea Cup"), ("a", "___")])
def test_classes_that_words_cannot_tell_apart_are_refused(names: tuple[str, ...]) -> None:
    with pytest.raises(UserError, match="class name"):
        build_conditions(Prompts(), names, uniform)


@pytest.mark.parametrize("condition", [ClassLabels(), Prompts()], ids=["class", "prompt"])
def test_data_without_classes_cannot_be_conditioned_on(condition: ClassLabels | Prompts) -> None:
    with pytest.raises(UserError, match="no classes") as caught:
        build_conditions(condition, (), uniform)
    assert caught.value.fix is not None
    assert "sub-folders" in caught.value.fix


def test_a_prompt_of_too_many_words_is_refused_not_cut() -> None:
    with pytest.raises(UserError, match="at most 16 words"):
        _prompts().encode(["word " * 17], "cpu")


def test_new_wording_without_templates_is_refused_with_the_field() -> None:
    with pytest.raises(UserError, match="held_out_templates"):
        _tokens(_prompts(held_out_templates=()), held_out=True)


def test_long_templates_lengthen_the_prompt() -> None:
    assert Tokenizer(["one " * 30], ["two " * 40]).length == 40


def test_hyphens_and_apostrophes_join_words_and_other_signs_part_them() -> None:
    assert words("It isn't a T-shirt, is_it? Café: 3x!") == ["it", "isn't", "a", "t-shirt", "is", "it", "café", "3x"]
