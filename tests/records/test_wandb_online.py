"""Online, against a loopback server; and what happens where W&B is down, absent or broken. The client is the real one."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image
from support.records_setup import make_run
from support.wandb_log import read_log
from support.wandb_server import WandbServer, serving

from ddpm_exp.records.run_directory import RunDirectory

# In a process of its own: the client keeps its login and its server for the life of a process.
RECORD = """
import json, os, sys, time
from pathlib import Path
from ddpm_exp.records.run_directory import RunDirectory
from ddpm_exp.records.wandb_sink import build_sink
from ddpm_exp.spec.tracking import Tracking
run = RunDirectory.open(sys.argv[1])
warnings = []
sink = build_sink(Tracking(), online=sys.argv[2] == "online", warn=warnings.append)
sink.start(run.manifest, run.path)
for images in map(int, sys.argv[3].split(",")):
    sink.log(images, {"val/denoising": 1 / (1 + images)})
if (run.samples / "grid.png").exists():
    sink.image("samples/grid", run.samples / "grid.png", 8, "grid")
sink.summary({"outcome": "accepted"})
sink.artifact(run.record())
where = sink.where
sink.finish(0)
print(json.dumps({"warnings": warnings, "where": where}))
"""


def record(run: RunDirectory, how: str, points: str = "0,8", **environment: str) -> dict[str, object]:
    """Record a small run in a new process; its warnings, where it is to be seen and what the client printed."""
    import os

    words = [sys.executable, "-c", RECORD, str(run.path), how, points]
    done = subprocess.run(words, env={**os.environ, **environment}, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    assert done.returncode == 0, done.stderr
    *printed, last = (done.stderr + done.stdout).splitlines()
    answer: dict[str, object] = json.loads(last)
    return {**answer, "printed": printed}


@pytest.fixture
def server() -> Iterator[WandbServer]:
    with serving() as state:
        yield state


def access(server: WandbServer) -> dict[str, str]:
    """The environment of a user who is logged in there."""
    return {"WANDB_BASE_URL": server.url, "WANDB_API_KEY": "a" * 40}


def test_online_sends_config_history_pictures_summary_and_the_record(run: RunDirectory, server: WandbServer) -> None:
    Image.new("L", (16, 16)).save(run.samples / "grid.png")
    answer = record(run, "online", **access(server))
    assert answer["warnings"] == [] and str(answer["where"]).startswith("http")
    assert answer["printed"] == []  # a live display owns the terminal
    (served,) = server.runs.values()
    assert (served.state, served.exit_code) == ("finished", 0)
    assert served.config["training.learning_rate"] == 1e-3
    assert served.said["groupName"] == "adr_0002-0123456789ab" and served.said["jobType"] == "variant"
    assert [(row["images"], row["val/denoising"]) for row in served.history[:2]] == [(0, 1.0), (8, 1 / 9)]
    assert served.summary["outcome"] == "accepted"
    assert any("media/images/samples/grid" in name for name in server.files)
    (artifact,) = server.artifacts.values()
    assert artifact["type"] == "decision-record" and "manifest.json" in artifact["files"] and artifact["state"] == "COMMITTED"
    assert not any(name.endswith("wandb-metadata.json") for name in server.files)
    # A resumed run goes on in the same place.
    record(run, "online", "16", **access(server))
    assert len(server.runs) == 1 and [row["images"] for row in served.history if "val/denoising" in row] == [0, 8, 16]


def test_an_agents_run_id_sweep_and_mode_are_taken_over(run: RunDirectory, server: WandbServer) -> None:
    agents = {"WANDB_RUN_ID": "given1", "WANDB_SWEEP_ID": "sweep1", "WANDB_PROJECT": "swept", "WANDB_ENTITY": "team"}
    answer = record(run, "as the environment says", **access(server), **agents)
    assert answer["warnings"] == []
    (served,) = server.runs.values()
    assert (served.name, served.project, served.said["sweep"]) == ("given1", "swept", "sweep1")
    assert served.summary["val/denoising"] == pytest.approx(1 / 9)


def test_an_offline_sweep_keeps_its_ids_for_a_later_sync(run: RunDirectory) -> None:
    answer = record(run, "as the environment says", WANDB_MODE="offline", WANDB_RUN_ID="given2", WANDB_SWEEP_ID="sweep2")
    assert answer["warnings"] == [] and answer["printed"] == []
    logged = read_log(run.path).run
    assert (logged["run_id"], logged["sweep_id"]) == ("given2", "sweep2")


def test_a_server_that_is_down_means_offline_after_one_warning(run: RunDirectory) -> None:
    with socket.socket() as closed:  # bound but never listening: connections are refused
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}"
        answer = record(run, "online", WANDB_BASE_URL=url, WANDB_API_KEY="a" * 40)
    (warning,) = answer["warnings"]  # type: ignore[misc]
    assert url in warning and "offline" in warning and "a" * 40 not in warning
    assert str(answer["where"]).startswith("wandb sync")
    assert [row["images"] for row in read_log(run.path).history if "images" in row] == [0, 8]


def test_nobody_logged_in_means_offline_after_one_warning_and_no_question(run: RunDirectory, server: WandbServer) -> None:
    answer = record(run, "online", WANDB_BASE_URL=server.url)
    (warning,) = answer["warnings"]  # type: ignore[misc]
    assert "wandb login" in warning and server.runs == {}
    assert read_log(run.path).of("exit")[0]["exit_code"] == 0


@pytest.mark.parametrize(
    "environment",
    [
        {"WANDB_BASE_URL": "not a url", "WANDB_API_KEY": "a" * 40, "WANDB_MODE": "online"},
        {"WANDB_BASE_URL": "not a url", "WANDB_MODE": "offline"},
    ],
)
def test_settings_that_the_client_refuses_cost_one_warning(run: RunDirectory, environment: dict[str, str]) -> None:
    assert len(record(run, "as the environment says", **environment)["warnings"]) == 1  # type: ignore[arg-type]


def test_a_missing_client_costs_one_warning(run: RunDirectory, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    (broken / "wandb").mkdir(parents=True)
    (broken / "wandb" / "__init__.py").write_text("raise ImportError('no module named wandb')\n")
    answer = record(run, "as the environment says", PYTHONPATH=str(broken))
    (warning,) = answer["warnings"]  # type: ignore[misc]
    assert "W&B is off" in warning and "no module named wandb" in warning


def test_a_folder_that_cannot_be_written_costs_one_warning_at_most(run: RunDirectory) -> None:
    (run.path / "wandb").write_text("a file where the client wants a folder")
    assert len(record(run, "as the environment says")["warnings"]) <= 1  # type: ignore[arg-type]


def test_a_killed_run_has_its_last_seconds_on_disk(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    script = RECORD.split("if (run.samples")[0] + "print('logged', flush=True)\ntime.sleep(60)\n"
    child = subprocess.Popen([sys.executable, "-c", script, str(run.path), "offline", "0,8"], stdout=subprocess.PIPE)
    try:
        assert child.stdout is not None and child.stdout.readline() == b"logged\n"
        late = time.monotonic() + 8.0  # well under the client's own 15 s between flushes
        while time.monotonic() < late and len(read_log(run.path).history) < 2:
            time.sleep(0.2)
    finally:
        child.kill()
        child.communicate()
    assert [row["images"] for row in read_log(run.path).history] == [0, 8]
