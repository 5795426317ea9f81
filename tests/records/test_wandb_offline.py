"""What an offline W&B run holds, read back from its transaction log; one run serves all."""

from __future__ import annotations

import math
import time
from pathlib import Path

import pytest
from PIL import Image
from support.records_setup import make_run
from support.wandb_log import TransactionLog, read_log

from ddpm_exp.records.run_directory import RunDirectory
from ddpm_exp.records.wandb_sink import WandbSink, build_sink
from ddpm_exp.spec.tracking import Tracking


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> tuple[RunDirectory, TransactionLog, list[str], str | None]:
    """A whole offline run: the directory, its log, the warnings and where it is to be seen."""
    run = make_run(tmp_path_factory.mktemp("runs"))
    warnings: list[str] = []
    sink = build_sink(Tracking(project="digits", tags=("night",)), warn=warnings.append)
    sink.start(run.manifest, run.path)
    sink.log(0, {"val/denoising": 0.5})
    sink.log(8, {"train/loss": 0.25, "val/denoising": math.inf})
    grid = run.samples / "000000000008.png"
    Image.new("L", (40, 16), 128).save(grid)
    sink.image("samples/grid", grid, 8, "digits 0 to 9")
    sink.summary({"criteria/val/denoising falls": "holds", "outcome": "accepted", "effect": math.nan})
    run.write_text("adr.md", "# Faster convergence\n")
    sink.artifact([*run.record(), run.path / "missing.txt"])
    where = sink.where
    sink.finish(0)
    return run, read_log(run.path), warnings, where


Recorded = tuple[RunDirectory, TransactionLog, list[str], str | None]


def test_the_config_has_flat_dotted_keys_and_the_diff_to_the_baseline(recorded: Recorded) -> None:
    config = recorded[1].run["config"]["update"]
    assert config["training.learning_rate"] == 1e-3 and config["model.multipliers"] == [1, 2]
    assert config["science_hash"] == "0123456789ab" and config["seed"] == 3 and config["baseline_id"] == "ADR-0001"
    assert config["diff"] == {"training.learning_rate": [2e-4, 1e-3]}


def test_runs_of_one_science_are_one_group_and_arms_are_job_types(recorded: Recorded) -> None:
    run = recorded[1].run
    assert run["run_group"] == "adr_0002-0123456789ab"
    assert run["job_type"] == "variant"
    assert run["tags"] == ["night", "ADR-0002"] and run["project"] == "digits"
    assert run["run_id"] == f"0123456789ab-{recorded[0].id}"


def test_history_is_over_images_seen(recorded: Recorded) -> None:
    log = recorded[1]
    rows = [(row["images"], row.get("train/loss"), row.get("val/denoising")) for row in log.history]
    assert rows[0] == (0, None, 0.5)
    assert rows[1][:2] == (8, 0.25)
    metrics = log.of("metric")
    assert {"name": "images", "options": {"defined": True}} in metrics
    assert any(metric.get("glob_name") == "*" and metric.get("step_metric") == "images" for metric in metrics)


def test_the_grid_is_an_image_with_its_caption(recorded: Recorded) -> None:
    run, log = recorded[:2]
    row = log.history[-1]
    assert row["samples/grid._type"] == "image-file" and row["samples/grid.caption"] == "digits 0 to 9"
    assert (row["samples/grid.width"], row["samples/grid.height"], row["images"]) == (40, 16, 8)
    (media,) = run.path.glob("wandb/offline-run-*/files/" + row["samples/grid.path"])
    assert Image.open(media).getpixel((3, 3)) == 128


def test_the_summary_has_the_criteria(recorded: Recorded) -> None:
    summary = recorded[1].summary
    assert summary["criteria/val/denoising falls"] == "holds" and summary["outcome"] == "accepted" and summary["effect"] == "nan"


def test_page_manifest_and_sources_are_one_artifact_read_from_where_they_lie(recorded: Recorded) -> None:
    run, log = recorded[:2]
    (artifact,) = log.of("artifact")
    assert artifact["type"] == "decision-record"
    contents = {entry["path"]: entry["local_path"] for entry in artifact["manifest"]["contents"]}
    assert set(contents) == {"adr.md", "manifest.json", "adr_0001.py", "adr_0002.py"}
    assert all(Path(path).is_relative_to(run.path) for path in contents.values())


def test_git_code_and_the_names_of_host_and_user_stay_out(recorded: Recorded) -> None:
    run, log = recorded[:2]
    assert not {"git", "host", "program"} & log.run.keys()
    assert not log.of("environment")
    files = [path.name for path in run.path.glob("wandb/offline-run-*/files/*")]
    assert files == ["media"]


def test_it_ends_with_its_exit_code_without_a_warning_and_says_how_to_send_it(recorded: Recorded) -> None:
    run, log, warnings, where = recorded
    assert log.of("exit")[0]["exit_code"] == 0 and warnings == []
    assert where is not None and where.startswith("wandb sync ") and Path(where.split()[-1]).is_relative_to(run.path)


def test_everything_of_wandb_lies_inside_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run = make_run(tmp_path / "runs")
    sink = WandbSink(Tracking(), "offline", lambda sentence: None)
    sink.start(run.manifest, run.path)
    sink.artifact(run.record())
    sink.finish()
    assert [path.name for path in tmp_path.iterdir()] == ["runs"]
    assert "wandb" in [path.name for path in run.path.iterdir()]


def test_a_run_that_broke_off_is_not_mistaken_for_the_next_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = make_run(tmp_path), make_run(tmp_path)
    broken, sink = (WandbSink(Tracking(), "offline", lambda sentence: None) for _ in range(2))
    broken.start(first.manifest, first.path)
    monkeypatch.setenv("WANDB_RUN_ID", "given3")
    sink.start(second.manifest, second.path)
    sink.log(8, {"train/loss": 1.0})
    sink.finish()
    broken.finish()
    log = read_log(second.path)
    assert [row["images"] for row in log.history] == [8]
    assert log.run["run_id"] == "given3"  # the environment's id is taken where it gives one


def test_a_resumed_run_keeps_its_wandb_id(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    for images in (8, 16):
        while list(run.path.glob(f"wandb/offline-run-{time.strftime('%Y%m%d_%H%M%S')}-*")):
            time.sleep(0.05)  # the client names folders by the second
        sink = WandbSink(Tracking(), "offline", lambda sentence: None)
        sink.start(run.manifest, run.path)
        sink.log(images, {"train/loss": 1.0})
        sink.finish()
    logs = [read_log(folder) for folder in sorted(run.path.glob("wandb/offline-run-*"))]
    assert {log.run["run_id"] for log in logs} == {f"0123456789ab-{run.id}"}
    assert [row["images"] for log in logs for row in log.history] == [8, 16]
