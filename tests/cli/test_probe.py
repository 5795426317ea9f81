"""probe: a table of what was tried on a GPU; without one, an error that points to what can be said without."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from ddpm_exp.cli.output import plain
from ddpm_exp.cli.probe import show
from ddpm_exp.memory.plan import plan as make_plan
from ddpm_exp.memory.probe import settle
from ddpm_exp.memory.rows import Timing
from ddpm_exp.memory.search import Attempt
from ddpm_exp.spec.amounts import memory_bytes
from ddpm_exp.spec.data import Digits
from ddpm_exp.spec.errors import UserError
from ddpm_exp.spec.experiment import Experiment
from ddpm_exp.spec.hardware import GIB, find_gpu, gpu_names
from ddpm_exp.spec.model import UNet
from ddpm_exp.spec.training import Training
from ddpm_exp.workflow.probe_report import ProbeReport
from ddpm_exp.workflow.probing import Measured, in_one_line

Program = Callable[..., SimpleNamespace]
MIB = 2**20


def report(*, before: bool = False) -> ProbeReport:
    """Of a search with these measurements; only the device is missing."""
    network = UNet(base_channels=16, multipliers=(1, 2), blocks_per_level=1, attention_resolutions=(), groups=8)
    experiment = Experiment(data=Digits(), model=network, training=Training(images_per_step=64))
    planned = make_plan(experiment, find_gpu("T4"), device="cuda")
    tried = {
        64: Attempt(64, 14 * GIB, 3000.0, 4.0),
        32: Attempt(32, 8 * GIB, 2900.0, 3.0),
        16: Attempt(16, 5 * GIB, 2000.0, 3.0),
    }
    probed = settle(experiment, planned, int(0.9 * planned.usable_bytes), tried.__getitem__)
    return ProbeReport("ADR-0007", Measured(probed, before), planned, planned.usable_bytes, True, 10.0, 1438, 14380)


def shown(found: ProbeReport) -> str:
    from rich.console import Console

    screen = Console(file=io.StringIO(), width=150)
    show(screen, found)
    return screen.file.getvalue()  # type: ignore[attr-defined, no-any-return]


def test_the_table_says_what_was_tried_what_was_chosen_and_why() -> None:
    text = shown(report())
    for words in (
        "ADR-0007 on T4 (14.8 GiB, emulated on a larger card), fp16, 64 images per step",
        "beyond the headroom",
        "fits, chosen",
        "micro-batch 32: the fastest of 2 that fit",
        "the peak is 54% of the memory, within guide 000's band of 50% to 75%; hardware.headroom allows up to 90%",
        "0 s per epoch of 1,438 images at 2,900 images/s, 5 s for the whole training",
        "measured in 10 s; the estimate was 64 with",
        "(predicted, not measured)",
    ):
        assert words in text
    assert "probed before" not in text
    assert "probed before on this GPU" in shown(report(before=True))
    (line,) = [line for line in text.splitlines() if "chosen" in line]
    assert line.startswith("32 x 2") and "8.0 GiB" in line and "2,900" in line


def test_the_whole_run_is_told_at_the_measured_rate_with_evaluations_as_estimated() -> None:
    found = report()
    times = Timing(0.022, 2900.0, 0.5, 5.0, 60.0, 85.0, 1.9, "measured")
    assert "the whole run is estimated at 85 s (45-162)" in shown(replace(found, timing=times))
    assert "whole run" not in shown(found)
    assert json.loads(json.dumps(plain(replace(found, timing=times))))["timing"]["run_seconds"] == 85.0


def test_a_run_says_it_in_one_line() -> None:
    assert in_one_line(report(before=True).measured).startswith(
        "probed before on this GPU: micro-batch 32, 2,900 images/s, 8.00 GiB at the peak"
    )


def test_several_gpus_are_counted_in_rates_and_the_limits_of_that_are_told() -> None:
    found = report()
    probed = found.measured.probed
    two = probed.plan.but(devices=2, images_per_step=128)
    text = shown(replace(found, measured=Measured(replace(probed, plan=two), before=False)))
    assert "32 x 2 x 2 GPUs" in text and "5,800 images/s" in text and "measured on one GPU with its share" in text


def test_the_facts_are_a_document() -> None:
    facts = json.loads(json.dumps(plain(report())))
    assert facts["plan"]["source"] == "measured" and facts["predicted_not_measured"]["source"] == "estimated"
    assert [one["verdict"] for one in facts["attempts"]] == ["beyond the headroom", "fits", "fits"]
    assert facts["epoch_seconds"] == pytest.approx(1438 / 2900)
    assert {"left_bytes", "allocated_bytes", "reserved_bytes"} < facts["attempts"][0].keys()
    assert facts["probed_before"] is False and facts["emulated"] is True


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without CUDA")
@pytest.mark.parametrize("words", [(), ("--smoke",), ("--gpu", "cpu")])
def test_without_a_gpu_it_points_to_check(folder: Path, program: Program, words: tuple[str, ...]) -> None:
    done = program("probe", "1", *words)
    assert (done.exit_code, done.stdout.count("\n")) in ((2, 0), (2, 1))
    assert "there is none here that torch can use" in done.stderr
    assert "`ddpm-exp check FILE`" in done.stderr and "(predicted, not measured)" in done.stderr


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_on_a_gpu_it_measures_once_and_then_remembers(folder: Path, program: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DDPM_EXP_CACHE", str(folder / "cache"))
    first, second, anew = (json.loads(program("probe", "1", *words, "--json").stdout) for words in ((), (), ("--no-cache",)))
    assert first["plan"]["source"] == "measured" and first["images_per_second"] > 0
    assert (first["probed_before"], second["probed_before"], anew["probed_before"]) == (False, True, False)
    assert second["plan"] == first["plan"] and second["attempts"] == first["attempts"]
    assert all(one["left_bytes"] < 64 * MIB for one in first["attempts"])
    limited = json.loads(program("probe", "1", "--memory-limit", "3GiB", "--json").stdout)
    assert limited["emulated"] and not limited["probed_before"] and limited["plan"]["peak_bytes"] <= 3 * GIB
    assert torch.cuda.get_per_process_memory_fraction() == 1.0
    if (gpu := anew["plan"]["gpu"]) in gpu_names():
        (row,) = json.loads(program("check", "1", "--gpu", gpu, "--json").stdout)["checked"][0]["plans"]
        assert row["timing"]["source"] == "measured" and row["speed"]["micro_batch"] == anew["plan"]["micro_batch"]
        assert row["timing"]["images_per_second"] == pytest.approx(anew["images_per_second"])


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_run_is_held_to_the_limit_and_tells_what_it_probed(
    folder: Path, program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DDPM_EXP_CACHE", str(folder / "cache"))
    done = program("run", "1", "--memory-limit", "3GiB")
    assert done.exit_code == 0
    assert "this process gets 3.00 GiB of the GPU's memory" in done.stdout and "probed: micro-batch" in done.stdout
    again = program("run", "1", "--memory-limit", "3GiB", "--seed", "1")
    assert "probed before on this GPU: micro-batch" in again.stdout


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device with more memory than a T4")
def test_the_plan_of_check_trains_under_its_card_s_enforced_limit(
    folder: Path, program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DDPM_EXP_CACHE", str(folder / "cache"))
    (row,) = json.loads(program("check", "1", "--gpu", "T4", "--json").stdout)["checked"][0]["plans"]
    (done,) = json.loads(program("run", "1", "--gpu", "T4", "--json").stdout)["runs"]
    recorded = json.loads((Path(done["run"]) / "manifest.json").read_text())["plan"]
    assert done["state"] == "finished"
    same = ("gpu", "precision", "images_per_step", "usable_bytes")
    assert {name: recorded[name] for name in same} == {name: row["plan"][name] for name in same}
    assert recorded["source"] == "measured" and recorded["peak_bytes"] < 0.9 * recorded["usable_bytes"]


def test_a_mistake_in_the_file_or_the_limit_comes_first(folder: Path, program: Program) -> None:
    assert "training.learning_rat" in program("probe", "1", "training.learning_rat=1").stderr
    for command in ("probe", "run"):
        done = program(command, "1", "--memory-limit", "much")
        assert done.exit_code == 2
        assert done.stderr.startswith("error: --memory-limit = 'much': an amount of memory is a number and a unit")


@pytest.mark.parametrize(
    ("text", "size"),
    [("15GiB", 15 * GIB), ("15000MiB", 15000 * MIB), ("16GB", 16 * 10**9), ("14.75 gib", 14.75 * GIB), ("16106127360B", 15 * GIB)],
)
def test_amounts_of_memory_are_read_as_people_type_them(text: str, size: float) -> None:
    assert memory_bytes(text, "--memory-limit") == size


@pytest.mark.parametrize("text", ["15", "GiB", "-3GiB", "15GiBs", "1e3GiB", "", "500MiB"])
def test_other_amounts_are_refused(text: str) -> None:
    with pytest.raises(UserError, match=r"--memory-limit = "):
        memory_bytes(text, "--memory-limit")
