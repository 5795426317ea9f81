"""Data sets to batches on the device: range [-1, 1], stateless order, conditions."""

from ddpm_exp.data.batches import Batches
from ddpm_exp.data.conditions import Conditions, build_conditions
from ddpm_exp.data.datasets import load, require
from ddpm_exp.data.images import ImageSet, Splits
from ddpm_exp.data.order import Draw, index_of, order
from ddpm_exp.data.pixels import assert_model_range, to_model_range, to_uint8

__all__ = [
    "Batches",
    "Conditions",
    "Draw",
    "ImageSet",
    "Splits",
    "assert_model_range",
    "build_conditions",
    "index_of",
    "load",
    "order",
    "require",
    "to_model_range",
    "to_uint8",
]
