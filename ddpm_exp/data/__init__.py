"""Data sets to batches on the device: range [-1, 1] or scaled, stateless order, conditions, and back to the data's units."""

from ddpm_exp.data.batches import Batches
from ddpm_exp.data.codec import Codec
from ddpm_exp.data.conditions import Conditions, build_conditions
from ddpm_exp.data.datasets import load, require
from ddpm_exp.data.examples import Batch, Examples, Facts, Splits
from ddpm_exp.data.order import Draw, index_of, order
from ddpm_exp.data.pixels import assert_model_range, to_model_range, to_uint8
from ddpm_exp.data.shapes import shape_of

__all__ = [
    "Batch",
    "Batches",
    "Codec",
    "Conditions",
    "Draw",
    "Examples",
    "Facts",
    "Splits",
    "assert_model_range",
    "build_conditions",
    "index_of",
    "load",
    "order",
    "require",
    "shape_of",
    "to_model_range",
    "to_uint8",
]
