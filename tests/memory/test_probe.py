"""The probe and the machine: halving after running out, no silent fallback, and devices recognised by their drivers' names."""

from __future__ import annotations

import time

import pytest
import torch

from ddpm_exp.memory.device import gpu_of, supports, this_machine
from ddpm_exp.memory.plan import plan
from ddpm_exp.memory.probe import Trial, probe, seconds_of, settle
from ddpm_exp.memory.search import Attempt
from ddpm_exp.ranks.full_device import release
from ddpm_exp.spec.data import Digits
from ddpm_exp.spec.errors import RunError, UserError
from ddpm_exp.spec.experiment import Experiment
from ddpm_exp.spec.hardware import GIB, Hardware, find_gpu
from ddpm_exp.spec.model import UNet
from ddpm_exp.spec.training import Training

TINY = UNet(base_channels=16, multipliers=(1, 2), blocks_per_level=1, attention_resolutions=(8,), time_embedding=32, groups=8)
HUNDRED = Experiment(data=Digits(), model=TINY, training=Training(images_per_step=100))
PLAN = plan(HUNDRED, find_gpu("T4"), device="cuda")


def reached(micro: int, peak: int | None, speed: float = 100.0) -> Attempt:
    return Attempt(micro, peak, None if peak is None else speed)


def test_a_plan_that_runs_keeps_its_micro_batch_and_learns_its_peak() -> None:
    measured = settle(HUNDRED, PLAN, 1000, lambda micro: reached(micro, micro * 10, speed=micro)).plan
    assert (measured.micro_batch, measured.accumulation) == (100, 1)
    assert (measured.source, measured.peak_bytes) == ("measured", 1000)
    assert measured.uncertainty < PLAN.uncertainty


def test_running_out_of_memory_or_of_headroom_halves_the_micro_batch_and_keeps_the_step() -> None:
    tried: list[int] = []

    def attempt(micro: int) -> Attempt:
        tried.append(micro)
        return reached(micro, None if micro > 50 else micro * 10, speed=micro)

    measured = settle(HUNDRED, PLAN, 300, attempt).plan
    assert tried == [100, 50, 25, 10]  # the last to see whether less would be as fast
    assert (measured.micro_batch, measured.accumulation, measured.images_per_step) == (25, 4, 100)


def test_a_single_image_that_does_not_fit_is_an_error() -> None:
    with pytest.raises(UserError, match="a real step with 1 image at once ran out of memory on T4"):
        settle(HUNDRED, PLAN, 1000, lambda micro: reached(micro, None))


def test_a_written_micro_batch_is_never_halved_silently() -> None:
    written = HUNDRED.but(hardware=Hardware(micro_batch=100))
    with pytest.raises(UserError, match=r"hardware\.micro_batch = 100"):
        settle(written, PLAN, 1000, lambda micro: reached(micro, None if micro > 1 else 10))


def test_a_written_micro_batch_and_that_of_a_resumed_run_take_one_attempt() -> None:
    tried: list[int] = []

    def attempt(micro: int) -> Attempt:
        tried.append(micro)
        return reached(micro, micro, speed=1000 / micro)

    written = settle(HUNDRED.but(hardware=Hardware(micro_batch=50)), PLAN, 1000, attempt)
    resumed = settle(HUNDRED, PLAN, 1000, attempt, given=20)
    assert tried == [50, 20]
    assert (written.plan.micro_batch, resumed.plan.micro_batch) == (50, 20)


def test_the_micro_batch_of_a_resumed_run_is_halved_where_it_no_longer_fits() -> None:
    assert settle(HUNDRED, PLAN, 100, lambda micro: reached(micro, micro * 10), given=20).plan.micro_batch == 10


def test_where_every_bit_counts_clocks_decide_nothing() -> None:
    exact = HUNDRED.but(hardware=Hardware(deterministic=True))
    start = PLAN.but(micro_batch=25, accumulation=4)
    for attempt in (
        lambda micro: reached(micro, micro * 10, speed=micro),
        lambda micro: reached(micro, micro * 10, speed=1 / micro),
    ):
        assert settle(exact, start, 600, attempt).plan.micro_batch == 50


def test_on_a_cpu_nothing_is_tried() -> None:
    def factory(micro: int) -> Trial:
        raise AssertionError("no step is built")

    on_cpu = plan(HUNDRED, find_gpu("cpu"), device="cpu")
    assert probe(HUNDRED, on_cpu, torch.device("cpu"), factory) is None


def test_steps_are_timed_after_one_that_tells_how_many() -> None:
    calls: list[str] = []

    def step() -> None:
        calls.append("step")
        time.sleep(0.05)

    seconds = seconds_of(step, lambda: calls.append("wait"))
    assert calls[:4] == ["wait", "step", "wait", "step"]
    assert calls[3:-1] == ["step"] * (len(calls) - 4) and calls[-1] == "wait"
    assert 14 <= len(calls) - 4 <= 17
    assert 0.05 <= seconds < 0.1


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_probe_recovers_from_running_out_and_leaves_nothing_behind() -> None:
    device = torch.device("cuda")

    def factory(micro: int) -> Trial:
        kept: list[torch.Tensor] = []

        def step() -> None:
            kept[:] = [torch.empty(1 << (50 if micro > 25 else 20), dtype=torch.uint8, device=device)]

        return Trial(step, lambda: None)

    machine, _, _ = this_machine()
    release(device)  # workspaces that other tests left
    before = torch.cuda.memory_allocated()
    probed = probe(HUNDRED, plan(HUNDRED, machine, device="cuda"), device, factory)
    assert probed is not None
    assert [one.peak_bytes is None for one in probed.found.attempts[:3]] == [True, True, False]
    assert probed.plan.micro_batch <= 25
    assert torch.cuda.memory_allocated() == before


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_an_attempt_that_leaves_memory_behind_is_an_error() -> None:
    kept: list[torch.Tensor] = []

    def factory(micro: int) -> Trial:
        def step() -> None:
            kept[:] = [torch.empty(300 << 20, dtype=torch.uint8, device="cuda")]

        return Trial(step, lambda: None)

    machine, _, _ = this_machine()
    try:
        with pytest.raises(RunError, match=r"left .* on the device"):
            probe(HUNDRED, plan(HUNDRED, machine, device="cuda"), torch.device("cuda"), factory)
    finally:
        kept.clear()
        torch.cuda.empty_cache()


@pytest.mark.parametrize(
    ("name", "gibibytes", "capability", "row"),
    [
        ("Tesla T4", 14.74, (7, 5), "T4"),
        ("Tesla V100-SXM2-16GB", 15.77, (7, 0), "V100-16"),
        ("Tesla V100-SXM2-32GB", 31.73, (7, 0), "V100-32"),
        ("NVIDIA A100-SXM4-40GB", 39.39, (8, 0), "A100-40"),
        ("NVIDIA A100 80GB PCIe", 79.25, (8, 0), "A100-80"),
        ("NVIDIA H100 80GB HBM3", 79.1, (9, 0), "H100"),
        ("NVIDIA H200", 139.72, (9, 0), "H200"),
        ("NVIDIA A10", 22.06, (8, 6), "A10"),
        ("NVIDIA A10G", 21.99, (8, 6), "A10G"),
        ("NVIDIA L4", 22.17, (8, 9), "L4"),
        ("NVIDIA GeForce RTX 3090", 23.69, (8, 6), "RTX 3090"),
        ("NVIDIA GeForce RTX 4090", 23.64, (8, 9), "RTX 4090"),
        ("NVIDIA GeForce RTX 5090", 31.37, (12, 0), "RTX 5090"),
        ("AMD Instinct MI300X", 191.98, (9, 4), "MI300X"),
    ],
)
def test_a_device_is_the_catalogues_row_with_the_bytes_it_reports(
    name: str, gibibytes: float, capability: tuple[int, int], row: str
) -> None:
    found = gpu_of(name, int(gibibytes * GIB), capability)
    assert found == find_gpu(row)._replace(usable_bytes=int(gibibytes * GIB))


def test_an_unknown_device_or_a_slice_of_one_is_described_by_itself() -> None:
    assert gpu_of("NVIDIA RTX 4000", 20 * GIB, (8, 9)).name == "NVIDIA RTX 4000"
    for other in (
        "NVIDIA L40",
        "NVIDIA GeForce RTX 4090 Laptop GPU",
        "NVIDIA GeForce RTX 4090 D",
        "NVIDIA RTX 4090X",
        "NVIDIA L4090",
    ):
        assert gpu_of(other, int(23.5 * GIB), (8, 9)).name == other
    assert gpu_of("NVIDIA GeForce RTX 3090 Ti", int(23.6 * GIB), (8, 6)).name == "NVIDIA GeForce RTX 3090 Ti"
    slice_of_a100 = gpu_of("NVIDIA A100-SXM4-40GB MIG 1g.5gb", 5 * GIB, (8, 0))
    assert (slice_of_a100.usable_bytes, slice_of_a100.best_precision) == (5 * GIB, "bf16")


def test_a_torch_build_without_kernels_for_a_device_is_recognised() -> None:
    new = ["sm_75", "sm_80", "sm_86", "sm_90", "sm_100", "sm_120"]
    assert not supports(new, (7, 0))
    assert supports(new, (7, 5))
    assert supports(new, (8, 9))
    assert not supports(["sm_90a"], (8, 0))
    assert supports(["sm_80", "compute_90"], (10, 0))


def test_this_machine_says_what_a_manifest_needs() -> None:
    gpu, device, facts = this_machine()
    assert gpu.usable_bytes > 0
    assert (device == "cuda") == torch.cuda.is_available()
    assert facts["torch"] == torch.__version__
