"""The codec that a run kept, from its JSON. The one place that knows every kind."""

from __future__ import annotations

from typing import Any

from ddpm_exp.data.arrays import ArrayCodec
from ddpm_exp.data.codec import Codec
from ddpm_exp.data.table_codec import TableCodec

_KINDS: dict[str, type[Codec]] = {kind.kind: kind for kind in (ArrayCodec, TableCodec)}


def codec_from_json(facts: dict[str, Any]) -> Codec:
    """The codec that `Codec.to_json` wrote; ValueError for a kind that this version does not know."""
    state = dict(facts)
    kind = state.pop("kind")
    if kind not in _KINDS:
        raise ValueError(f"no codec is called {kind!r}")
    return _KINDS[kind].from_state(state)
