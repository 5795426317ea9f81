"""From numbers in their own units to two scaled sets: which rows are held out, which train. Fits on training rows alone."""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from ddpm_exp.data.codec import Codec
from ddpm_exp.data.examples import Examples, Facts, Splits, split_scaled
from ddpm_exp.data.standard import Array, fit
from ddpm_exp.data.subset import take_subset
from ddpm_exp.spec.errors import UserError
from ddpm_exp.spec.vectors import EMBEDDED, MADE_VALUES, Gaussians, Points, Sequences, Table


@dataclass(frozen=True)
class Raw:
    """Every example of a data set, training and held-out, in its own units."""

    x: Array
    """float64 [N, *shape], laid out as the network sees it; NaN where a number is missing."""

    labels: NDArray[np.int64] | None
    class_names: tuple[str, ...]
    values: Array
    """float64 [N, K]."""

    value_names: tuple[str, ...]

    def of(self, names: tuple[str, ...]) -> Raw:
        """With the values `names` alone, in that order; UserError for one that is not there."""
        check_names(names, self.value_names)
        return Raw(self.x, self.labels, self.class_names, self.values[:, [self.value_names.index(name) for name in names]], names)


def check_names(names: tuple[str, ...], there: Sequence[str]) -> None:
    """Raise UserError for a value that the data does not have."""
    for name in names:
        if name not in there:
            near = difflib.get_close_matches(name, there, n=1)
            raise UserError(
                f"this data has {'the values ' + ', '.join(there) if there else 'no values besides what is drawn'}",
                field="condition.names",
                value=name,
                fix=f"did you mean {near[0]!r}?" if near else "name one of these" if there else "take another condition",
            )


def scaled_splits(raw: Raw, data: Table | Sequences | Points | Gaussians, fit_codec: Callable[[Array], Codec]) -> Splits:
    """`raw` split and scaled by a codec that `fit_codec` makes from the training rows. Values are standardised likewise."""
    rows = _rows(raw, data)
    codec = fit_codec(raw.x[rows[0]])
    mean, std = fit(raw.values[rows[0]])
    if (std == 0).any():
        raise UserError(
            f"this value is the same, or missing, for all {len(rows[0])} training examples, so it tells nothing",
            field="condition.names",
            value=raw.value_names[int((std == 0).argmax())],
            fix="leave it out" if data.subset is None else "leave it out, or take a larger data.subset",
        )
    parts = [_examples(raw, where, codec, (raw.values[where] - mean) / std) for where in rows]
    # A table's values are columns that are not drawn. Those of made data follow from their source and change no fingerprint.
    told = raw.value_names if isinstance(data, Table) else ()
    numbers = [_numbers(raw, where, bool(told)) for where in rows]
    facts = Facts(tuple(parts[0].x.shape[1:]), raw.class_names, raw.value_names, tuple(mean.tolist()), tuple(std.tolist()))
    return split_scaled(parts[0], parts[1], (numbers[0], numbers[1]), told, codec, facts)


def held_out_rows(count: int, share: float) -> NDArray[np.bool_]:
    """bool [count]: whether the hash of each row's number falls below `share`. At least one row is held out and one trains.
    A row's fate does not depend on how many follow it."""
    places = _places(count)
    held_out: NDArray[np.bool_] = places / 2.0**64 < share
    held_out[places.argmin()] = True
    held_out[places.argmax()] = False
    return held_out


def _places(count: int) -> NDArray[np.uint64]:
    """A number per row that says nothing about it: the hash of the row's own number."""
    return np.array([int.from_bytes(hashlib.sha256(str(row).encode()).digest()[:8], "big") for row in range(count)], dtype="u8")


def _rows(raw: Raw, data: Table | Sequences | Points | Gaussians) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Numbers of the rows that train (the subset) and that are held out.

    Files are often sorted, and evaluation and judges take the first so many of a set: both sets of a file are put into an
    order that says nothing. What comes embedded or is made keeps its published order; it is small, or in no order anyway.
    """
    held_out = held_out_rows(len(raw.x), data.held_out_share)
    if not isinstance(data, Gaussians) and data.source not in (*EMBEDDED, *MADE_VALUES):
        mixed = _places(len(raw.x)).argsort(kind="stable")
        held, train = mixed[held_out[mixed]], mixed[~held_out[mixed]]
    else:
        held, train = np.flatnonzero(held_out), np.flatnonzero(~held_out)
    labels = None if raw.labels is None else torch.from_numpy(raw.labels[train])
    chosen = take_subset(Examples(torch.from_numpy(train), labels, raw.class_names), data.subset, data.subset_seed)
    return chosen.x.numpy(), held


def _numbers(raw: Raw, rows: NDArray[np.int64], with_values: bool) -> Array:
    flat = raw.x[rows].reshape(len(rows), -1)
    return np.concatenate([flat, raw.values[rows]], axis=1) if with_values else flat


def _examples(raw: Raw, rows: NDArray[np.int64], codec: Codec, values: Array) -> Examples:
    return Examples(
        torch.from_numpy(np.ascontiguousarray(codec.encode(raw.x[rows]), dtype=np.float32)),
        None if raw.labels is None else torch.from_numpy(raw.labels[rows]),
        raw.class_names,
        torch.from_numpy(values.astype(np.float32)) if raw.value_names else None,
        raw.value_names,
    )
