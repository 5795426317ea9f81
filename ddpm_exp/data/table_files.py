"""Tables as data frames: scikit-learn's, or a user's .csv or .parquet file. Not which columns are drawn, nor how."""

from __future__ import annotations

import csv
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from ddpm_exp.spec.errors import UserError
from ddpm_exp.spec.vectors import EMBEDDED

if TYPE_CHECKING:
    import pandas as pd


def read_table(source: str) -> pd.DataFrame:
    """The whole table. Raises UserError for a file that is missing, unreadable or names two columns alike."""
    return _read(source, version_of(source)).copy()


def version_of(source: str) -> tuple[int, int]:
    """Time of change in nanoseconds and size of a file; zeros where `source` is none."""
    path = Path(source).expanduser()
    if not path.is_file():
        return (0, 0)
    status = path.stat()
    return (status.st_mtime_ns, status.st_size)


@lru_cache(maxsize=2)
def _read(source: str, version: tuple[int, int]) -> pd.DataFrame:
    if source in EMBEDDED:
        return _embedded(source)
    path = Path(source).expanduser()
    if not path.is_file():
        raise _wrong(source, f"the file does not exist (seen from {Path.cwd()})", "write the path of an existing file")
    return read_parquet(path, "data.source", source) if path.suffix == ".parquet" else _read_csv(path, source)


def _embedded(source: str) -> pd.DataFrame:
    """Columns of whole numbers become integers; classes get their names; sex, published as 1 and 2, is a category."""
    import pandas as pd
    from sklearn import datasets

    load = {"wine": "load_wine", "diabetes": "load_diabetes", "breast-cancer": "load_breast_cancer", "iris": "load_iris"}[source]
    # Only diabetes comes scaled unless told otherwise.
    bunch = getattr(datasets, load)(as_frame=True, **({"scaled": False} if source == "diabetes" else {}))
    table: pd.DataFrame = bunch.frame.drop(columns="target")
    for name in table.columns:
        if (table[name] == table[name].round()).all():
            table[name] = table[name].astype("int64")
    label = EMBEDDED[source]
    if label is None:
        table["sex"] = table["sex"].astype("category")
        table["progression"] = bunch.target.astype("int64")
    else:
        # wine's are called class_0 to class_2, which says what they are and not which
        names = [str(name).replace("class_", "cultivar ") for name in bunch.target_names]
        table[label] = pd.Categorical([names[k] for k in bunch.target], categories=names)
    return table


def _read_csv(path: Path, source: str) -> pd.DataFrame:
    import pandas as pd

    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = csv.reader(file)
            header, first = next(rows, []), next(filter(None, rows), [])
        table = pd.read_csv(path, encoding="utf-8-sig")
    except (OSError, ValueError) as error:
        rule = f"the file cannot be read ({str(error).strip()})"
        fix = "write it as UTF-8, with a row of column names and as many values in every row"
        raise _wrong(source, rule, fix) from error
    if len(header) == 1 and (other := next((mark for mark in ";\t|" if mark in header[0]), None)):
        raise _wrong(
            source,
            f"the file has one column, called {header[0]!r}: its values seem to be separated by {other!r}",
            "separate them by commas: pandas reads it with sep=" + repr(other) + " and writes it again with to_csv(index=False)",
        )
    if len(first) > len(header):
        # pandas would take the first column for row names and move all others by one place.
        raise _wrong(
            source,
            f"the first row has {len(first)} values, and there are {len(header)} column names",
            "give every column a name, or remove commas at the ends of rows",
        )
    if "" in (name.strip() for name in header):
        which = [name.strip() for name in header].index("") + 1
        raise _wrong(
            source,
            f"column {which} of the file has no name",
            "name it, or remove it: pandas writes no row numbers with to_csv(index=False)",
        )
    twice = sorted({name for name in header if header.count(name) > 1})
    if twice:
        raise _wrong(source, f"the file has several columns called {twice[0]!r}", "rename or remove all but one")
    return table


def read_parquet(path: Path, field: str, source: str) -> pd.DataFrame:
    """The file's table; UserError where it is unreadable or the package that reads it is missing."""
    import pandas as pd

    try:
        return pd.read_parquet(path)
    except ImportError as error:
        raise UserError(
            "Parquet files need the package pyarrow",
            field=field,
            value=source,
            fix='pip install "ddpm-exp[parquet]", or save the file as .csv or .npy',
        ) from error
    except Exception as error:  # pyarrow raises errors of its own, and OSError, for a damaged file
        rule = f"the file cannot be read ({str(error).splitlines()[0] if str(error) else type(error).__name__})"
        raise UserError(rule, field=field, value=source, fix="write it again, each column with a name of its own") from error


def _wrong(source: str, rule: str, fix: str) -> UserError:
    return UserError(rule, field="data.source", value=source, fix=fix)
