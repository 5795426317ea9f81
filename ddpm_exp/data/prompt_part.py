"""Sentences made from templates and class names, and their token ids. Encoders trained elsewhere are in `frozen_text`."""

from __future__ import annotations

from abc import abstractmethod
from itertools import chain
from typing import Any

import torch
from torch import Tensor

from ddpm_exp.data.class_part import known
from ddpm_exp.data.examples import Batch
from ddpm_exp.data.parts import Draws, Part, repeated
from ddpm_exp.data.prompts import PADDING, UNKNOWN, Tokenizer, words
from ddpm_exp.spec.condition import Prompts
from ddpm_exp.spec.errors import UserError


class SentencePart(Part):
    """Which sentence each example gets; how sentences become numbers is for `encode` and `unread`."""

    word = "prompt"

    def __init__(self, condition: Prompts, class_names: tuple[str, ...], draws: Draws) -> None:
        _tell_apart(class_names)
        self._spec, self._draws, self.dropout = condition, draws, condition.dropout
        self._sentences = {
            False: _fill(condition.templates, class_names),
            True: _fill(condition.held_out_templates, class_names),
        }
        self._tables: dict[tuple[bool, torch.device], Tensor] = {}

    @abstractmethod
    def encode(self, texts: list[str]) -> Tensor:
        """[len(texts), length, ...] on the CPU, 0 where there is no word; UserError for a text that is too long."""

    @abstractmethod
    def unread(self, encoded: Tensor, unread: Tensor) -> Tensor:
        """`encoded` [B, length, ...] with the words at `unread` (bool [B, length]) made illegible."""

    def every_sentence(self) -> tuple[list[str], list[str]]:
        """Those of training, and those with new wording."""
        return list(chain(*self._sentences[False])), list(chain(*self._sentences[True]))

    def train(self, batch: Batch, seed: int, ordinals: Tensor) -> Tensor:
        labels = known(batch.labels)
        table = self._table(False, labels.device)
        chosen = (self._draws(seed, "template", ordinals) * len(table)).long().clamp(max=len(table) - 1)
        encoded = table[chosen, labels]
        unread = self._draws(seed, "words", ordinals, encoded.shape[1]) < self._spec.word_dropout
        encoded = self.unread(encoded, unread)
        hidden = self._draws.hidden(seed, ordinals, self.dropout)
        return torch.where(hidden.reshape(-1, *[1] * (encoded.dim() - 1)), 0, encoded)

    def fixed(self, batch: Batch, device: torch.device | str, held_out: bool, turns: Tensor | None) -> Tensor:
        labels = known(batch.labels).to(device)
        table = self._table(held_out, labels.device)
        cycle = torch.arange(len(labels)) if turns is None else turns
        return table[cycle.to(labels.device) % len(table), labels]

    def texts(self, batch: Batch, held_out: bool, turns: Tensor | None) -> list[str]:
        sentences = self._of(held_out)
        labels = known(batch.labels).tolist()
        cycle = range(len(labels)) if turns is None else turns.tolist()
        return [sentences[turn % len(sentences)][label] for turn, label in zip(cycle, labels, strict=True)]

    def said(self, n: int, device: torch.device | str, said: Any) -> Tensor:
        return self.encode(repeated(said, n)).to(device)

    def _of(self, held_out: bool) -> list[list[str]]:
        if not self._sentences[held_out]:
            raise UserError(
                "new wording needs templates that training does not use",
                field="condition.held_out_templates",
                value=(),
                fix="name at least one",
            )
        return self._sentences[held_out]

    def _table(self, held_out: bool, device: torch.device) -> Tensor:
        """[templates, classes, length, ...]: every sentence there is, kept on each device it was asked for."""
        if (held_out, device) not in self._tables:
            sentences = self._of(held_out)
            encoded = self.encode(list(chain(*sentences)))
            self._tables[held_out, device] = encoded.reshape(len(sentences), -1, *encoded.shape[1:]).to(device)
        return self._tables[held_out, device]


class PromptPart(SentencePart):
    """Token ids int64 [B, length] for the text encoder that is trained with the network; the null prompt is all padding."""

    def __init__(self, condition: Prompts, class_names: tuple[str, ...], draws: Draws) -> None:
        super().__init__(condition, class_names, draws)
        self.tokenizer = Tokenizer(*self.every_sentence())

    @property
    def input(self) -> dict[str, Any]:
        return {
            "kind": "prompt",
            "by": self._spec.by,
            "vocabulary": self.tokenizer.vocabulary,
            "length": self.tokenizer.length,
            "width": self._spec.width,
            "layers": self._spec.layers,
        }

    def null(self, n: int, device: torch.device | str) -> Tensor:
        return torch.full((n, self.tokenizer.length), PADDING, dtype=torch.int64, device=device)

    def encode(self, texts: list[str]) -> Tensor:
        return self.tokenizer.encode(texts)

    def unread(self, encoded: Tensor, unread: Tensor) -> Tensor:
        return torch.where(unread & (encoded != PADDING), UNKNOWN, encoded)


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
