"""What the network is told about each image: nothing, a class or a prompt, as integers. Not how it reads them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from itertools import chain
from typing import Any

import torch
from torch import Tensor

from ddpm_exp.data.order import Draw
from ddpm_exp.data.prompts import PADDING, UNKNOWN, Tokenizer, words
from ddpm_exp.spec.condition import ClassLabels, Condition, Prompts, Unconditional
from ddpm_exp.spec.errors import UserError


class Conditions(ABC):
    """Conditions of training images (random, keyed by ordinal), of samples (fixed), and the null condition of guidance."""

    @property
    @abstractmethod
    def size(self) -> dict[str, Any]:
        """Fields of `models.build.ConditionSize`: kind, classes, vocabulary, length, width, layers."""

    @abstractmethod
    def null(self, n: int, device: torch.device | str) -> Tensor | None:
        """`n` conditions that say nothing, or None for an unconditional network."""

    @abstractmethod
    def train(self, labels: Tensor | None, seed: int, ordinals: Tensor) -> Tensor | None:
        """Conditions int64 [B] or [B, length] on `labels`' device, with dropout, keyed by (seed, ordinal); int64 [B] both."""

    @abstractmethod
    def fixed(
        self, labels: Tensor | None, device: torch.device | str, held_out: bool = False, turns: Tensor | None = None
    ) -> Tensor | None:
        """Conditions without dropout. The k-th prompt uses template `turns[k]` (int64 [N], default 0, 1, ...) modulo their
        number; `held_out` takes the templates never trained on."""

    @abstractmethod
    def texts(self, labels: Tensor | None, held_out: bool = False, turns: Tensor | None = None) -> list[str]:
        """What `fixed` says, as captions."""


def build_conditions(condition: Condition, class_names: tuple[str, ...], draw: Draw) -> Conditions:
    """Conditions for data of these classes. Raises UserError if the data has none and the condition needs them."""
    if isinstance(condition, Unconditional):
        return NoConditions()
    if not class_names:
        raise UserError(
            "the data has no classes to condition on",
            field="condition",
            value=condition.kind,
            fix="sort every image of the folder into sub-folders, one per class, or set condition to Unconditional()",
        )
    if isinstance(condition, ClassLabels):
        return ClassConditions(condition, class_names, draw)
    return PromptConditions(condition, class_names, draw)


class NoConditions(Conditions):
    """The network is told nothing."""

    @property
    def size(self) -> dict[str, Any]:
        return {"kind": "none", "classes": 0, "vocabulary": 0, "length": 0, "width": 0, "layers": 0}

    def null(self, n: int, device: torch.device | str) -> None:
        return None

    def train(self, labels: Tensor | None, seed: int, ordinals: Tensor) -> None:
        return None

    def fixed(self, labels: Tensor | None, device: torch.device | str, held_out: bool = False, turns: Tensor | None = None) -> None:
        return None

    def texts(self, labels: Tensor | None, held_out: bool = False, turns: Tensor | None = None) -> list[str]:
        return [] if labels is None else [""] * len(labels)


class ClassConditions(Conditions):
    """The class itself; one more label, the last, is null."""

    def __init__(self, condition: ClassLabels, class_names: tuple[str, ...], draw: Draw) -> None:
        self._dropout, self._names, self._draw = condition.dropout, class_names, draw

    @property
    def size(self) -> dict[str, Any]:
        return {"kind": "class", "classes": len(self._names), "vocabulary": 0, "length": 0, "width": 0, "layers": 0}

    def null(self, n: int, device: torch.device | str) -> Tensor:
        return torch.full((n,), len(self._names), dtype=torch.int64, device=device)

    def train(self, labels: Tensor | None, seed: int, ordinals: Tensor) -> Tensor:
        labels = _known(labels)
        hidden = _hidden(self._draw, self._dropout, seed, ordinals, labels.device)
        return torch.where(hidden, len(self._names), labels)

    def fixed(
        self, labels: Tensor | None, device: torch.device | str, held_out: bool = False, turns: Tensor | None = None
    ) -> Tensor:
        return _known(labels).to(device)

    def texts(self, labels: Tensor | None, held_out: bool = False, turns: Tensor | None = None) -> list[str]:
        return [self._names[label] for label in _known(labels).tolist()]


class PromptConditions(Conditions):
    """A sentence made from a template and the class name, as token ids; the null prompt is all padding."""

    def __init__(self, condition: Prompts, class_names: tuple[str, ...], draw: Draw) -> None:
        _tell_apart(class_names)
        self._spec, self._draw, self._classes = condition, draw, len(class_names)
        self._sentences = {
            False: _fill(condition.templates, class_names),
            True: _fill(condition.held_out_templates, class_names),
        }
        self.tokenizer = Tokenizer(list(chain(*self._sentences[False])), list(chain(*self._sentences[True])))
        self._tables: dict[tuple[bool, torch.device], Tensor] = {}

    @property
    def size(self) -> dict[str, Any]:
        return {
            "kind": "prompt",
            "classes": self._classes,
            "vocabulary": self.tokenizer.vocabulary,
            "length": self.tokenizer.length,
            "width": self._spec.width,
            "layers": self._spec.layers,
        }

    def null(self, n: int, device: torch.device | str) -> Tensor:
        return torch.full((n, self.tokenizer.length), PADDING, dtype=torch.int64, device=device)

    def train(self, labels: Tensor | None, seed: int, ordinals: Tensor) -> Tensor:
        labels = _known(labels)
        ordinals = ordinals.to(labels.device, non_blocking=True)
        table = self._table(False, labels.device)
        chosen = (self._draw(seed, "condition/template", ordinals) * len(table)).long().clamp(max=len(table) - 1)
        tokens = table[chosen, labels]
        unread = self._draw(seed, "condition/words", ordinals, tokens.shape[1]) < self._spec.word_dropout
        tokens = torch.where(unread & (tokens != PADDING), UNKNOWN, tokens)
        hidden = _hidden(self._draw, self._spec.dropout, seed, ordinals, labels.device)
        return torch.where(hidden[:, None], PADDING, tokens)

    def fixed(
        self, labels: Tensor | None, device: torch.device | str, held_out: bool = False, turns: Tensor | None = None
    ) -> Tensor:
        labels = _known(labels).to(device)
        table = self._table(held_out, labels.device)
        cycle = torch.arange(len(labels)) if turns is None else turns
        return table[cycle.to(labels.device) % len(table), labels]

    def texts(self, labels: Tensor | None, held_out: bool = False, turns: Tensor | None = None) -> list[str]:
        sentences = self._sentences[held_out]
        self._table(held_out, torch.device("cpu"))
        known = _known(labels).tolist()
        cycle = range(len(known)) if turns is None else turns.tolist()
        return [sentences[turn % len(sentences)][label] for turn, label in zip(cycle, known, strict=True)]

    def encode(self, texts: list[str], device: torch.device | str) -> Tensor:
        """Token ids int64 [len(texts), length] of a user's own sentences; UserError for one that is too long."""
        return self.tokenizer.encode(texts).to(device)

    def _table(self, held_out: bool, device: torch.device) -> Tensor:
        """int64 [templates, classes, length]: every sentence there is, kept on each device it was asked for."""
        sentences = self._sentences[held_out]
        if not sentences:
            raise UserError(
                "new wording needs templates that training does not use",
                field="condition.held_out_templates",
                value=(),
                fix="name at least one",
            )
        if (held_out, device) not in self._tables:
            self._tables[held_out, device] = torch.stack([self.tokenizer.encode(row) for row in sentences]).to(device)
        return self._tables[held_out, device]


def _fill(templates: tuple[str, ...], class_names: tuple[str, ...]) -> list[list[str]]:
    """Sentences by template, then by class. Underscores of folder names read as spaces."""
    return [[template.replace("{}", name.replace("_", " ")) for name in class_names] for template in templates]


def _tell_apart(class_names: tuple[str, ...]) -> None:
    seen: dict[tuple[str, ...], str] = {}
    for name in class_names:
        read = tuple(words(name))
        if not read or read in seen:
            rule = "has no word in it" if not read else f"reads the same as {seen[read]!r}"
            raise UserError(
                f"a prompt tells classes apart by the words of their names, but this one {rule}",
                field="class name",
                value=name,
                fix="rename the class's folder, or set condition to ClassLabels()",
            )
        seen[read] = name


def _known(labels: Tensor | None) -> Tensor:
    if labels is None:
        raise TypeError("conditions are made from labels, but there are none")
    return labels


def _hidden(draw: Draw, dropout: float, seed: int, ordinals: Tensor, device: torch.device) -> Tensor:
    """bool [B]: whose whole condition is hidden, each with probability `dropout` on its own."""
    return draw(seed, "condition/dropout", ordinals.to(device, non_blocking=True)) < dropout
