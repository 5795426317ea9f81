"""What torch's sums take for themselves, as its allocator recorded on an H100, and on a GPU as it takes now."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ddpm_exp.memory.allocator import MIB
from ddpm_exp.memory.reductions import Reduction, buffer_bytes, reductions_of

RECORDED = {
    (8192, 1024): 64.0,
    (8192, 128): 8.0,
    (8192, 384): 24.0,
    (8192, 1536): 96.0,
    (8192, 1152): 72.0,
    (16384, 384): 48.0,
    (16384, 1536): 132.0,
    (16384, 1152): 132.1875,
}
"""Gradients of biases, summed over rows, to MiB in allocation histories of an MLP and of DiTs with torch 2.11."""


@pytest.mark.parametrize("shape", RECORDED)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_sums_over_rows_take_what_was_recorded(shape: tuple[int, int], dtype: torch.dtype) -> None:
    summed = Reduction.of(torch.empty(shape, dtype=dtype, device="meta"), (0,))
    assert buffer_bytes(summed) == RECORDED[shape] * MIB


def test_a_bias_of_a_convolution_is_summed_over_all_pixels_of_channels_last() -> None:
    grad, x = (torch.empty(64, 128, 16, 16, device="meta").to(memory_format=torch.channels_last) for _ in range(2))
    weight = torch.empty(128, 128, 3, 3, device="meta")
    settings = ([1, 1], [1, 1], [1, 1], False, [0, 0], 1)
    func = torch.ops.aten.convolution_backward.default
    (summed,) = reductions_of(func, (grad, x, weight, [128], *settings, [True, True, True]))
    as_rows = Reduction.of(torch.empty(64 * 16 * 16, 128, device="meta"), (0,))
    assert buffer_bytes(summed) == buffer_bytes(as_rows) > 0
    assert reductions_of(func, (grad, x, weight, None, *settings, [True, True, False])) == ()


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 40_000), st.integers(1, 3000), st.booleans())
def test_few_values_take_nothing_and_a_gpu_with_fewer_threads_never_more(rows: int, columns: int, over_columns: bool) -> None:
    summed = Reduction.of(torch.empty(rows, columns, device="meta"), (int(over_columns),))
    taken = buffer_bytes(summed)
    assert taken >= buffer_bytes(summed, threads=40 * 1024) >= 0
    if (columns if over_columns else rows) < 256:
        assert taken == 0


def test_a_scaled_sum_is_the_sum_of_the_scaled_tensor() -> None:
    few, many, more = (Reduction.of(torch.empty(64 * n, 96, device="meta"), (0,)) for n in (2, 4, 100))
    assert few.scaled(many, (100 - 2) / 2) == more


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("shape", [(8192, 1024), (3000, 640), (100_000, 96), (64, 50_000), (20_000, 13)])
@pytest.mark.parametrize("over", [0, 1])
def test_on_a_gpu_torch_takes_it(shape: tuple[int, int], over: int) -> None:
    properties = torch.cuda.get_device_properties(0)
    tensor = torch.randn(shape, device="cuda", dtype=torch.bfloat16)
    torch.cuda.reset_peak_memory_stats()
    answer = tensor.sum(over)
    found = torch.cuda.memory_stats()
    taken = found["requested_bytes.all.peak"] - found["requested_bytes.all.current"]
    threads = properties.multi_processor_count * properties.max_threads_per_multi_processor
    expected = buffer_bytes(Reduction.of(tensor, (over,)), threads)
    assert expected <= taken <= expected + 65536, f"{answer.shape}: counters beside the buffer are a few bytes per block"
