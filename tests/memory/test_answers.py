"""Answers on the meta device, found once, are those of torch; steps that share them, or a network, leave no mark on each other."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
import torch
from support.condition_ways import ALL_AT_ONCE
from torch import Tensor, nn

from ddpm_exp.memory import answers, trace
from ddpm_exp.memory.answers import answer
from ddpm_exp.memory.kernels import kernels_of
from ddpm_exp.memory.replayed import _sampling, _training
from ddpm_exp.memory.script import Script
from ddpm_exp.memory.step import Setting, copied, meta_network, sampling_trace, training_trace, weights_of
from ddpm_exp.models.inputs import ConditionInput
from ddpm_exp.spec.data import Family
from ddpm_exp.spec.hardware import find_gpu
from ddpm_exp.spec.model import MLP, DiT, UNet

aten: Any = torch.ops.aten
SMALL = UNet(base_channels=16, multipliers=(1, 2), blocks_per_level=1, attention_resolutions=(8,), time_embedding=32, groups=8)
NETWORKS: dict[str, tuple[Any, Family, tuple[int, ...], tuple[ConditionInput, ...]]] = {
    "unet": (SMALL.but(dropout=0.1), "image", (3, 16, 16), ()),
    "unet, recomputing": (SMALL.but(checkpointing=True), "image", (3, 16, 16), ()),
    "transformer": (DiT(width=64, heads=2, depth=2, dropout=0.1), "points", (2, 64), ALL_AT_ONCE),
    "dense": (MLP(hidden_dim=64, layers=2), "vector", (5,), ()),
}


def setting(name: str, gpu: str = "H100", precision: Any = "bf16") -> Setting:
    model, family, shape, inputs = NETWORKS[name]
    kernels = kernels_of(find_gpu(gpu), precision, fused_norms=True)
    return Setting(model, inputs, shape, family, outputs=1, timesteps=1000, kernels=kernels)


def meta(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.empty(shape, dtype=dtype, device="meta")


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> dict[Any, Any]:
    """What is kept, empty at first."""
    kept: dict[Any, Any] = {}
    monkeypatch.setattr(answers, "_kept", kept)
    return kept


def test_an_equal_question_gets_a_new_tensor_of_the_same_layout(asked: dict[Any, Any]) -> None:
    x = meta(2, 3, 4, 4).to(memory_format=torch.channels_last)
    first, second = (answer(aten.mul.Tensor, (x, x), {}) for _ in range(2))
    assert len(asked) == 1
    assert (first.shape, first.stride(), first.dtype) == (second.shape, second.stride(), second.dtype)
    assert first.untyped_storage()._cdata != second.untyped_storage()._cdata


def test_numbers_of_different_types_are_different_questions(asked: dict[Any, Any]) -> None:
    whole = meta(3, dtype=torch.int64)
    assert [answer(aten.mul.Tensor, (whole, number), {}).dtype for number in (1, 1.0, True)] == [
        torch.int64, torch.float32, torch.int64,
    ]  # fmt: skip


def test_several_answers_come_back_as_torch_gives_them_with_those_that_were_not_wanted(asked: dict[Any, Any]) -> None:
    grad, x, weight = meta(2, 4, 8, 8), meta(2, 3, 8, 8), meta(4, 3, 3, 3)
    wanted = (grad, x, weight, [4], [1, 1], [1, 1], [1, 1], False, [0, 0], 1, [False, True, True])
    first, second = (answer(aten.convolution_backward.default, wanted, {}) for _ in range(2))
    assert len(asked) == 1 and type(first) is type(second) is tuple
    assert first[0] is second[0] is None and [part.shape for part in second[1:]] == [weight.shape, (4,)]


def test_views_and_changed_inputs_are_never_kept(asked: dict[Any, Any]) -> None:
    x = meta(4, 6)
    for func, more in ((aten.t.default, ()), (aten._unsafe_view.default, ([24],)), (aten.add_.Tensor, (1,))):
        found = answer(func, (x, *more), {})
        assert found.untyped_storage()._cdata == x.untyped_storage()._cdata
    assert answer(aten.add_.Tensor, (x, 1), {}) is x
    assert not asked


@pytest.mark.parametrize("name", NETWORKS)
def test_a_step_with_kept_answers_is_that_which_torch_records(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    made = replace(setting(name), weights_once="recomputing" not in name)
    kept = [each(made, 4) for each in (training_trace, training_trace, sampling_trace)]
    monkeypatch.setattr(trace, "answer", lambda func, args, kwargs: func(*args, **kwargs))
    assert kept == [each(made, 4) for each in (training_trace, training_trace, sampling_trace)]


@pytest.mark.parametrize("name", NETWORKS)
def test_both_types_of_16_bits_take_the_same_so_that_they_share_a_script(name: str) -> None:
    one, other = setting(name, "A100-40", "bf16"), setting(name, "A100-40", "fp16")
    for each in (training_trace, sampling_trace):
        assert each(one, 2) == each(other, 2)
    assert _training(one) is _training(other)


@pytest.mark.parametrize(("name", "sampling", "training"), [("unet", 1, 0), ("dense", 1, 1), ("transformer", 0, 0)])
def test_a_script_of_other_kernels_is_shared_only_where_attention_takes_the_same(name: str, sampling: int, training: int) -> None:
    """Fused kernels differ backwards alone; those of the T4 do not fuse heads of 4 channels, as the text encoder here has them."""
    ours, theirs = setting(name, "A100-40", "bf16"), setting(name, "T4", "fp16")
    assert (_sampling(ours) is _sampling(theirs), _training(ours) is _training(theirs)) == (sampling, training)
    for shared, each in ((_training, training_trace), (_sampling, sampling_trace)):
        alone = Script.of(partial(each, theirs))
        assert list(shared(theirs).at(5)) == list(alone.at(5))


def test_attention_op_by_op_has_a_script_of_its_own() -> None:
    fused, matrix = setting("unet", "V100-16", "fp16"), setting("unet", "V100-16", "bf16")
    assert _sampling(fused) is not _sampling(matrix)


@pytest.mark.parametrize("name", NETWORKS)
def test_a_copied_network_is_built_alike(name: str) -> None:
    def parts(network: nn.Module) -> list[Any]:
        weights = [*network.named_parameters(remove_duplicate=False), *network.named_buffers(remove_duplicate=False)]
        return [(path, part.shape, part.stride(), part.dtype, part.requires_grad) for path, part in weights]

    built = weights_of(setting(name))
    one, other = copied(built), copied(built)
    assert parts(one) == parts(other) == parts(built)
    assert [type(module) for module in one.modules()] == [type(module) for module in built.modules()]
    assert not {id(part) for part in one.parameters()} & {id(part) for part in other.parameters()}


def test_a_step_leaves_the_network_that_others_read_as_it_was() -> None:
    made = setting("unet, recomputing")
    before = [(weight.dtype, weight.stride(), weight.grad) for weight in weights_of(made).parameters()]
    training_trace(made, 2)
    sampling_trace(replace(made, weights_once=True), 2)
    meta_network(made).half()
    assert [(weight.dtype, weight.stride(), weight.grad) for weight in weights_of(made).parameters()] == before
    assert not any(module._forward_hooks for module in weights_of(made).modules())


_IN_A_NEW_PROCESS = """
import gc
gc.disable()
from ddpm_exp.memory.estimate import setting_of
from ddpm_exp.memory.step import sampling_trace, training_trace
from ddpm_exp.spec.data import Digits
from ddpm_exp.spec.experiment import Experiment
from ddpm_exp.spec.hardware import find_gpu
from ddpm_exp.spec.model import UNet

model = UNet(base_channels=16, multipliers=(1, 2), blocks_per_level=1, attention_resolutions=(4,), time_embedding=32, groups=8)
setting = setting_of(Experiment(data=Digits(), model=model), find_gpu("T4"), "fp16")
for each in (training_trace, sampling_trace):
    first, second = each(setting, 2), each(setting, 2)
    assert first == second
    assert len(first.events) == 2 * len({tensor for tensor, _ in first.events}), "all died"
"""


def test_the_first_step_of_a_process_is_recorded_as_those_after_it() -> None:
    """Whatever torch imports meanwhile keeps the frames that it was called from, and so the step's tensors."""
    subprocess.run([sys.executable, "-c", _IN_A_NEW_PROCESS], check=True, timeout=120)
