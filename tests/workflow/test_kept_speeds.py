"""What a probe measured makes `check`'s times sure, for the same steps on the same GPU and for nothing else."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from support.prepared import prepared_on_cpu

from ddpm_exp.cli.output import plain
from ddpm_exp.cli.time_table import time_notes
from ddpm_exp.loading.loaded import load_experiment
from ddpm_exp.memory.plan import plan as make_plan
from ddpm_exp.memory.probe import Probed, Trial, allowed, settle
from ddpm_exp.memory.rows import MEASURED_FACTOR, PlanRow, Speed, Timing
from ddpm_exp.memory.search import Attempt
from ddpm_exp.spec.condition import ClassLabels
from ddpm_exp.spec.data import Digits, ImageFolder
from ddpm_exp.spec.experiment import Experiment
from ddpm_exp.spec.hardware import GIB, Hardware, find_gpu
from ddpm_exp.spec.model import DiT, UNet
from ddpm_exp.spec.phases import Phase
from ddpm_exp.spec.plan import Plan
from ddpm_exp.spec.sampling import Sampling
from ddpm_exp.spec.training import Training
from ddpm_exp.workflow import kept_speeds, probing
from ddpm_exp.workflow.check import check
from ddpm_exp.workflow.display import Quiet
from ddpm_exp.workflow.kept_speeds import KEPT, keep, key_of, unlike, with_speed
from ddpm_exp.workflow.prepare import Machine, Prepared
from ddpm_exp.workflow.probing import measure

SMALL = UNet(base_channels=8, multipliers=(1,), blocks_per_level=1, attention_resolutions=(), time_embedding=16, groups=4)
EXPERIMENT = Experiment(data=Digits(), model=SMALL, training=Training(images_per_step=8))
H100, T4 = find_gpu("H100"), find_gpu("T4")
TRIED = {8: Attempt(8, 5 * GIB, 2000.0), 4: Attempt(4, 3 * GIB, 2876.0), 2: Attempt(2, 2 * GIB, 1000.0)}
SPEED = Speed(4, 2876.0, 3 * GIB)
GUESS = Timing(0.01, 800.0, 2.0, 200.0, 30.0, 250.0, 2.0, "predicted, not measured")


@pytest.fixture(autouse=True)
def empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DDPM_EXP_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch) -> None:
    """A GPU on which micro-batches go as in `TRIED`: the search is real, the steps are not made."""

    def tried(experiment: Experiment, plan: Plan, device: torch.device, factory: Callable[[int], Trial], **more: Any) -> Probed:
        limit = allowed(experiment, plan)
        return settle(experiment, plan, limit, TRIED.__getitem__, given=more["given"], caps=more["caps"])

    monkeypatch.setattr(probing, "probe", tried)


def on_h100(experiment: Experiment = EXPERIMENT) -> Prepared:
    """As `prepare` would on a machine with one, whose driver reports fewer bytes than the catalogue says."""
    gpu = H100._replace(usable_bytes=H100.usable_bytes - 2**20)
    machine = Machine(gpu, "cuda", {"gpu": "NVIDIA H100 80GB HBM3", "driver": "570.1"})
    return replace(prepared_on_cpu(experiment), machine=machine, plan=make_plan(experiment, gpu, device="cuda"))


def row_of(experiment: Experiment, gpu: str = "H100") -> PlanRow:
    row = find_gpu(gpu)
    return PlanRow(row, make_plan(experiment, row, device="cuda"), None, GUESS)


def times(row: PlanRow) -> Timing:
    assert row.timing is not None
    return row.timing


def test_check_s_times_stand_on_what_a_probe_measured_and_only_on_that_gpu(device: None) -> None:
    prepared = on_h100()
    h100_guess, *others = check(prepared.loaded, ["H100", "H200", "T4"]).plans
    measured = measure(prepared, Quiet())
    assert measured is not None and measured.plan.micro_batch == 4
    h100, *same = check(prepared.loaded, ["H100", "H200", "T4"]).plans
    assert h100.speed == SPEED and h100.plan == h100_guess.plan
    before, after = times(h100_guess), times(h100)
    assert (before.source, after.source, after.images_per_second) == ("counted", "measured", 2876.0)
    assert MEASURED_FACTOR < after.factor < before.factor
    images = 1438 * 100 // 8 * 8
    assert after.step_seconds == pytest.approx(8 / 2876) and after.epoch_seconds == pytest.approx(0.5)
    assert (
        after.training_seconds == pytest.approx(images / 2876, rel=1e-3) and after.evaluation_seconds == before.evaluation_seconds
    )
    rest = (before.run_seconds or 0.0) - (before.training_seconds or 0.0)
    assert after.run_seconds == pytest.approx((after.training_seconds or 0.0) + rest)
    assert same == others
    assert check(prepared.loaded, ["H100"], use_kept=False).plans == [h100]  # no estimate, and not made anew


def test_the_newest_measurement_is_the_one_that_counts() -> None:
    row = row_of(EXPERIMENT)
    assert row.plan is not None
    for speed in (SPEED, replace(SPEED, images_per_second=3000.0)):
        keep(EXPERIMENT, row.plan, speed)
    assert times(with_speed(EXPERIMENT, row)).images_per_second == 3000.0
    assert len(list(KEPT.folder.iterdir())) == 1


TRAINING = EXPERIMENT.training


OTHERS: dict[str, dict[str, Any]] = {
    "width": {"model": SMALL.but(base_channels=16)},
    "dropout": {"model": SMALL.but(dropout=0.2)},
    "condition": {"condition": ClassLabels()},
    "loss": {"diffusion": EXPERIMENT.diffusion.but(learned_variance=True)},
    "image size": {"data": Digits(image_size=16)},
    "flip": {"data": Digits(flip=True)},
    "images per step": {"training": TRAINING.but(images_per_step=16)},
    "optimizer": {"training": TRAINING.but(optimizer="muon")},
    "no average": {"training": TRAINING.but(ema_half_life=None), "sampling": Sampling(weights="raw")},
    "snapshots": {"training": TRAINING.but(ema_snapshots="10 epochs")},
    "no clipping": {"training": TRAINING.but(gradient_clip=None)},
    "tf32": {"training": TRAINING.but(tf32=True)},
    "precision": {"training": TRAINING.but(precision="fp16")},
    "micro-batch": {"hardware": Hardware(micro_batch=2)},
    "headroom": {"hardware": Hardware(headroom=0.2)},
    "devices": {"hardware": Hardware(devices=2)},
    "shard": {"hardware": Hardware(devices=2, shard=True)},
    "graph": {"hardware": Hardware(cuda_graph=False)},
    "kernels": {"hardware": Hardware(fused_kernels=False)},
    "deterministic": {"hardware": Hardware(deterministic=True)},
    "compile": {"hardware": Hardware(compile=True)},
}


@pytest.mark.parametrize("changes", OTHERS.values(), ids=OTHERS.keys())
def test_other_steps_are_not_what_was_measured(device: None, changes: Any) -> None:
    measure(on_h100(), Quiet())
    other = EXPERIMENT.but(**changes)
    assert with_speed(other, row_of(other)) == row_of(other)


def test_no_two_of_these_are_the_same_steps() -> None:
    others = [EXPERIMENT.but(**changes) for changes in OTHERS.values()]
    keys = [json.dumps(key_of(one, make_plan(one, H100, device="cuda"))) for one in (EXPERIMENT, *others)]
    assert len(set(keys)) == 1 + len(OTHERS)


@pytest.mark.parametrize(
    "changes",
    [
        {"training": TRAINING.but(learning_rate=1e-3, duration="3 epochs", gradient_clip=0.5, precision="bf16")},
        {"training": TRAINING.but(phases=(Phase(duration="1 epochs", timesteps=100),))},
        {"data": Digits(subset=40)},
        {"sampling": Sampling(sampler="heun", steps=20)},
        {"hardware": Hardware(gpu="H100", compile=False)},
    ],
    ids=["length", "phases", "fewer images", "sampling", "execution"],
)
def test_what_steps_do_not_depend_on_changes_nothing(device: None, changes: Any) -> None:
    measure(on_h100(), Quiet())
    other = EXPERIMENT.but(**changes)
    assert with_speed(other, row_of(other)).speed == SPEED


@pytest.mark.parametrize(("name", "value"), [("source_digest", "edited"), ("version_of", "9.9"), ("torch_build", "CPU")])
def test_another_package_or_torch_measures_anew(device: None, monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    measure(on_h100(), Quiet())
    monkeypatch.setattr(kept_speeds, name, lambda *_: value)
    assert with_speed(EXPERIMENT, row_of(EXPERIMENT)).speed is None


def test_images_that_come_to_a_folder_may_stay_in_files_then(tmp_path: Path) -> None:
    (tmp_path / "one.png").touch()
    folder = EXPERIMENT.but(data=ImageFolder(root=str(tmp_path), image_size=8))
    plan = make_plan(EXPERIMENT, H100, device="cuda")
    before = key_of(folder, plan)
    assert key_of(folder, plan) == before
    (tmp_path / "two.png").touch()
    assert key_of(folder, plan) != before


@pytest.mark.parametrize("what", ["emulated", "smoke", "resumed"])
def test_what_is_no_measurement_of_a_run_on_the_card_itself_is_not_kept(device: None, what: str) -> None:
    prepared, given = on_h100(), None
    if what == "emulated":
        prepared = replace(prepared, machine=replace(prepared.machine, limit_bytes=prepared.machine.gpu.usable_bytes))
    elif what == "smoke":
        prepared = replace(prepared, loaded=replace(prepared.loaded, name="test-smoke"))
    else:
        given = 2  # the run's own micro-batch, which a new run would not take
    assert measure(prepared, Quiet(), given=given) is not None
    assert not KEPT.folder.exists()


def test_a_damaged_file_or_one_of_another_form_is_ignored() -> None:
    row = row_of(EXPERIMENT)
    assert row.plan is not None
    keep(EXPERIMENT, row.plan, SPEED)
    (file,) = KEPT.folder.iterdir()
    file.write_bytes(file.read_bytes()[:-30])
    assert with_speed(EXPERIMENT, row) == row
    KEPT.keep(key_of(EXPERIMENT, row.plan), {"micro_batch": "many"})
    assert with_speed(EXPERIMENT, row) == row


def test_training_that_a_run_does_otherwise_keeps_the_estimate_s_factor() -> None:
    two = EXPERIMENT.but(hardware=Hardware(devices=2))
    row = row_of(two)
    assert row.plan is not None
    keep(two, row.plan, SPEED)
    found = with_speed(two, row)
    assert found.speed is not None and "one of 2 GPUs, without what they say to each other" in found.speed.unlike
    assert (times(found).images_per_second, times(found).factor) == (2 * 2876.0, GUESS.factor)

    dit = EXPERIMENT.but(model=DiT(width=32, depth=2, heads=2, patch=2))
    plan = make_plan(dit, H100, device="cuda")
    assert "without compiling, which a run of this length does" in unlike(dit, plan, 3600.0)
    assert unlike(dit, plan, 60.0) == "" == unlike(dit, plan, None) == unlike(EXPERIMENT, plan, 3600.0)
    assert unlike(dit.but(hardware=Hardware(compile=False)), plan, 3600.0) == "" == unlike(dit, plan.but(compile=True), 3600.0)


def test_a_reader_sees_what_was_measured_and_at_which_micro_batch() -> None:
    row, t4 = row_of(EXPERIMENT), row_of(EXPERIMENT, "T4")
    assert row.plan is not None and row.plan.micro_batch == 8
    (rest, note) = time_notes([row.measured(SPEED), t4], None)
    assert rest == "times for T4: predicted, not measured"
    assert note == (
        "times for H100: speed measured by 'ddpm-exp probe' at micro-batch 4, where the estimate took 8 (peak 3.0 GiB); "
        "evaluations estimated"
    )
    (note,) = time_notes([row.measured(Speed(8, 2000.0, 5 * GIB, "unlike"))], None)
    assert "at micro-batch 8 (peak 5.0 GiB); evaluations estimated; unlike" in note
    facts = json.loads(json.dumps(plain(row.measured(SPEED))))
    assert facts["speed"] == {"micro_batch": 4, "images_per_second": 2876.0, "peak_bytes": 3 * GIB, "unlike": ""}
    assert facts["timing"]["source"] == "measured" and facts["plan"]["micro_batch"] == 8


TOLD = """
import atexit, sys
atexit.register(lambda: print("torch" in sys.modules, file=sys.stderr))
from ddpm_exp.cli.main import main
main()
"""

FILE = '''"""A small one."""
from ddpm_exp import Digits, Experiment, Training, UNet


class Small(Experiment):
    """A small one."""

    data = Digits()
    model = UNet(base_channels=8, multipliers=(1,), blocks_per_level=1, attention_resolutions=(), time_embedding=16, groups=4)
    training = Training(images_per_step=8)
'''


def test_a_check_from_the_cache_takes_the_measurement_without_torch(device: None, tmp_path: Path) -> None:
    file = tmp_path / "small.py"
    file.write_text(FILE)
    loaded = load_experiment(file)
    check(loaded, ["H100"])
    measure(replace(on_h100(loaded.experiment), loaded=loaded), Quiet())
    command = [sys.executable, "-c", TOLD, "check", str(file), "--gpu", "H100"]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "COLUMNS": "200"}, timeout=60, check=True)
    (row,) = (line for line in done.stdout.splitlines() if "2,876" in line)
    assert "1.2" in row and "H100: speed measured by 'ddpm-exp probe' at micro-batch 4, where the estimate took 8" in done.stdout
    assert done.stderr.split() == ["False"]
