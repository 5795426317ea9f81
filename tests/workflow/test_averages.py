"""A run that keeps snapshots of its averages gives an average of any width afterwards; one that kept none says so."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
import torch
from support.tiny_experiment import Watching, write_tiny
from typer.testing import CliRunner

from ddpm_exp.checkpoints.store import checkpoints, latest
from ddpm_exp.checkpoints.store import load as load_checkpoint
from ddpm_exp.cli.main import app
from ddpm_exp.loading.loaded import load_experiment
from ddpm_exp.records.run_directory import RunDirectory
from ddpm_exp.spec.errors import RunError, UserError
from ddpm_exp.workflow.load import load
from ddpm_exp.workflow.options import RunOptions
from ddpm_exp.workflow.run import run_seed

SNAPSHOTS = 'training = training.but(ema_half_life=None, ema_sigma_rel=0.08, ema_snapshots="1 steps", log_every="1 steps")'


def test_a_run_gives_an_average_of_any_width_wherever_it_was_interrupted(folder: Path) -> None:
    write_tiny(folder / "experiments", SNAPSHOTS)
    loaded = load_experiment("experiments/adr_0001.py")

    def stop(images: int) -> None:
        if images == 40:  # not the images of a checkpoint by its own
            os.kill(os.getpid(), signal.SIGTERM)

    assert run_seed(loaded, 0, RunOptions(), Watching(on_progress=stop)).state == "interrupted"
    run = run_seed(loaded, 0, RunOptions(), Watching()).run
    straight = run_seed(loaded, 0, RunOptions(root=folder / "straight"), Watching()).run
    names = [path.name for path in checkpoints(run / "ema")]
    assert names == [f"{images:012d}.pt" for images in range(8, 97, 8)]
    for name in names:
        ours, theirs = (load_checkpoint(place / "ema" / name).tensors for place in (run, straight))
        assert all(torch.equal(ours[width][key], theirs[width][key]) for width in ours for key in ours[width])
    kept = latest(RunDirectory.open(run).checkpoints)
    assert kept is not None
    made, direct, last = load(run, sigma_rel=0.08), kept[1].tensors["ema"], kept[1].tensors["network"]
    assert made.averaged and made.images_seen == 96 and made.sigma_rel == 0.08
    off = max(float((weight - direct[name]).abs().max()) for name, weight in made.network.state_dict().items())
    assert 0 < off < 0.02 * max(float((last[name] - direct[name]).abs().max()) for name in direct)
    said = CliRunner().invoke(app, ["sample", str(run), "-n", "2", "--sigma-rel", "0.06", "--json"])
    assert said.exit_code == 0 and '"sigma_rel": 0.06' in said.stdout
    said = CliRunner().invoke(app, ["export", str(run), "w.safetensors", "--to", "safetensors", "--sigma-rel", "0.06"])
    assert said.exit_code == 0, said.output


def test_what_no_snapshots_make_is_refused_with_a_way_out(undisturbed: Path, folder: Path) -> None:
    with pytest.raises(UserError, match="kept no snapshots"):
        load(undisturbed, sigma_rel=0.1)
    write_tiny(folder / "experiments", SNAPSHOTS.replace('"1 steps", log', '"6 steps", log'))
    run = run_seed(load_experiment("experiments/adr_0001.py"), 0, RunOptions(), Watching()).run
    with pytest.raises(UserError, match="the 2 snapshots of this run make an average of this width only with an error"):
        load(run, sigma_rel=0.2)
    with pytest.raises(UserError, match="lies between"):
        load(run, sigma_rel=0.5)
    with pytest.raises(UserError, match="made from snapshots of averages"):
        load(run, sigma_rel=0.1, weights="raw")
    assert load(run, sigma_rel=0.1).images_seen == 96


def test_snapshots_cannot_begin_in_the_middle_of_a_run(folder: Path) -> None:
    assert run_seed(load_experiment("experiments/adr_0001.py"), 0, RunOptions(max_hours=0.0), Watching()).state == "interrupted"
    write_tiny(folder / "experiments", 'training = training.but(ema_snapshots="1 steps")')
    with pytest.raises(RunError, match="begin with the first step") as error:
        run_seed(load_experiment("experiments/adr_0001.py"), 0, RunOptions(), Watching())
    assert error.value.field == "training.ema_snapshots"
