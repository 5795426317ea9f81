"""Sequences, clouds of points and mixtures: made on the spot or read from a file, standardised, and back."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import psutil
from torch import Tensor

from ddpm_exp.data import synthetic
from ddpm_exp.data.array_files import array_shape, read_array
from ddpm_exp.data.codec import Codec
from ddpm_exp.data.examples import Splits
from ddpm_exp.data.scaled import Raw, check_names, scaled_splits
from ddpm_exp.data.standard import Array, fit
from ddpm_exp.spec.errors import UserError
from ddpm_exp.spec.vectors import MADE_VALUES, Gaussians, Points, Sequences

if TYPE_CHECKING:
    import pandas as pd


class ArrayCodec(Codec):
    """x = (raw - mean) / std along the first axis of an example: channels, dimensions or features."""

    kind = "array"

    def __init__(self, of: str, shape: tuple[int, ...], mean: list[float], std: list[float]) -> None:
        self.of, self.shape, self.mean, self.std = of, tuple(shape), mean, std

    @property
    def columns(self) -> list[str]:
        first = self.shape[0]
        if self.of == "gaussians":
            return [f"x{k}" for k in range(first)]
        if self.of == "points":
            axes = "xyz"[:first] if first <= 3 else [str(k) for k in range(first)]
            return [f"point_{k}_{axis}" for k in range(self.shape[1]) for axis in axes]
        channels = [""] if first == 1 else [f"channel_{k}_" for k in range(first)]
        return [f"{channel}step_{k}" for channel in channels for k in range(self.shape[1])]

    def encode(self, raw: Array) -> Array:
        return np.asarray((raw - self._along(self.mean)) / self._along(self.std))

    def decode(self, x: Tensor) -> Array:
        raw = x.detach().cpu().double().numpy() * self._along(self.std) + self._along(self.mean)
        return np.asarray(raw.transpose(0, 2, 1) if self.of == "points" else raw)

    def frame(self, x: Tensor) -> pd.DataFrame:
        import pandas as pd

        return pd.DataFrame(self.decode(x).reshape(len(x), -1), columns=self.columns)

    def state(self) -> dict[str, Any]:
        return {"of": self.of, "shape": list(self.shape), "mean": self.mean, "std": self.std}

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> ArrayCodec:
        return cls(**state)

    def _along(self, numbers: list[float]) -> Array:
        return np.array(numbers).reshape(-1, *[1] * (len(self.shape) - 1))


def require_array(data: Sequences | Points | Gaussians, names: tuple[str, ...]) -> None:
    """Raise UserError for values that the data does not have, and for a file that is missing or of another shape."""
    made = isinstance(data, Gaussians) or data.source in MADE_VALUES
    check_names(names, () if isinstance(data, Gaussians) else MADE_VALUES.get(data.source, ()))
    if not made:
        assert not isinstance(data, Gaussians)
        _require_memory(math.prod(array_shape(data)), data.source)
    elif not isinstance(data, Gaussians):
        per = data.channels * data.length if isinstance(data, Sequences) else data.count * data.dimensions
        _require_memory(synthetic.COUNT * per, data.source)


def load_array(data: Sequences | Points | Gaussians, names: tuple[str, ...]) -> Splits:
    """Training and held-out examples with the values `names`, float32 [N, *shape]: each channel of a sequence standardised;
    clouds centred on each axis and divided by one deviation, so that they keep their form; Gaussians as they are."""
    require_array(data, names)
    raw = _raw(data).of(names)
    return scaled_splits(raw, data, lambda train: _fitted(data, train))


def _raw(data: Sequences | Points | Gaussians) -> Raw:
    if isinstance(data, Gaussians):
        return synthetic.mixture(data)
    if data.source not in MADE_VALUES:
        x = read_array(data)
        return Raw(x, None, (), np.empty((len(x), 0)), ())
    return synthetic.waves(data) if isinstance(data, Sequences) else synthetic.outlines(data)


def _fitted(data: Sequences | Points | Gaussians, train: Array) -> ArrayCodec:
    shape = train.shape[1:]
    if isinstance(data, Gaussians):
        return ArrayCodec("gaussians", shape, [0.0] * shape[0], [1.0] * shape[0])
    mean, std = fit(np.moveaxis(train, 1, -1).reshape(-1, shape[0]))
    if isinstance(data, Points):
        std = np.full_like(std, math.sqrt(float(np.square(std).mean())))
    if (std == 0).any():
        what = "channel" if isinstance(data, Sequences) else "axis"
        raise UserError(
            f"{what} {int((std == 0).argmax())} (from 0) has the same number everywhere in the training examples",
            field="data.source",
            value=data.source,
            fix="leave it out of the file",
        )
    return ArrayCodec(data.kind, shape, mean.tolist(), std.tolist())


def _require_memory(count: int, source: str) -> None:
    needed, available = 24 * count, psutil.virtual_memory().available
    if needed > available:
        raise UserError(
            f"all examples are held in memory while they are scaled: {needed / 1e9:.1f} GB, but {available / 1e9:.1f} GB are free",
            field="data.source",
            value=source,
            fix="take shorter or fewer examples",
        )
