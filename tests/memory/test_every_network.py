"""Every network with conditions in every way is traced on meta tensors, and each choice moves the peak the way it should."""

from __future__ import annotations

from typing import Any

import pytest
from support.condition_ways import ALL_AT_ONCE
from support.network_inputs import NONE, SEVERAL

from ddpm_exp.memory.kernels import kernels_of
from ddpm_exp.memory.moments import Moments
from ddpm_exp.memory.step import Setting, sampling_trace, training_trace
from ddpm_exp.models.inputs import ConditionInput
from ddpm_exp.spec.data import Family
from ddpm_exp.spec.hardware import find_gpu
from ddpm_exp.spec.model import MLP, DiT
from ddpm_exp.spec.training import Precision

TRANSFORMER, DENSE = DiT(width=64, heads=2, depth=4, dropout=0.1), MLP(hidden_dim=64, layers=4, dropout=0.1)
FAMILIES: dict[str, tuple[Any, Family, tuple[int, ...], tuple[ConditionInput, ...]]] = {
    "images": (TRANSFORMER, "image", (3, 32, 32), SEVERAL),
    "sequences": (TRANSFORMER, "sequence", (2, 64), NONE),
    "points": (TRANSFORMER, "points", (2, 64), ALL_AT_ONCE),
    "vectors": (DENSE, "vector", (5,), ALL_AT_ONCE),
}
COUNT = 64


def peak(name: str, *, precision: Precision = "fp32", training: bool = True, **choices: Any) -> int:
    """Bytes of the busiest moment; raises ValueError if they are no straight line in the number of examples."""
    model, family, shape, inputs = FAMILIES[name]
    kernels = kernels_of(find_gpu("H100"), precision)
    setting = Setting(model.but(**choices), inputs, shape, family, outputs=1, timesteps=1000, kernels=kernels)
    trace = training_trace if training else sampling_trace
    return sum(Moments(lambda count: trace(setting, count)).peak(COUNT)[1].values())


@pytest.mark.parametrize("name", FAMILIES)
def test_sampling_recomputing_and_half_precision_each_take_less_than_plain_training(name: str) -> None:
    plain = peak(name)
    assert 0 < peak(name, training=False) < 0.6 * plain
    assert 0 < peak(name, checkpointing=True) < 0.75 * plain
    assert 0 < peak(name, precision="bf16") < 0.85 * plain


def test_more_blocks_take_more() -> None:
    assert peak("images", depth=8) > 1.7 * peak("images")
    assert peak("vectors", layers=8) > 1.3 * peak("vectors")


def test_a_point_is_a_token_and_a_piece_is_several_steps() -> None:
    assert peak("points") > 3 * peak("sequences")
