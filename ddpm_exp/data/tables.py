"""Tables: which columns are drawn, which are the label and values; rows to numbers. Their scaling is in `table_codec`."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ddpm_exp.data.columns import Column, categories_of, codes_of, column_of, numbers_of
from ddpm_exp.data.examples import Splits
from ddpm_exp.data.scaled import Raw, scaled_splits
from ddpm_exp.data.standard import Array
from ddpm_exp.data.table_codec import fit_table
from ddpm_exp.data.table_files import read_table
from ddpm_exp.spec.errors import UserError
from ddpm_exp.spec.vectors import Table, label_of

if TYPE_CHECKING:
    import pandas as pd

_FEWEST = 10


@dataclass(frozen=True)
class Schema:
    """The use of each column."""

    columns: tuple[Column, ...]
    """Those that are drawn, in order."""

    label: str | None
    class_names: tuple[str, ...]

    @property
    def features(self) -> int:
        """Numbers that stand for one row."""
        return sum(column.features for column in self.columns)


def schema_of(data: Table, names: tuple[str, ...] = ()) -> Schema:
    """The use of each column, where the condition takes the columns `names` as values. Reads the file.

    Raises UserError for unknown, constant and unusable columns, missing values that are not to be imputed, and too few rows.
    """
    return _schema(data, names, read_table(data.source))


def load_table(data: Table, names: tuple[str, ...]) -> Splits:
    """Training and held-out rows, float32 [N, features], scaled by the training ones, and the values `names`."""
    table = read_table(data.source)
    schema = _schema(data, names, table)
    x = np.concatenate([column.encode(table[column.name]) for column in schema.columns], axis=1)
    labels = None if schema.label is None else _codes(table[schema.label])
    values: Array = np.empty((len(table), 0))
    if names:
        values = np.stack([numbers_of(table[name]) for name in names], axis=1)
    raw = Raw(x, labels, schema.class_names, values, names)
    return scaled_splits(raw, data, lambda train: fit_table(schema.columns, data.scaling, train))


def _schema(data: Table, names: tuple[str, ...], table: pd.DataFrame) -> Schema:
    if len(table) < _FEWEST:
        raise _wrong("source", data.source, f"the table has {len(table)} rows, and at least {_FEWEST} are needed", "add rows")
    there = [str(name) for name in table.columns]
    for field, wanted in (("columns", data.columns), ("label", (data.label,) if data.label else ()), ("names", names)):
        _require_there(field, wanted, there)
    label = _label(data)
    drawn = [name for name in data.columns or there if name != label and name not in names]
    if not drawn:
        raise _wrong("columns", data.columns, "no column is left to draw", "name fewer of them as label or values")
    _require_present(data, table[[*drawn, *names]], label, table)
    _require_numbers(table, names)
    columns = tuple(column_of(table[name], "data.columns") for name in drawn)
    _require_varied(table, columns)
    classes = () if label is None else tuple(str(c) for c in categories_of(table[label], "data.label"))
    return Schema(columns, label, classes)


def _label(data: Table) -> str | None:
    if data.label is not None and data.label in data.columns:
        raise _wrong("label", data.label, "a column is either drawn or the label", "remove it from data.columns")
    return label_of(data)


def _codes(series: pd.Series[Any]) -> NDArray[np.int64]:
    return codes_of(series, categories_of(series, "data.label"))


def _require_there(field: str, wanted: tuple[str, ...], there: list[str]) -> None:
    for name in wanted:
        if wanted.count(name) > 1:
            raise _wrong(field, name, "a column is named once", "remove it where it stands again")
        if name not in there:
            near = difflib.get_close_matches(name, there, n=1)
            fix = f"did you mean {near[0]!r}?" if near else f"the table has {', '.join(there[:20])}"
            raise _wrong(field, name, "the table has no such column", fix)


def _require_present(data: Table, used: pd.DataFrame, label: str | None, table: pd.DataFrame) -> None:
    missing = {str(name): int(count) for name, count in used.isna().sum().items() if count}
    if missing and data.missing == "refuse":
        raise _wrong(
            "missing",
            data.missing,
            f"values are missing in {_counted(missing)} of {len(table)} rows",
            "set data.missing='impute', leave these columns out with data.columns, or fill them in",
        )
    empty = [name for name, count in missing.items() if count == len(table)]
    if empty:
        raise _wrong("columns", empty[0], "the column is empty", "leave it out with data.columns")
    if label is not None and (count := int(table[label].isna().sum())):
        raise _wrong("label", label, f"{count} of {len(table)} rows have no label", "remove these rows, or name another label")


def _require_numbers(table: pd.DataFrame, names: tuple[str, ...]) -> None:
    for name in names:
        if column_of(table[name], "condition.names").kind == "category":
            raise UserError(
                f"column {name!r} holds categories, and values are numbers",
                field="condition.names",
                value=name,
                fix=f"set data.label={name!r} and take ClassLabels(), or name another column",
            )


def _require_varied(table: pd.DataFrame, columns: tuple[Column, ...]) -> None:
    constant = [column.name for column in columns if table[column.name].nunique() < 2]
    if constant:
        raise _wrong(
            "columns",
            tuple(constant),
            "these columns have the same value in every row, so there is nothing to learn and no deviation to scale by",
            "leave them out with data.columns",
        )


def _counted(missing: dict[str, int]) -> str:
    shown = [f"{name} ({count})" for name, count in list(missing.items())[:10]]
    return ", ".join(shown) + (f" and {len(missing) - 10} more columns" if len(missing) > 10 else "")


def _wrong(field: str, value: object, rule: str, fix: str) -> UserError:
    return UserError(rule, field="condition.names" if field == "names" else f"data.{field}", value=value, fix=fix)
