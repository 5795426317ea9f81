"""Data that are no images: tables, sequences, clouds of points, mixtures of Gaussians. Says nothing about how they are loaded."""

from __future__ import annotations

import difflib
from typing import Annotated, Literal

from annotated_types import Ge, Gt, Le, MinLen
from pydantic import model_validator

from ddpm_exp.spec.base import Spec, broken


class Examples(Spec):
    """What every data set may choose."""

    subset: Annotated[int, Gt(0)] | None = None
    """Train on this many examples, fixed and class-balanced, chosen by `subset_seed`; they define the epoch. None: all."""

    subset_seed: Annotated[int, Ge(0)] = 0
    """Which examples `subset` takes: the same for every arm and every training seed."""


class _Vectors(Examples):
    held_out_share: Annotated[float, Gt(0), Le(0.5)] = 0.2
    """Share of examples held out, chosen by a hash of each one's number."""


EMBEDDED = {"wine": "cultivar", "diabetes": None, "breast-cancer": "diagnosis", "iris": "species"}
"""scikit-learn's tables, and the column that is each one's label."""


class Table(_Vectors):
    """Rows of a table. Numeric columns are scaled, categorical ones become one column per category; samples come back as CSV
    with the columns' names and types."""

    kind: Literal["table"] = "table"

    source: str = "wine"
    """`wine`, `diabetes`, `breast-cancer` or `iris`, scikit-learn's; or a file, .csv or .parquet."""

    columns: tuple[str, ...] = ()
    """Columns to draw; empty: all that have no other use. A column that the condition takes as a value is never drawn."""

    label: str | None = None
    """Column whose categories are the classes of `ClassLabels` and `Prompts`; it is not drawn. The embedded tables name it
    themselves: `cultivar` of wine, `diagnosis` of breast-cancer, `species` of iris; diabetes has none."""

    scaling: Literal["standard", "quantile"] = "standard"
    """`standard`: mean 0 and deviation 1. `quantile`: ranks, mapped to a normal distribution; samples then stay within the range
    of the training rows. Fitted on these alone, kept with the run, undone in samples."""

    missing: Literal["refuse", "impute"] = "refuse"
    """Missing values: an error that names the columns, or the training rows' median (most frequent category). Where the condition
    takes a column as a value, a missing one is marked as missing instead."""

    @model_validator(mode="after")
    def _source(self) -> Table:
        _named_or_file(self.source, tuple(EMBEDDED), (".csv", ".parquet"))
        return self


MADE_VALUES = {"waves": ("frequency", "damping", "phase"), "outlines": ("size", "turn")}
"""Parameters of each synthetic data set, for `ContinuousValues`."""


def label_of(data: Table) -> str | None:
    """The column of classes: the one named, or an embedded table's own unless it is drawn."""
    label = data.label or EMBEDDED.get(data.source)
    return None if label in data.columns else label


class Sequences(_Vectors):
    """Sequences of equal length, one or more channels, each channel standardised."""

    kind: Literal["sequences"] = "sequences"

    source: str = "waves"
    """`waves`: damped oscillations with random frequency, damping and phase, of three classes. Or a file: .npy of [N, length]
    or [N, channels, length], or .parquet with one sequence per row."""

    length: Annotated[int, Ge(2), Le(65_536)] = 64
    """Steps of each sequence; a file must agree."""

    channels: Annotated[int, Ge(1), Le(1024)] = 1
    """Values per step; a file must agree."""

    @model_validator(mode="after")
    def _source(self) -> Sequences:
        _named_or_file(self.source, ("waves",), (".npy", ".parquet"))
        return self


class Points(_Vectors):
    """Clouds of points: unordered sets of equal size, standardised as a whole."""

    kind: Literal["points"] = "points"

    source: str = "outlines"
    """`outlines`: points on circles, squares and triangles of random size, place and turn: three classes. Or a .npy file of
    [N, count, dimensions]."""

    count: Annotated[int, Ge(2), Le(65_536)] = 64
    """Points of each cloud; a file must agree."""

    dimensions: Annotated[int, Ge(1), Le(64)] = 2
    """Coordinates of each point; a file must agree, and `outlines` have 2."""

    @model_validator(mode="after")
    def _source(self) -> Points:
        _named_or_file(self.source, ("outlines",), (".npy",))
        return self

    @model_validator(mode="after")
    def _flat(self) -> Points:
        if self.source == "outlines" and self.dimensions != 2:
            raise broken("outlines lie in a plane", field="dimensions", value=self.dimensions, fix="take 2, or a file's points")
        return self


Vector = Annotated[tuple[float, ...], MinLen(1)]


class Gaussians(_Vectors):
    """A mixture of Gaussians with known density, for checks: what a network should learn is known exactly."""

    kind: Literal["gaussians"] = "gaussians"

    means: Annotated[tuple[Vector, ...], MinLen(1)] = ((0.0, 0.0),)
    """Mean of each component; components are the classes. Not standardised."""

    std: Annotated[float, Gt(0), Le(100)] = 0.5
    """Standard deviation of every component, in every direction."""

    count: Annotated[int, Ge(10), Le(10_000_000)] = 20_000
    """Samples, drawn once, training and held-out together."""

    @model_validator(mode="after")
    def _one_space(self) -> Gaussians:
        if len({len(mean) for mean in self.means}) > 1:
            raise broken(
                "all means have as many coordinates", field="means", value=self.means, fix="write each with the same number"
            )
        return self


def _named_or_file(source: str, known: tuple[str, ...], endings: tuple[str, ...]) -> None:
    """Refuse what is neither a data set of ours nor could be a file that is read."""
    if source in known or source.endswith(endings):
        return
    near = difflib.get_close_matches(source, known, n=1)
    raise broken(
        f"the source is {' or '.join(known)}, or a file that ends in {' or '.join(endings)}",
        field="source",
        value=source,
        fix=f"did you mean '{near[0]}'?" if near else "name one of these",
    )
