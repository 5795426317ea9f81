"""One column of a table: what kind it is, its numbers for the network, and the column again from numbers."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ddpm_exp.data.standard import Array
from ddpm_exp.spec.errors import UserError

if TYPE_CHECKING:
    import pandas as pd

_MOST_CATEGORIES = 256


@dataclass(frozen=True)
class Column:
    """A number is one feature, a category as many as it has categories: +1 for its own, -1 for the others."""

    name: str
    kind: Literal["number", "integer", "category"]
    dtype: str
    """pandas' name of the type that samples come back as."""

    categories: tuple[Any, ...] = ()
    """Strings, numbers or truth values."""

    @property
    def features(self) -> int:
        """How many numbers stand for it."""
        return max(1, len(self.categories))

    def encode(self, series: pd.Series[Any]) -> Array:
        """float64 [N, features] in the column's own unit; NaN in every feature where it is missing."""
        if self.kind != "category":
            return numbers_of(series).reshape(-1, 1)
        codes = codes_of(series, self.categories)
        features = np.where(np.arange(len(self.categories)) == codes[:, None], 1.0, -1.0)
        return np.where(codes[:, None] < 0, np.nan, features)

    def decode(self, numbers: Array) -> pd.Series[Any]:
        """The column of float64 [N, features]: the largest feature's category; integers rounded and kept within their type."""
        import pandas as pd

        if self.kind == "category":
            which = numbers.argmax(1)
            kind = pd.CategoricalDtype(list(self.categories)) if self.dtype == "category" else self.dtype
            return _series([self.categories[k] for k in which], self.name, kind)
        values = numbers[:, 0]
        if self.kind == "integer":
            bounds = np.iinfo(self.dtype.lower())
            # The largest 64-bit integer is no float64; the next smaller one that is comes back without overflow.
            high = float(bounds.max) if bounds.bits < 64 else float(np.nextafter(float(bounds.max), 0.0))
            values = np.clip(np.round(values), bounds.min, high).astype(self.dtype.lower())
        return _series(values, self.name, self.dtype)

    def to_json(self) -> dict[str, Any]:
        """Plain strings, numbers and lists."""
        return asdict(self) | {"categories": list(self.categories)}

    @classmethod
    def from_json(cls, facts: dict[str, Any]) -> Column:
        """The inverse of `to_json`."""
        return cls(**{**facts, "categories": tuple(facts["categories"])})


def column_of(series: pd.Series[Any], field: str) -> Column:
    """What kind of column `series` is. Raises UserError for dates, infinite numbers and text that is no category."""
    import pandas as pd

    name, kind = str(series.name), series.dtype
    if isinstance(kind, pd.CategoricalDtype) or pd.api.types.is_bool_dtype(kind):
        return Column(name, "category", str(kind), categories_of(series, field))
    if pd.api.types.is_numeric_dtype(kind) and not pd.api.types.is_complex_dtype(kind):
        numbers = numbers_of(series)
        if np.isinf(numbers).any():
            raise UserError(
                f"column {name!r} holds {int(np.isinf(numbers).sum())} infinite numbers",
                field=field,
                value=name,
                fix="remove these rows, or leave the column out with data.columns",
            )
        # Arrow's types of numbers, such as int64[pyarrow], come back as numpy's.
        plain = str(kind).split("[")[0]
        if pd.api.types.is_integer_dtype(kind):
            return Column(name, "integer", plain)
        # CSV files have no type for integers of which some are missing.
        whole = np.isnan(numbers).any() and (numbers[~np.isnan(numbers)] % 1 == 0).all()
        return Column(name, "integer", "int64") if whole else Column(name, "number", plain)
    if pd.api.types.is_object_dtype(kind) or pd.api.types.is_string_dtype(kind):
        categories = categories_of(series, field)
        return Column(name, "category", "bool" if all(isinstance(c, bool) for c in categories) else str(kind), categories)
    raise UserError(
        f"column {name!r} holds {kind}, and only numbers, text, truth values and categories can be drawn",
        field=field,
        value=name,
        fix="turn it into numbers, or leave it out with data.columns",
    )


def categories_of(series: pd.Series[Any], field: str) -> tuple[Any, ...]:
    """The column's categories that occur, in their own order if it has one, else sorted. UserError for more than 256."""
    import pandas as pd

    present = series.dropna()
    if isinstance(series.dtype, pd.CategoricalDtype):
        used = set(present.unique().tolist())
        found = [category for category in series.dtype.categories.tolist() if category in used]
    else:
        found = present.unique().tolist()
    plain = all(isinstance(value, str | bool | int | float) for value in found)
    if not plain or len({type(value) for value in found}) > 1:
        raise UserError(
            f"column {series.name!r} holds values of several kinds, or of one that is neither text, number nor truth value",
            field=field,
            value=str(series.name),
            fix="write all of them as text or all as numbers, or leave the column out with data.columns",
        )
    if not isinstance(series.dtype, pd.CategoricalDtype):
        found = sorted(found)
    if len(found) > _MOST_CATEGORIES:
        raise UserError(
            f"column {series.name!r} has {len(found):,} different values, and a category at most {_MOST_CATEGORIES}",
            field=field,
            value=str(series.name),
            fix="leave it out with data.columns, merge rare values, or write it as numbers",
        )
    return tuple(found)


def numbers_of(series: pd.Series[Any]) -> Array:
    """float64 [N], NaN where a number is missing."""
    return np.asarray(series.to_numpy(dtype=np.float64, na_value=np.nan))


def _series(values: Any, name: str, dtype: Any) -> pd.Series[Any]:
    """`dtype` is a type or its name; pandas takes all of those, its stubs know some."""
    import pandas as pd

    series: pd.Series[Any] = pd.Series(values, name=name, dtype=dtype)
    return series


def codes_of(series: pd.Series[Any], categories: tuple[Any, ...]) -> np.ndarray[tuple[int, ...], np.dtype[np.int64]]:
    """int64 [N]: the number of each row's category, -1 where it is missing."""
    number = {category: place for place, category in enumerate(categories)}
    return np.array([-1 if missing else number[value] for value, missing in zip(series.tolist(), series.isna(), strict=True)])
