"""Scaling of a table's features, fitted on training rows, and its inverse. Knows columns, not files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from torch import Tensor

from ddpm_exp.data.codec import Codec
from ddpm_exp.data.columns import Column
from ddpm_exp.data.standard import Array, fit
from ddpm_exp.spec.errors import UserError

if TYPE_CHECKING:
    import pandas as pd

_MOST_QUANTILES = 1000


class TableCodec(Codec):
    """`standard`: x = (raw - mean) / std. `quantile`: x = normal quantile of the raw number's rank among the training rows.
    Features of categories stay -1 and +1."""

    kind = "table"

    def __init__(self, columns: tuple[Column, ...], scaling: Literal["standard", "quantile"], fitted: list[dict[str, Any]]) -> None:
        self._columns, self.scaling, self._fitted = columns, scaling, fitted

    @property
    def columns(self) -> list[str]:
        return [column.name for column in self._columns]

    def encode(self, raw: Array) -> Array:
        """Missing numbers (NaN) get what was fitted for them."""
        return np.concatenate(
            [self._encoded(column, fitted, part) for column, fitted, part in self._parts(raw)], axis=1, dtype=np.float64
        )

    def decode(self, x: Tensor) -> pd.DataFrame:
        import pandas as pd

        parts = self._parts(x.detach().cpu().double().numpy())
        return pd.concat([column.decode(self._decoded(column, fitted, part)) for column, fitted, part in parts], axis=1)

    def frame(self, x: Tensor) -> pd.DataFrame:
        return self.decode(x)

    def state(self) -> dict[str, Any]:
        return {"columns": [column.to_json() for column in self._columns], "scaling": self.scaling, "fitted": self._fitted}

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> TableCodec:
        columns = tuple(Column.from_json(column) for column in state["columns"])
        return cls(columns, state["scaling"], state["fitted"])

    def _parts(self, x: Array) -> list[tuple[Column, dict[str, Any], Array]]:
        """Each column with what was fitted for it and its features [N, k]."""
        ends = np.cumsum([column.features for column in self._columns])
        return list(zip(self._columns, self._fitted, np.split(x, ends[:-1], axis=1), strict=True))

    def _encoded(self, column: Column, fitted: dict[str, Any], part: Array) -> Array:
        raw = np.where(np.isnan(part), np.array(fitted["missing"]), part)
        if column.kind == "category":
            return raw
        if self.scaling == "standard":
            return np.asarray((raw - fitted["mean"]) / fitted["std"])
        return _to_normal(raw, np.array(fitted["quantiles"]))

    def _decoded(self, column: Column, fitted: dict[str, Any], part: Array) -> Array:
        if column.kind == "category":
            return part
        if self.scaling == "standard":
            return np.asarray(part * fitted["std"] + fitted["mean"])
        return _from_normal(part, np.array(fitted["quantiles"]))


def fit_table(columns: tuple[Column, ...], scaling: Literal["standard", "quantile"], train: Array) -> TableCodec:
    """The codec of raw training rows float64 [N, features]. Raises UserError for a number that is the same in all of them."""
    ends = np.cumsum([column.features for column in columns])
    parts = np.split(train, ends[:-1], axis=1)
    return TableCodec(columns, scaling, [_fit(column, scaling, part) for column, part in zip(columns, parts, strict=True)])


def _fit(column: Column, scaling: str, part: Array) -> dict[str, Any]:
    present = part[~np.isnan(part[:, 0])]
    varied = len(present) and (column.kind == "category" or present.min() < present.max())
    if not varied:
        raise UserError(
            f"column {column.name!r} has the same value, or none, in all {len(part)} training rows, so nothing scales it",
            field="data.columns",
            value=column.name,
            fix="leave it out with data.columns, or take a larger data.subset",
        )
    if column.kind == "category":
        # The most frequent category, the first of equals.
        most = (present > 0).sum(0).argmax()
        return {"missing": np.where(np.arange(column.features) == most, 1.0, -1.0).tolist()}
    median = float(np.median(present))
    if scaling == "quantile":
        ranks = np.linspace(0.0, 1.0, min(len(present), _MOST_QUANTILES))
        return {"missing": [median], "quantiles": np.maximum.accumulate(np.quantile(present[:, 0], ranks)).tolist()}
    # What is imputed counts, so that the scaled training rows have mean 0 and deviation 1.
    mean, std = fit(np.where(np.isnan(part), median, part))
    return {"missing": [median], "mean": float(mean[0]), "std": float(std[0])}


def _levels(count: int) -> Array:
    """Ranks of `count` quantiles, kept half a step from 0 and 1, where the normal quantile would be infinite."""
    return (np.arange(count) + 0.5) / count


def _to_normal(raw: Array, quantiles: Array) -> Array:
    """Numbers outside the training rows' range get its ends; one that many rows share gets the middle of its ranks."""
    from scipy.special import ndtri

    levels = _levels(len(quantiles))
    rising = np.interp(raw, quantiles, levels)
    falling = -np.interp(-raw, -quantiles[::-1], -levels[::-1])
    return np.asarray(ndtri((rising + falling) / 2))


def _from_normal(x: Array, quantiles: Array) -> Array:
    from scipy.special import ndtr

    return np.asarray(np.interp(ndtr(x), _levels(len(quantiles)), quantiles))
