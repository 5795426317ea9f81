"""The shipped decision runs from end to end on a CPU, on its own data."""

from __future__ import annotations

from pathlib import Path

import pytest

from ddpm_exp.loading.loaded import load_experiment
from ddpm_exp.workflow.display import Quiet
from ddpm_exp.workflow.options import RunOptions
from ddpm_exp.workflow.run import run_seed

EXPERIMENTS = Path(__file__).parents[2] / "experiments"
DEBIAN = Path("/usr/share/datasets/fashion-mnist")


@pytest.mark.system
@pytest.mark.skipif(not DEBIAN.is_dir(), reason="needs the Debian package dataset-fashion-mnist")
def test_guide_004s_decision_runs_small_on_a_cpu(tmp_path: Path) -> None:
    loaded = load_experiment(EXPERIMENTS / "adr_0002.py", ["tracking.wandb=off", "evaluation.classifier=false"])
    done = run_seed(loaded, 0, RunOptions(root=tmp_path, smoke=True), Quiet())
    assert done.state == "finished" and done.run.is_relative_to(tmp_path / "adr_0002-smoke")
    assert {"val/denoising", "samples/coherence", "samples/prompt_distance"} <= done.values.keys()
    assert len(done.pictures) == 2 and (done.run / "adr.md").is_file()
