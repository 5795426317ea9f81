"""The plan: images per step stay, the rest is derived, and what cannot fit is refused with remedies that were tried out."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ddpm_exp.memory.estimate import estimate
from ddpm_exp.memory.fitting import micro_batches
from ddpm_exp.memory.plan import plan, plan_table
from ddpm_exp.memory.remedies import remedies
from ddpm_exp.spec.data import Digits
from ddpm_exp.spec.errors import UserError
from ddpm_exp.spec.experiment import Experiment
from ddpm_exp.spec.hardware import CATALOGUE, Gpu, Hardware, find_gpu
from ddpm_exp.spec.model import UNet
from ddpm_exp.spec.training import Training

MIB = 1024**2
TINY = UNet(base_channels=16, multipliers=(1, 2), blocks_per_level=1, attention_resolutions=(8,), time_embedding=32, groups=8)


def experiment(**changes: Any) -> Experiment:
    return Experiment(data=Digits(), model=TINY, training=Training(images_per_step=64)).but(**changes)


def gpu(usable_bytes: int, capability: tuple[int, int] = (8, 0)) -> Gpu:
    return Gpu("small", usable_bytes, capability, 1.0, 1.0, 1.0)


@settings(max_examples=12, deadline=None)
@given(images_per_step=st.integers(1, 700), mebibytes=st.integers(1000, 1400), headroom=st.sampled_from([0.05, 0.1, 0.3]))
def test_slices_always_add_up_to_images_per_step_within_the_headroom(images_per_step: int, mebibytes: int, headroom: float) -> None:
    e = experiment(training=Training(images_per_step=images_per_step), hardware=Hardware(headroom=headroom))
    small = gpu(mebibytes * MIB)
    try:
        made = plan(e, small, device="cuda")
    except UserError:
        assert estimate(e, small, "bf16", 1).peak_bytes > mebibytes * MIB * (1 - headroom)
        return
    assert made.micro_batch * made.accumulation * made.devices == made.images_per_step == images_per_step
    assert made.peak_bytes <= small.usable_bytes * (1 - headroom)
    larger = [micro for micro in micro_batches(e) if micro > made.micro_batch]
    assert all(estimate(e, small, "bf16", micro).peak_bytes > small.usable_bytes * (1 - headroom) for micro in larger)


def test_memory_changes_the_slices_and_never_the_step() -> None:
    e = experiment(training=Training(images_per_step=512))
    roomy, tight = plan(e, gpu(4096 * MIB), device="cuda"), plan(e, gpu(1100 * MIB), device="cuda")
    assert roomy.micro_batch > tight.micro_batch
    assert roomy.images_per_step == tight.images_per_step == 512


def test_a_written_micro_batch_is_kept_or_refused_with_the_one_that_fits() -> None:
    e = experiment(training=Training(images_per_step=512))
    assert plan(e.but(hardware=Hardware(micro_batch=2)), gpu(4096 * MIB), device="cuda").micro_batch == 2
    with pytest.raises(UserError, match=r"hardware\.micro_batch = 512: 512 images at once need") as refused:
        plan(e.but(hardware=Hardware(micro_batch=512)), gpu(1100 * MIB), device="cuda")
    fitting = plan(e, gpu(1100 * MIB), device="cuda").micro_batch
    assert f"hardware.micro_batch = {fitting}," in (refused.value.fix or "")


@pytest.mark.parametrize("name", ["T4", "V100-16", "V100-32"])
def test_bf16_is_refused_where_the_hardware_has_none(name: str) -> None:
    e = experiment(training=Training(images_per_step=64, precision="bf16"))
    with pytest.raises(UserError, match="has no bf16 in hardware"):
        plan(e, find_gpu(name), device="cuda")


@pytest.mark.parametrize(("name", "expected"), [("cpu", "fp32"), ("T4", "fp16"), ("V100-16", "fp16"), ("A100-40", "bf16")])
def test_auto_precision_is_the_best_that_the_hardware_has(name: str, expected: str) -> None:
    assert plan(experiment(), find_gpu(name), device="cpu" if name == "cpu" else "cuda").precision == expected


def test_a_cpu_computes_in_fp32_or_if_asked_in_bf16_and_never_in_fp16() -> None:
    def on_cpu(precision: Any) -> Any:
        return plan(experiment(training=Training(images_per_step=8, precision=precision)), find_gpu("cpu"), device="cpu").precision

    assert (on_cpu("auto"), on_cpu("fp32"), on_cpu("bf16")) == ("fp32", "fp32", "bf16")
    with pytest.raises(UserError, match="has no fp16"):
        on_cpu("fp16")


def test_a_gpu_too_small_for_one_image_is_an_error_with_remedies_that_fit() -> None:
    e = experiment(training=Training(images_per_step=64, precision="fp32"))
    one_image = estimate(e, gpu(1), "fp32", 1).peak_bytes
    small = gpu(int(one_image / 0.9) - 4096)
    with pytest.raises(UserError) as refused:
        plan(e, small, device="cuda")
    assert "one image at a time needs" in str(refused.value)
    found = remedies(e, small, "fp32")
    assert all(remedy.override in (refused.value.fix or "") for remedy in found)
    narrower = next(remedy for remedy in found if remedy.override == "model.base_channels=8")
    changed = e.but(model=TINY.but(base_channels=8))
    assert estimate(changed, small, "fp32", narrower.micro_batch).peak_bytes == narrower.peak_bytes <= 0.9 * small.usable_bytes


def test_a_hopeless_gpu_is_said_to_be_hopeless_and_a_larger_one_named() -> None:
    found = remedies(experiment(), gpu(100 * MIB), "fp32")
    assert [remedy.override for remedy in found] == ["--gpu T4"]


def test_the_table_has_a_plan_or_a_reason_for_every_gpu_in_order() -> None:
    e = experiment(training=Training(images_per_step=64, precision="bf16"))
    rows = plan_table(e, CATALOGUE)
    assert [row.gpu for row in rows] == list(CATALOGUE)
    assert all((row.plan is None) != (row.reason is None) for row in rows)
    assert {row.gpu.name for row in rows if row.reason} == {"T4", "V100-16", "V100-32"}
