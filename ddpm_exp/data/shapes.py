"""Shape, classes and values of a data set before it is loaded: from the spec alone where possible, else from the file, once."""

from __future__ import annotations

from functools import lru_cache

from ddpm_exp.data.table_files import version_of
from ddpm_exp.spec import data as spec
from ddpm_exp.spec.condition import Condition, ContinuousValues, Unconditional, parts_of
from ddpm_exp.spec.data import Data
from ddpm_exp.spec.vectors import Table


def value_names(condition: Condition) -> tuple[str, ...]:
    """The numbers about each example that `condition` asks for."""
    return next((part.names for part in parts_of(condition) if isinstance(part, ContinuousValues)), ())


def shape_of(data: Data, condition: Condition | None = None) -> tuple[int, ...]:
    """Sizes of one example as the network sees it. A table's number of features is read from its file, without the columns
    that `condition` takes as values; the answer is kept until the file changes. Raises UserError for a file that is wrong."""
    if not isinstance(data, Table):
        return spec.shape_of(data)
    names = value_names(condition or Unconditional())
    return _table_shape(data.but(subset=None, subset_seed=0), names, version_of(data.source))


@lru_cache(maxsize=32)
def _table_shape(data: Table, names: tuple[str, ...], version: tuple[int, int]) -> tuple[int, ...]:
    from ddpm_exp.data.tables import schema_of

    return (schema_of(data, names).features,)
