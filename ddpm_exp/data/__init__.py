"""Data sets to batches on the device: range [-1, 1] or scaled, stateless order, conditions, and back to the data's units.

The names here are loaded on first use: some files beside this one are for those who must not take torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ddpm_exp.data.datasets import load as load
    from ddpm_exp.data.datasets import require as require
    from ddpm_exp.data.shapes import shape_of as shape_of

_HOMES = {"load": "datasets", "require": "datasets", "shape_of": "shapes"}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'ddpm_exp.data' has no attribute {name!r}")
    return getattr(import_module(f"ddpm_exp.data.{_HOMES[name]}"), name)
