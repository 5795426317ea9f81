"""Sentences to token ids: a vocabulary of the words in the training sentences. Not the text encoder."""

from __future__ import annotations

import re

import torch
from torch import Tensor

from ddpm_exp.spec.errors import UserError

PADDING = 0
"""Fills a prompt up to `length`; a prompt of nothing else is the null prompt."""

UNKNOWN = 1
"""Any word that is in no training sentence."""

_SHORTEST = 16
"""Every prompt has room for at least this many words, whatever the templates."""

_WORD = re.compile(r"[^\W_]+(?:[-'][^\W_]+)*")


def words(text: str) -> list[str]:
    """The words in lower case; hyphens and apostrophes join ("t-shirt" is one word), all other signs part."""
    return _WORD.findall(text.lower())


class Tokenizer:
    """Word to id, for the words of the sentences it is made from, in alphabetical order from id 2."""

    def __init__(self, sentences: list[str], also_fit: list[str]) -> None:
        """`sentences` give the words; `length` fits those and `also_fit`, whose new words stay unknown."""
        known = sorted({word for sentence in sentences for word in words(sentence)})
        self._ids = {word: place + 2 for place, word in enumerate(known)}
        self.vocabulary = len(known) + 2
        self.length = max(_SHORTEST, *(len(words(sentence)) for sentence in [*sentences, *also_fit]))

    def encode(self, texts: list[str]) -> Tensor:
        """int64 [len(texts), length] on the CPU. Raises UserError for a text of more than `length` words."""
        ids = torch.full((len(texts), self.length), PADDING, dtype=torch.int64)
        for row, text in enumerate(texts):
            found = words(text)
            if len(found) > self.length:
                raise UserError(
                    f"the network reads at most {self.length} words, but this prompt has {len(found)}",
                    field="prompt",
                    value=text,
                    fix="shorten it",
                )
            ids[row, : len(found)] = torch.tensor([self._ids.get(word, UNKNOWN) for word in found], dtype=torch.int64)
        return ids
