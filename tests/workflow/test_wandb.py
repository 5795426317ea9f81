"""A tracked run copies to W&B, offline inside its own directory, everything that its record says, and no secret."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.tiny_experiment import Watching, write_variant
from support.wandb_log import read_log

from ddpm_exp.loading.loaded import load_experiment
from ddpm_exp.records.run_directory import RunDirectory
from ddpm_exp.workflow.options import RunOptions
from ddpm_exp.workflow.run import run_seed

SECRET = "sk-4f1c9be07a2d45d8b3e6"


def test_an_offline_run_holds_config_history_pictures_criteria_and_record(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_API_KEY", SECRET)
    source = write_variant(folder / "experiments", f"seeds=(0, 1), context='the key is {SECRET}'")
    loaded = load_experiment(source, ("tracking.wandb=offline",))
    display = Watching()
    done = run_seed(loaded, 0, RunOptions(command_line=("ddpm-exp", "run", SECRET)), display)
    run = RunDirectory.open(done.run)
    assert f"W&B: wandb sync {done.run / 'wandb'}" in display.text
    log = read_log(done.run / "wandb")

    assert log.run["run_group"] == f"adr_0002-{run.manifest.science_hash}"
    assert log.run["job_type"] == "variant"
    config = log.run["config"]["update"]
    assert {key: config.get(key) for key in run.manifest.config} == run.manifest.config
    assert (config["seed"], config["baseline_id"], config["training.learning_rate"]) == (0, "ADR-0001", 3e-3)
    assert config["diff"]["training.learning_rate"] == [1e-3, 3e-3]

    def history(name: str) -> dict[int, float]:
        return {int(item["images"]): item[name] for item in log.history if name in item}

    for name in ("train/loss", "val/denoising", "train/learning_rate", "speed/images_per_second"):
        assert history(name) == pytest.approx(dict(run.metrics.series(name))), name
    for name in ("samples", "reconstructions"):
        pictures = {int(item["images"]): item[f"{name}.path"] for item in log.history if f"{name}.path" in item}
        assert sorted(pictures) == [0, 48, 96]
        for images, path in pictures.items():
            (copied,) = done.run.glob(f"wandb/offline-run-*/files/{path}")
            assert copied.read_bytes() == (run.samples / f"{name}-{images:010d}.png").read_bytes()

    assert log.summary["verdict"] == "inconclusive"
    assert log.summary["criteria/1"].startswith("val/denoising <= 1e+06")
    assert log.summary["final/val/denoising"] == run.metrics.last("val/denoising")
    (artifact,) = log.of("artifact")
    assert {entry["path"] for entry in artifact["manifest"]["contents"]} == {
        "adr.md",
        "manifest.json",
        "adr_0001.py",
        "adr_0002.py",
    }
    assert SECRET in source.read_text()
    for path in done.run.rglob("*"):
        assert not path.is_file() or SECRET.encode() not in path.read_bytes(), path
