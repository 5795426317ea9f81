"""Estimated times: counted as torch counts, within the stated factor of what is on record, and silent where nothing is known."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from ddpm_exp.data.examples import Examples
from ddpm_exp.evaluation.asked import ask
from ddpm_exp.loading.loaded import load_experiment
from ddpm_exp.memory import counting
from ddpm_exp.memory.counting import updated_by, work_of
from ddpm_exp.memory.evaluating import asked_by, costs_at_end
from ddpm_exp.memory.kernels import kernels_of
from ddpm_exp.memory.plan import plan
from ddpm_exp.memory.rows import Timing
from ddpm_exp.memory.timing import FACTORS, RATES, pass_seconds, timing, update_seconds
from ddpm_exp.models.build import build_network
from ddpm_exp.spec.condition import ClassLabels, Unconditional
from ddpm_exp.spec.data import CIFAR10, Digits, ImageFolder
from ddpm_exp.spec.evaluation import FD, FID, Evaluation
from ddpm_exp.spec.experiment import Experiment
from ddpm_exp.spec.hardware import Gpu, Hardware, find_gpu
from ddpm_exp.spec.model import DiT, EncoderDecoder, UNet
from ddpm_exp.spec.sampling import Sampling
from ddpm_exp.spec.training import Training

ROOT = Path(__file__).parents[2]
TINY = UNet(base_channels=16, multipliers=(1, 2), blocks_per_level=1, attention_resolutions=(), time_embedding=32, groups=8)
SMALL = Experiment(data=Digits(), model=TINY, training=Training(images_per_step=64, duration="100 epochs"))


def timed(experiment: Experiment, gpu: Gpu | str, **more: Any) -> Timing:
    row = find_gpu(gpu) if isinstance(gpu, str) else gpu
    found = timing(experiment, row, plan(experiment, row, device="cuda"), **more)
    assert found is not None
    return found


@pytest.mark.parametrize("fused", [True, False], ids=["fused", "op by op"])
@pytest.mark.parametrize(
    ("model", "attention"),
    [(EncoderDecoder(hidden_dim=16, time_emb_dim=16), 0), (TINY, 7 * 2 * 16**2 * 32)],
    ids=["encoder-decoder", "unet"],
)
def test_operations_are_what_torch_counts_in_a_real_step(model: Any, attention: int, fused: bool) -> None:
    """But for attention, which torch's counter misses on a CPU: 7 products of 16 x 16 pixels x 32 channels in the middle."""
    network = build_network(model, (), (1, 8, 8))
    with FlopCounterMode(display=False) as real:
        network(torch.randn(3, 1, 8, 8), torch.rand(3), None).sum().backward()
    work = work_of(SMALL.but(model=model), kernels_of(find_gpu("H100"), "bf16", fused_norms=fused), "training")
    assert 3 * (work.flops - attention) == real.get_total_flops()


def test_weights_are_moved_once_whatever_their_width_and_the_images() -> None:
    kernels = kernels_of(find_gpu("H100"), "bf16", fused_norms=True)

    def moved(width: int) -> tuple[float, float]:
        work = work_of(SMALL.but(model=TINY.but(base_channels=width)), kernels, "training")
        return work.moved, sum(kernel.moved_once * count for kernel, count in work.kernels)

    (narrow, narrow_once), (wide, wide_once) = moved(96), moved(104)  # a multiple of 13
    assert narrow < wide < 1.12 * narrow and narrow_once < wide_once < 1.25 * narrow_once


@pytest.mark.parametrize(
    "changes",
    [
        {"model": DiT(width=32, depth=2, heads=2, patch=2)},
        {"model": TINY.but(checkpointing=True)},
        {"model": TINY, "condition": ClassLabels()},
    ],
    ids=["dit", "checkpointing", "classes"],
)
def test_other_networks_are_counted_too(changes: Any) -> None:
    work = work_of(SMALL.but(**changes), kernels_of(find_gpu("T4"), "fp16", fused_norms=True), "training")
    assert work.flops > 0 and work.moved > 0 and work.launches > 50
    assert all(kernel.half for kernel, _ in work.kernels if kernel.flops > 1e5)


def test_recomputing_activations_computes_most_of_the_forward_pass_again() -> None:
    kernels = kernels_of(find_gpu("H100"), "bf16", fused_norms=True)
    plain, again = (work_of(SMALL.but(model=TINY.but(checkpointing=on)), kernels, "training").flops for on in (False, True))
    forward = work_of(SMALL, kernels, "sampling").flops
    # Torch stops as soon as it has what it needs, so that a block's last convolution is not among it.
    assert plain + 0.5 * forward < again < plain + forward


def test_every_recorded_speed_is_within_the_stated_factor_of_the_estimate() -> None:
    record = json.loads((ROOT / "benchmarks/results/time_estimates.json").read_text())
    assert record["rates"] == RATES._asdict() and record["factors"] == FACTORS
    assert len(record["cases"]) >= 20
    for case in record["cases"]:
        if case["fitted"]:
            assert 1 / FACTORS["counted"] < case["estimated_milliseconds"] / case["measured_milliseconds"] < FACTORS["counted"]
    for run in record["whole_runs"]:
        assert 1 / FACTORS["counted"] < run["estimated_seconds"] / run["measured_seconds"] < FACTORS["counted"]
    # The record is of this code: one of its cases again.
    (case,) = (row for row in record["cases"] if row["record"] == "scaling_h100.json")
    e, h100 = load_experiment(ROOT / "benchmarks/ddpm_cifar10.py").experiment, find_gpu("H100")
    work = work_of(e, kernels_of(h100, "bf16", fused_norms=True), "training")
    seconds = pass_seconds(work, h100, case["images"], captured=True) + update_seconds(updated_by(e), h100, half=True)
    assert 1000 * seconds == pytest.approx(case["estimated_milliseconds"], rel=0.01)


def test_the_whole_run_is_training_evaluations_and_a_start() -> None:
    found = timed(SMALL, "H100")
    images = SMALL.training.images(SMALL.training.duration, 1438)
    assert found.training_seconds == pytest.approx(images / found.images_per_second)
    assert found.epoch_seconds == pytest.approx(1438 / found.images_per_second)
    assert found.evaluation_seconds is not None and found.run_seconds is not None and found.training_seconds is not None
    assert found.run_seconds > found.training_seconds + found.evaluation_seconds
    longer = timed(SMALL.but(training=SMALL.training.but(duration="200 epochs")), "H100")
    assert longer.training_seconds == pytest.approx(2 * found.training_seconds, rel=0.01)
    with_fid = timed(SMALL.but(evaluation=Evaluation(fid=FID(images=5000))), "H100")
    assert with_fid.evaluation_seconds is not None and with_fid.evaluation_seconds > found.evaluation_seconds


def test_only_gpus_that_rates_were_fitted_to_have_the_small_factor() -> None:
    assert (timed(SMALL, "H100").source, timed(SMALL, "H200").source) == ("counted", "counted")
    for name in ("T4", "V100-16", "A100-40", "RTX 4090"):
        found = timed(SMALL, name)
        assert (found.source, found.factor) == ("predicted, not measured", FACTORS["predicted, not measured"])
    fp32 = SMALL.but(training=SMALL.training.but(precision="fp32"))
    assert timed(fp32, "H100").source == "predicted, not measured"
    assert timed(SMALL, "MI300X").factor > timed(SMALL, "T4").factor > timed(SMALL, "H100").factor


def test_a_measured_speed_replaces_the_estimate() -> None:
    guessed, found = timed(SMALL, "T4"), timed(SMALL, "T4", images_per_second=1438.0)
    assert (found.source, found.epoch_seconds, found.images_per_second) == ("measured", 1.0, 1438.0)
    assert FACTORS["measured"] < found.factor < guessed.factor and found.evaluation_seconds == guessed.evaluation_seconds
    training, run = found.training_seconds or 0.0, found.run_seconds or 0.0
    assert run - training == pytest.approx((guessed.run_seconds or 0.0) - (guessed.training_seconds or 0.0))
    assert found.factor == pytest.approx((1.1 * training + guessed.factor * (run - training)) / run)


@pytest.mark.parametrize("as_run", [True, False])
def test_an_estimate_put_at_a_measured_speed_is_what_that_speed_is_timed_as(as_run: bool) -> None:
    folder = SMALL.but(data=ImageFolder(root="nowhere", image_size=8))
    for e in (SMALL, folder):
        later, at_once = timed(e, "T4").at_speed(1438.0, as_run=as_run), timed(e, "T4", images_per_second=1438.0, as_run=as_run)
        assert dataclasses.asdict(later) == pytest.approx(dataclasses.asdict(at_once))
    assert later.factor == (FACTORS["measured"] if as_run else timed(folder, "T4").factor) and later.run_seconds is None


def test_faster_gpus_captured_steps_and_more_devices_never_take_longer() -> None:
    slow = Gpu("slow", 16 * 2**30, (8, 0), 10.0, 50.0, 300.0)
    for faster in ({"half_tflops": 100.0}, {"bandwidth_gbs": 600.0}):
        assert timed(SMALL, slow._replace(**faster)).step_seconds <= timed(SMALL, slow).step_seconds  # type: ignore[arg-type]
    eager = SMALL.but(hardware=Hardware(cuda_graph=False))
    assert timed(eager, "H100").step_seconds > 2 * timed(SMALL, "H100").step_seconds
    wide = SMALL.but(model=TINY.but(base_channels=128, multipliers=(1, 2)), training=Training(images_per_step=4096))
    two = wide.but(hardware=Hardware(devices=2))
    assert timed(wide, "H100").images_per_second < timed(two, "H100").images_per_second <= 2 * timed(wide, "H100").images_per_second


def test_what_nobody_can_know_is_left_blank() -> None:
    cpu = find_gpu("cpu")
    assert timing(SMALL, cpu, plan(SMALL, cpu, device="cpu")) is None
    unknown = Gpu("found", 16 * 2**30, (8, 0), 0.0, 0.0, 0.0)
    assert timing(SMALL, unknown, plan(SMALL, unknown, device="cuda")) is None
    folder = SMALL.but(data=ImageFolder(root="nowhere", image_size=8))
    found = timed(folder, "T4")
    assert found.images_per_second > 0 and (found.epoch_seconds, found.run_seconds) == (None, None)
    steps = folder.but(
        training=SMALL.training.but(duration="100 steps", checkpoint_every="50 steps"), evaluation=Evaluation(every="50 steps")
    )
    assert timed(steps, "T4").run_seconds is not None


@pytest.mark.parametrize("samples", [0, 203])
@pytest.mark.parametrize("condition", [Unconditional(), ClassLabels()], ids=["nothing", "classes"])
def test_as_many_samples_are_reckoned_as_evaluation_draws(condition: Any, samples: int) -> None:
    e = SMALL.but(condition=condition, evaluation=Evaluation(samples=samples, classifier=False))
    labels = torch.arange(20) % 10
    some = Examples(torch.zeros(20, 1, 8, 8, dtype=torch.uint8), labels, tuple(map(str, range(10))))
    drawn = ask(condition, some, some, samples=samples, columns=e.evaluation.grid_columns)
    assert asked_by(e, 3).samples == len(drawn)


def test_second_order_samplers_and_guidance_ask_twice() -> None:
    heun = asked_by(SMALL.but(sampling=Sampling(sampler="heun", steps=20)), 1)
    guided = SMALL.but(condition=ClassLabels(), sampling=Sampling(guidance_scale=2.0))
    assert heun.asks == 39 and heun.copies == 1
    assert asked_by(guided, 1).copies == 2


def test_a_network_is_counted_once_for_all_gpus_with_the_same_kernels() -> None:
    counting._count.cache_clear()
    for name in ("T4", "A100-40", "RTX 4090", "H100"):
        timed(SMALL, name)
    assert counting._count.cache_info().misses == 2  # training and sampling
    timed(SMALL, "V100-16")  # without the fused kernels
    assert counting._count.cache_info().misses == 4


def test_distances_at_the_end_of_a_run_are_part_of_its_time() -> None:
    plain = Experiment(data=CIFAR10())
    both = plain.but(evaluation=Evaluation(fd=FD(images=3000), fid=FID(images=1000)))
    assert (asked_by(plain, 2).at_end, asked_by(plain, 2).feature_flops) == (0, 0)
    assert asked_by(both, 2).at_end == 4000
    assert asked_by(both, 2).feature_flops == pytest.approx(51_000 * 11.4e9 + 16_000 * 0.25e9)
    assert costs_at_end(plain) == ()
    assert costs_at_end(both)[1] == "evaluation.fd draws 3,000 images at the end of a run, 150,000 network calls"
