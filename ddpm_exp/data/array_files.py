"""Arrays in a user's .npy or .parquet file: found, checked, laid out as networks see them. Not their scaling."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ddpm_exp.data.standard import Array
from ddpm_exp.data.table_files import read_parquet
from ddpm_exp.spec.errors import UserError
from ddpm_exp.spec.vectors import Points, Sequences

_FEWEST = 10


def array_shape(data: Sequences | Points) -> tuple[int, ...]:
    """Sizes of the whole file as the network will see it: [N, channels, length] or [N, dimensions, count]. UserError for a file
    that is missing, unreadable or of other sizes than the spec's."""
    path = _path(data)
    if path.suffix == ".parquet":
        count = len(read_array(data))
    else:
        found = _open(data, path)
        if found.dtype.kind not in "fiu":
            raise _wrong(data, f"the file holds {found.dtype}, not numbers", "save an array of floats or integers")
        expected = _expected(data)
        sizes = found.shape
        if isinstance(data, Sequences) and found.ndim == 2 and data.channels == 1:
            sizes = (found.shape[0], 1, found.shape[1])
        if sizes[1:] != expected:
            names = "[N, channels, length]" if isinstance(data, Sequences) else "[N, count, dimensions]"
            raise _wrong(
                data,
                f"the array is {list(found.shape)}, but the experiment says {names} = [N, {expected[0]}, {expected[1]}]",
                f"set {_sizes(data, sizes)}, or reshape the array",
            )
        count = sizes[0]
    if count < _FEWEST:
        raise _wrong(data, f"the file holds {count} examples, and at least {_FEWEST} are needed", "add examples")
    first, second = _expected(data)
    return (count, first, second) if isinstance(data, Sequences) else (count, second, first)


def read_array(data: Sequences | Points) -> Array:
    """float64, laid out as the network sees it. UserError for missing and infinite numbers, with their count."""
    path = _path(data)
    if path.suffix == ".parquet":
        x = _from_parquet(data, path)
    else:
        array_shape(data)
        x = np.asarray(_open(data, path), dtype=np.float64).reshape(-1, *_expected(data))
    bad = ~np.isfinite(x).reshape(len(x), -1).all(1)
    if bad.any():
        raise _wrong(
            data,
            f"{int(bad.sum())} of {len(x)} examples hold numbers that are missing or infinite, the first is example {bad.argmax()}",
            "leave these examples out of the file, or fill the numbers in",
        )
    return x if isinstance(data, Sequences) else np.ascontiguousarray(x.transpose(0, 2, 1))


def _expected(data: Sequences | Points) -> tuple[int, int]:
    return (data.channels, data.length) if isinstance(data, Sequences) else (data.count, data.dimensions)


def _sizes(data: Sequences | Points, sizes: tuple[int, ...]) -> str:
    if isinstance(data, Points):
        return f"data.count={sizes[1]} and data.dimensions={sizes[2]}" if len(sizes) == 3 else "data.count and data.dimensions"
    if len(sizes) == 2:
        return f"data.channels=1 and data.length={sizes[1]}"
    return f"data.channels={sizes[1]} and data.length={sizes[2]}" if len(sizes) == 3 else "data.channels and data.length"


def _from_parquet(data: Sequences | Points, path: Path) -> Array:
    """One sequence per row: a number per column, channel by channel, or one column of lists."""
    table = read_parquet(path, "data.source", data.source)
    if len(table.columns) == 1 and len(table) and isinstance(table.iloc[0, 0], np.ndarray | list):
        rows: list[Any] = table.iloc[:, 0].tolist()
        lengths = {len(row) for row in rows}
        found = np.stack([np.asarray(row, dtype=np.float64) for row in rows]) if len(lengths) == 1 else np.empty((len(rows), 0))
        width: int | str = found.shape[1] if len(lengths) == 1 else f"{min(lengths)} to {max(lengths)}"
    else:
        words = [str(name) for name in table.columns if table[name].dtype.kind not in "fiu"]
        if words:
            raise _wrong(data, f"column {words[0]!r} holds more than numbers", "keep the columns of the sequence alone")
        found = table.to_numpy(dtype=np.float64, na_value=np.nan)
        width = found.shape[1]
    first, second = _expected(data)
    if found.shape[1] != first * second:
        raise _wrong(
            data,
            f"each row holds {width} numbers, but the experiment says {first} x {second}",
            "set data.channels and data.length so that they multiply to it",
        )
    return found.reshape(len(found), first, second)


def _path(data: Sequences | Points) -> Path:
    path = Path(data.source).expanduser()
    if not path.is_file():
        raise _wrong(data, f"the file does not exist (seen from {Path.cwd()})", "write the path of an existing file")
    return path


def _open(data: Sequences | Points, path: Path) -> Any:
    """The array, on disk: nothing but its header is read."""
    try:
        return np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        # NumPy takes whatever has not its first bytes for a pickle, and advises to trust it.
        why = "it is no array of NumPy's" if "pickle" in str(error) else str(error)
        raise _wrong(data, f"the file cannot be read ({why})", "save it again with numpy.save, as plain numbers") from error


def _wrong(data: Sequences | Points, rule: str, fix: str) -> UserError:
    return UserError(rule, field="data.source", value=data.source, fix=fix)
