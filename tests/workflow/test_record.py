"""What a run leaves behind, which runs are the same, and what the pages say of them."""

from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import pytest
import torch
from support.tiny_experiment import Watching, assert_same_tensors, rows, write_tiny, write_variant

from ddpm_exp.checkpoints.store import load
from ddpm_exp.loading.loaded import load_experiment
from ddpm_exp.records.run_directory import RunDirectory
from ddpm_exp.spec.base import Role
from ddpm_exp.spec.identity import flat, science_hash
from ddpm_exp.workflow.assemble import assemble
from ddpm_exp.workflow.judge import board, compare, decide, page_of
from ddpm_exp.workflow.options import RunOptions
from ddpm_exp.workflow.prepare import find_machine, prepare
from ddpm_exp.workflow.run import Outcome, run_seed
from ddpm_exp.workflow.smoke import shrink, smoke


class BothArms(Protocol):
    """Of the fixture `both_arms`."""

    folder: Path


ADR = "experiments/adr_0001.py"


def _run(*overrides: str, path: str = ADR, display: Watching | None = None, fresh: bool = False) -> Outcome:
    return run_seed(load_experiment(path, overrides), 0, RunOptions(fresh=fresh), display or Watching())


def test_a_run_leaves_everything_that_explains_it(undisturbed: Path) -> None:
    run = RunDirectory.open(undisturbed)
    manifest = run.manifest
    assert undisturbed.parts[-3:-1] == ("adr_0001", manifest.science_hash)
    assert undisturbed.name.startswith("0-")
    status = run.status()
    assert (status.state, status.images_seen, status.total_images) == ("finished", 96, 96)
    assert status.seconds > 0
    recorded = rows(undisturbed)
    assert [images for images, values in recorded if "train/loss" in values] == [24, 48, 72, 96]
    assert [images for images, values in recorded if "val/denoising" in values] == [0, 48, 96]
    assert "noise/samples/coherence" in recorded[0][1]
    assert {path.name for path in run.samples.iterdir()} == {
        f"{name}-{images:010d}.png" for name in ("samples", "reconstructions") for images in (0, 48, 96)
    }
    assert [path.name for path in sorted(run.checkpoints.glob("*.pt"))] == ["000000000064.pt", "000000000096.pt"]
    assert load(run.checkpoints / "000000000096.pt").facts == {"science_hash": manifest.science_hash, "seed": 0}
    assert (manifest.units.images_per_step, manifest.units.images_per_epoch, manifest.units.total_images) == (8, 32, 96)
    assert manifest.data_fingerprint and manifest.packages["torch"] and manifest.command_line


def test_the_page_of_a_run_counts_the_run_itself(undisturbed: Path) -> None:
    page = (undisturbed / "adr.md").read_text()
    assert "1 of 2 planned runs are finished" in page
    assert "ADR-0001, seed 1" in page and "ADR-0001, seed 0" not in page.split("Still to run")[1].split("##")[0]


def test_the_source_is_kept_though_git_does_not_track_it(folder: Path) -> None:
    write_variant(folder / "experiments")
    git = ["git", "-c", "user.name=n", "-c", "user.email=e@example.org"]
    subprocess.run([*git, "init", "--quiet", "."], check=True)
    subprocess.run([*git, "commit", "--quiet", "--allow-empty", "-m", "nothing"], check=True)
    run = RunDirectory.open(_run(path="experiments/adr_0002.py").run)
    texts = {name: (folder / "experiments" / name).read_text() for name in ("adr_0001.py", "adr_0002.py")}
    assert run.manifest.sources == texts
    assert {path.name: path.read_text() for path in (run.path / "sources").iterdir()} == texts
    assert len(str(run.manifest.git.sha)) == 40
    assert run.manifest.diff == [{"path": "training.learning_rate", "before": 1e-3, "after": 3e-3}]
    assert (run.manifest.baseline_id, run.manifest.job_type) == ("ADR-0001", "variant")


def test_the_recorded_configuration_is_the_one_that_a_reload_gives(undisturbed: Path) -> None:
    experiment = load_experiment(undisturbed.parents[3] / ADR).experiment
    expected = flat(experiment, roles=frozenset({Role.SCIENCE, Role.EXECUTION})) | {"training.precision": "fp32"}
    assert RunDirectory.open(undisturbed).manifest.config == json.loads(json.dumps(expected))
    assert science_hash(experiment, "fp32") == undisturbed.parts[-2]


def test_what_is_finished_is_reused_what_changed_is_not_and_fresh_trains_again(folder: Path) -> None:
    first, display = _run(), Watching()
    again = _run("hardware.micro_batch=8", "training.log_every=2 steps", display=display)
    assert (again.state, again.run) == ("reused", first.run), "execution is no science"
    assert f"reusing the finished run {first.run}" in display.text
    changed = _run("training.duration=1 steps")
    assert changed.state == "finished" and changed.run.parent != first.run.parent
    fresh = _run(fresh=True)
    assert fresh.state == "finished" and fresh.run != first.run
    assert_same_tensors(fresh.run, first.run)


@pytest.mark.parametrize("variable", ["WANDB_SWEEP_ID", "WANDB_RUN_ID"])
def test_an_agents_trial_reports_though_the_same_run_is_finished(
    undisturbed: Path, variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, "abc")
    monkeypatch.setenv("WANDB_MODE", "disabled")
    root, display = undisturbed.parents[2], Watching()
    trial = run_seed(load_experiment(undisturbed.parents[3] / ADR), 0, RunOptions(root=root), display)
    assert trial.state == "finished" and trial.run != undisturbed
    assert "agent's trial" in display.text


def test_slicing_the_step_otherwise_is_the_same_science_and_learns_the_same(folder: Path) -> None:
    machine = find_machine(RunOptions())
    sliced = [prepare(load_experiment(ADR, (f"hardware.micro_batch={micro}",)), machine) for micro in (2, 8)]
    assert [one.plan.accumulation for one in sliced] == [4, 1]
    assert {one.plan.images_per_step for one in sliced} == {one.units.images_per_step for one in sliced} == {8}
    assert sliced[0].science_hash == sliced[1].science_hash
    losses = []
    for one in sliced:
        # dropout is drawn per micro-batch, so that only a network without it learns exactly the same
        loaded = replace(one.loaded, experiment=one.experiment.but(model=one.experiment.model.but(dropout=0.0)))
        trainer = assemble(replace(one, loaded=loaded), 0).trainer
        for _ in range(3):
            trainer.step()
        losses.append(trainer.statistics.read()[0]["train/loss"])
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


def test_drawn_images_do_not_depend_on_how_many_are_drawn_together(folder: Path) -> None:
    runtime = assemble(prepare(load_experiment(ADR), find_machine(RunOptions())), 0)
    asked, noises = runtime.evaluator.splits.train.batch(torch.arange(20)), torch.arange(20)
    together, by_three = (
        replace(runtime.artist, batch=batch).draw(runtime.averaged(), asked, noises, held_out=False) for batch in (64, 3)
    )
    torch.testing.assert_close(by_three, together, rtol=0, atol=2e-4)  # calibrated by as many at once


@pytest.mark.parametrize(
    ("groups", "heads", "base", "expected"), [(4, 1, 16, 8), (8, 1, 16, 8), (6, 4, 24, 12), (1, 1, 16, 8), (32, 4, 32, 8)]
)
def test_smoke_shrinks_to_the_narrowest_network_that_the_spec_allows(
    folder: Path, groups: int, heads: int, base: int, expected: int
) -> None:
    experiment = load_experiment(ADR).experiment
    experiment = experiment.but(model=experiment.model.but(groups=groups, heads=heads, base_channels=base))
    assert shrink(experiment).model.base_channels == expected


def test_smoke_runs_stay_apart_and_shrink_both_arms(folder: Path) -> None:
    write_variant(folder / "experiments")
    small = smoke(load_experiment("experiments/adr_0002.py"))
    assert small.baseline is not None
    assert (small.name, small.baseline.name) == ("adr_0002-smoke", "adr_0001-smoke")
    assert {arm.experiment.training.duration for arm in (small, small.baseline)} == {"4 steps"}


def test_smoke_takes_a_folder_of_few_images(folder: Path) -> None:
    write_tiny(folder / "experiments", 'data = ImageFolder(root="photos", image_size=8, channels=1)')
    assert shrink(load_experiment(ADR).experiment).data.subset is None


def test_a_page_names_the_decision_that_supersedes_it(folder: Path) -> None:
    write_variant(folder / "experiments", 'seeds=(0, 1), supersedes="ADR-0001"')
    (folder / "experiments" / "broken.py").write_text("supersedes = (\n")
    page = page_of(load_experiment(folder / ADR), Path("runs"))[1]
    assert "Superseded by ADR-0002" in page
    assert f"ddpm-exp run {ADR} --all" in page, "as one types it here"
    assert "Supersedes ADR-0001" in page_of(load_experiment("experiments/adr_0002.py"), Path("runs"))[1]


def test_decide_compare_and_board_read_the_run_directories_alone(both_arms: BothArms, folder: Path) -> None:
    shutil.copytree(both_arms.folder / "experiments", folder / "experiments", dirs_exist_ok=True)
    # neither weights nor pictures, and another place
    shutil.copytree(both_arms.folder / "runs", folder / "moved", ignore=shutil.ignore_patterns("checkpoints", "samples", "adr.md"))
    options = RunOptions(root=Path("moved"))
    decided = decide(load_experiment("experiments/adr_0002.py"), options)
    assert decided.verdict.outcome == "accepted"
    assert decided.page == Path("docs/adr/0002-a-faster-start.md") and decided.page.exists()
    assert {row.experiment_id: (row.verdict, row.done) for row in board(Path("experiments"), options)} == {
        "ADR-0001": ("accepted", 2),
        "ADR-0002": ("accepted", 2),
    }
    by_metric = {row.metric: row for row in compare("2", None, options).rows}
    assert by_metric["val/denoising"].a.n == 2
