"""Every shipped experiment runs small on a CPU, from end to end, on its own data."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from ddpm_exp.loading.loaded import load_experiment
from ddpm_exp.spec.data import FashionMNIST
from ddpm_exp.training.trainer import Trainer
from ddpm_exp.workflow.display import Quiet
from ddpm_exp.workflow.options import RunOptions
from ddpm_exp.workflow.run import Outcome, run_seed

EXPERIMENTS = Path(__file__).parents[2] / "experiments"
DEBIAN = Path("/usr/share/datasets/fashion-mnist")

EVERYWHERE = ("quickstart", "wine_table", "waves_sequence", "outlines_points")
"""On data that come with the program."""

SHARDS = "cifar10_shards"
HERE = Path(__file__).parents[3] / "shared" / "data" / "cifar10-jpeg"

FASHION = tuple(sorted({path.stem for path in EXPERIMENTS.glob("*.py")} - {*EVERYWHERE, SHARDS}))


def _smoke(name: str, root: Path, *overrides: str) -> Outcome:
    loaded = load_experiment(EXPERIMENTS / f"{name}.py", ["tracking.wandb=off", *overrides])
    assert isinstance(loaded.experiment.data, FashionMNIST) == (name in FASHION)
    done = run_seed(loaded, 0, RunOptions(root=root, smoke=True), Quiet())
    assert done.state == "finished" and done.run.is_relative_to(root / f"{name}-smoke")
    assert done.pictures and (done.run / "adr.md").is_file()
    decision = loaded.experiment.decision
    if decision is None:
        return done
    judged = {criterion.metric for criterion in (*decision.accept_when, *decision.reject_when)}
    without_judge = {"samples/class_accuracy"} if "evaluation.classifier=false" in overrides else set()
    assert judged - without_judge <= done.values.keys(), "every number that the verdict needs is measured"
    return done


@pytest.mark.parametrize("name", EVERYWHERE)
def test_experiments_on_embedded_data_run_small_on_a_cpu(name: str, tmp_path: Path) -> None:
    _smoke(name, tmp_path)


@pytest.mark.system
@pytest.mark.skipif(not HERE.is_dir(), reason="needs CIFAR-10 as WebDataset shards beside the project")
def test_the_experiment_on_shards_runs_small_on_a_cpu(tmp_path: Path) -> None:
    shards = (f"data.train={HERE}/train-{{00000..00001}}.tar.gz", f"data.held_out={HERE}/test-00000.tar.gz")
    done = _smoke(SHARDS, tmp_path, "evaluation.classifier=false", f"data.cache={tmp_path}/cache", *shards)
    assert {"val/denoising", "samples/coherence"} <= done.values.keys()


@pytest.mark.system
@pytest.mark.skipif(not DEBIAN.is_dir(), reason="needs the Debian package dataset-fashion-mnist")
@pytest.mark.parametrize("name", FASHION)
def test_experiments_on_clothing_run_small_on_a_cpu(name: str, tmp_path: Path) -> None:
    # The judge of clothing is fitted on 10,000 images; one of these runs has it.
    done = _smoke(name, tmp_path, *(() if name == "fashion_flow" else ("evaluation.classifier=false",)))
    assert {"val/denoising", "samples/coherence"} <= done.values.keys() and len(done.pictures) == 2


def test_small_runs_take_one_thread_and_give_the_others_back(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    seen: list[int] = []
    step = Trainer.step
    monkeypatch.setattr(Trainer, "step", lambda self: (seen.append(torch.get_num_threads()), step(self))[1])
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        _smoke("outlines_points", tmp_path)
        assert (set(seen), torch.get_num_threads()) == ({1}, 2)
    finally:
        torch.set_num_threads(before)
