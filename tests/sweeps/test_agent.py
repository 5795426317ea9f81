"""W&B's own agent runs two trials of the shipped sweep file against a loopback server."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
import yaml
from support.wandb_server import serving

from ddpm_exp.records.catalog import find_runs

ROOT = Path(__file__).parents[2]


def test_the_agent_runs_two_trials_that_report_their_metric(tmp_path: Path, nobodys_wandb: dict[str, str]) -> None:
    sweep = yaml.safe_load((ROOT / "sweeps" / "learning_rate.yaml").read_text())
    sweep["command"][2] = str(ROOT / sweep["command"][2])
    sweep["command"].append("--smoke")  # the same way through everything, small
    (tmp_path / "sweep.yaml").write_text(yaml.safe_dump(sweep))

    with serving() as server:
        access = {"WANDB_BASE_URL": server.url, "WANDB_API_KEY": "a" * 40}

        def wandb(*words: str) -> str:
            environment = {**nobodys_wandb, **access}
            done = subprocess.run(["wandb", *words], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=240)
            assert done.returncode == 0, done.stdout + done.stderr
            return done.stdout + done.stderr

        printed = wandb("sweep", "-e", "team", "sweep.yaml")
        found = re.search(r"wandb agent (\S+)", printed)
        assert found is not None, printed
        wandb("agent", "--count", "2", found[1])
        (kept,) = server.sweeps.values()
        assert len(kept.trials) == 2
        for name, values in kept.trials.items():
            run = server.runs[name]
            assert (run.state, run.project, run.said["sweep"]) == ("finished", "ddpm-exp", kept.name)
            assert run.config["training.learning_rate"] == pytest.approx(values["training.learning_rate"])
            assert run.summary["val/denoising"] > 0

    recorded = find_runs(tmp_path / "runs").runs
    rates = sorted(run.manifest.config["training.learning_rate"] for run in recorded)
    assert rates == pytest.approx(sorted(values["training.learning_rate"] for values in kept.trials.values()))
    assert [run.status().state for run in recorded] == ["finished", "finished"]
