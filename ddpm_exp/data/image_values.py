"""Numbers about each image: brightness and contrast from its pixels, others from the folder's values.csv."""

from __future__ import annotations

import difflib
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from ddpm_exp.data.examples import Examples, Facts
from ddpm_exp.data.standard import Array, fit
from ddpm_exp.spec.condition import PIXEL_VALUES
from ddpm_exp.spec.data import ImageFolder, Images
from ddpm_exp.spec.errors import UserError

if TYPE_CHECKING:
    import pandas as pd

FILE = "values.csv"
"""In the folder of images: a column `file`, the path below the folder; every other column is a value; empty where missing."""


def require_values(data: Images, names: tuple[str, ...]) -> None:
    """Raise UserError for a name that is neither of the pixels nor in the folder's values.csv. Reads no image."""
    there = [*PIXEL_VALUES, *(_columns(data) if isinstance(data, ImageFolder) else ())]
    for name in names:
        if name not in there:
            near = difflib.get_close_matches(name, there, n=1)
            elsewhere = "" if isinstance(data, ImageFolder) else f"; a folder of images may have others in {FILE}"
            raise UserError(
                f"images have the values {', '.join(there)}",
                field="condition.names",
                value=name,
                fix=(f"did you mean {near[0]!r}?" if near else "name one of these") + elsewhere,
            )


def with_values(names: tuple[str, ...], train: Examples, held_out: Examples) -> tuple[Examples, Examples, Facts]:
    """The two sets with `names` standardised by the training one, and what conditions have to know. Values that the images
    come with (from `read_values`) are in their own units."""
    shape = tuple(train.x.shape[1:])
    if not names:
        return train, held_out, Facts(shape, train.class_names)
    raw = [np.stack([_value(part, name) for name in names], axis=1) for part in (train, held_out)]
    mean, std = fit(raw[0])
    if (std == 0).any():
        raise UserError(
            "this value is the same, or missing, for all training images, so it tells nothing",
            field="condition.names",
            value=names[int((std == 0).argmax())],
            fix="leave it out",
        )
    scaled = [torch.from_numpy((numbers - mean) / std).float() for numbers in raw]
    facts = Facts(shape, train.class_names, names, tuple(mean.tolist()), tuple(std.tolist()))
    return (
        replace(train, values=scaled[0], value_names=names),
        replace(held_out, values=scaled[1], value_names=names),
        facts,
    )


def read_values(data: ImageFolder, root: Path, paths: list[str], names: tuple[str, ...]) -> Array | None:
    """float64 [N, K] of those `names` that values.csv gives, NaN where it gives none; None without such names.
    UserError for rows of no image, images listed twice and what is no number."""
    wanted = [name for name in names if name not in PIXEL_VALUES]
    if not wanted:
        return None
    import pandas as pd

    table = _read(data)
    files = table["file"].astype(str)
    unknown = sorted(set(files) - set(paths))
    if unknown or files.duplicated().any():
        which = unknown[0] if unknown else str(files[files.duplicated()].iloc[0])
        rule = "names a file that is no image of the folder" if unknown else "names a file twice"
        raise _wrong(root, f"it {rule}: {which}", "write each image's path below the folder once, with forward slashes")
    for name in wanted:
        if not pd.api.types.is_numeric_dtype(table[name]):
            raise _wrong(root, f"column {name!r} holds more than numbers", "write numbers, and nothing where one is missing")
    rows = table.set_index(files)[wanted].reindex(paths)
    return np.asarray(rows.to_numpy(dtype="float64", na_value=np.nan))


def _value(part: Examples, name: str) -> Array:
    if name in PIXEL_VALUES:
        # By 4,096 images at a time: double precision takes eight times the pixels' memory.
        chunks = [chunk.double().flatten(1) / 255 for chunk in torch.split(part.x, 4096)]
        found = [chunk.mean(1) if name == "brightness" else chunk.std(1, correction=0) for chunk in chunks]
        return np.asarray(torch.cat(found).numpy())
    assert part.values is not None
    return np.asarray(part.values[:, part.value_names.index(name)].double().numpy())


def _columns(data: ImageFolder) -> tuple[str, ...]:
    root = Path(data.root).expanduser()
    return tuple(name for name in _read(data, rows=0).columns if name != "file") if (root / FILE).is_file() else ()


def _read(data: ImageFolder, rows: int | None = None) -> pd.DataFrame:
    import pandas as pd

    root = Path(data.root).expanduser()
    try:
        table = pd.read_csv(root / FILE, nrows=rows)
    except (OSError, ValueError) as error:
        raise _wrong(root, f"it cannot be read ({error})", "write a CSV file with a row of column names") from error
    if "file" not in table.columns:
        raise _wrong(root, "it has no column 'file'", "add one with each image's path below the folder")
    return table


def _wrong(root: Path, rule: str, fix: str) -> UserError:
    return UserError(rule, field="data.root", value=str(root / FILE), fix=fix)
