"""runs: what is on the disk, damaged directories included."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

from ddpm_exp.records.manifest import Manifest, Units
from ddpm_exp.records.run_directory import RunDirectory

Program = Callable[..., SimpleNamespace]


def _record(root: Path, seed: int) -> RunDirectory:
    manifest = Manifest(
        experiment="adr_0001",
        experiment_id="ADR-0001",
        science_hash="0" * 12,
        seed=seed,
        config={"training.learning_rate": 1e-3 * (seed + 1), "decision.title": f"seed {seed}"},
        units=Units(images_per_step=10, images_per_epoch=40, total_images=400),
    )
    return RunDirectory.create(root, "adr_0001", "0" * 12, seed, manifest)


def test_runs_shows_state_progress_and_last_loss(folder: Path, program: Program) -> None:
    run = _record(folder / "runs", 0)
    for images, loss in ((10, 0.9), (100, 0.5)):
        run.metrics.append(images, {"train/loss": loss})
    run.set_status("interrupted", images_seen=100)
    (row,) = json.loads(program("runs", "--json").stdout)["runs"]
    assert (row["experiment"], row["seed"], row["state"]) == ("adr_0001", 0, "interrupted")
    assert (row["progress"], row["loss"]) == (0.25, 0.5)
    line = program("runs").stdout.splitlines()[2]
    assert line.split()[:6] == ["adr_0001", "0", "interrupted", "25", "%", "0.5"]
    assert line.rstrip().endswith(str(run.path.relative_to(folder)))


def test_a_damaged_run_is_listed_as_a_problem_and_hides_no_other(folder: Path, program: Program) -> None:
    good, bad, broken_status = (_record(folder / "runs", seed) for seed in range(3))
    (bad.path / "manifest.json").write_text("{")
    (broken_status.path / "status.json").write_text("{")
    done = program("runs", "--json")
    assert done.exit_code == 0
    document = json.loads(done.stdout)
    assert {row["seed"]: row["state"] for row in document["runs"]} == {0: "running", 2: "damaged"}
    assert good.path.name in document["runs"][0]["path"]
    assert bad.path.name in document["problems"][0]["path"]
    assert "not valid JSON" in document["problems"][0]["message"]
    assert "problem: " in program("runs").stdout


def test_no_runs_yet_says_how_to_begin(folder: Path, program: Program) -> None:
    done = program("runs")
    assert (done.exit_code, done.stdout) == (0, "no runs under runs/ yet; start with: ddpm-exp run experiments/quickstart.py\n")


def test_two_runs_differ_in_their_settings_only(folder: Path, program: Program) -> None:
    a, b = _record(folder / "runs", 0), _record(folder / "runs", 1)
    changes = json.loads(program("diff", str(a.path), str(b.path), "--json").stdout)["changes"]
    assert changes == [{"path": "training.learning_rate", "before": 1e-3, "after": 2e-3}]


def test_a_corrupt_run_directory_is_one_message(folder: Path, program: Program) -> None:
    run = _record(folder / "runs", 0)
    (run.path / "manifest.json").write_text('{"schema_version": 99}')
    done = program("diff", "1", str(run.path))
    assert done.exit_code == 1
    assert done.stderr.count("error:") == 1
    assert "schema version 99" in done.stderr
    assert "Traceback" not in done.stderr
