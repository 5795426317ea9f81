"""A run that was stopped, wherever and however, goes on as if nothing had been: same weights, same metrics, nothing lost."""

from __future__ import annotations

import json
import os
import shutil
import signal
from pathlib import Path

import pytest
from support.tiny_experiment import Watching, assert_same_tensors, rows

from ddpm_exp.loading.loaded import load_experiment
from ddpm_exp.records.run_directory import RunDirectory
from ddpm_exp.spec.errors import RunError, UserError
from ddpm_exp.workflow.jobs import find_run, jobs
from ddpm_exp.workflow.options import RunOptions
from ddpm_exp.workflow.run import Outcome, run_seed
from ddpm_exp.workflow.sole_writer import sole_writer

ADR = "experiments/adr_0001.py"


def _run(display: Watching | None = None, **options: object) -> Outcome:
    return run_seed(load_experiment(ADR), 0, RunOptions(**options), display or Watching())  # type: ignore[arg-type]


def _stopping_at(images: int) -> Watching:
    """Asks its own process to stop when that many images are logged."""
    return Watching(on_progress=lambda seen: os.kill(os.getpid(), signal.SIGTERM) if seen == images else None)


def _stopping_in(phase: str) -> Watching:
    return Watching(on_phase=lambda text: os.kill(os.getpid(), signal.SIGTERM) if text.startswith(phase) else None)


def _interrupted(display: Watching) -> Outcome:
    stopped = _run(display)
    assert stopped.state == "interrupted"
    return stopped


def test_a_time_limit_leaves_a_run_that_resumes_to_the_same_end(folder: Path, undisturbed: Path) -> None:
    stopped = _run(max_hours=0.0)
    assert (stopped.state, stopped.signalled) == ("interrupted", False)
    assert stopped.how_to_go_on == f"ddpm-exp run {ADR} --seed 0"
    status = RunDirectory.open(stopped.run).status()
    assert status.state == "interrupted"
    assert "reached --max-hours 0; go on with: ddpm-exp run" in status.message
    done = _run()
    assert (done.state, done.run) == ("finished", stopped.run)
    assert_same_tensors(done.run, undisturbed)
    assert rows(done.run) == rows(undisturbed)


@pytest.mark.parametrize("images", [24, 72])
def test_a_signal_between_two_steps_changes_neither_weights_nor_metrics(folder: Path, undisturbed: Path, images: int) -> None:
    stopped = _interrupted(_stopping_at(images))
    assert stopped.signalled
    display = Watching()
    done = _run(display)
    assert f"resuming {stopped.run} at " in display.text
    assert_same_tensors(done.run, undisturbed)
    assert rows(done.run) == rows(undisturbed), "no gap, no duplicate, no other value"


@pytest.mark.parametrize("images", ["0", "48", "96"])
def test_an_evaluation_that_was_broken_off_is_caught_up(folder: Path, undisturbed: Path, images: str) -> None:
    stopped = _interrupted(_stopping_in(f"evaluating at {images} images"))
    assert RunDirectory.open(stopped.run).status().images_seen == int(images)
    assert (int(images), "val/denoising") not in [(seen, name) for seen, values in rows_or_none(stopped.run) for name in values]
    done = _run()
    assert done.state == "finished"
    assert rows(done.run) == rows(undisturbed)
    assert_same_tensors(done.run, undisturbed)


def rows_or_none(run: Path) -> list[tuple[int, dict[str, float]]]:
    """The metrics of a run that may have none."""
    return rows(run) if RunDirectory.open(run).metrics.read() else []


def test_what_was_recorded_after_the_checkpoint_is_cut_and_kept_beside(folder: Path, undisturbed: Path) -> None:
    def fail(images: int) -> None:
        if images == 72:
            raise RuntimeError("a bug")

    with pytest.raises(RuntimeError, match="a bug"):
        _run(Watching(on_progress=fail))
    (path,) = Path().glob("runs/adr_0001/*/*")
    run = RunDirectory.open(path)
    assert (run.status().state, run.status().message) == ("failed", "RuntimeError: a bug")
    assert run.metrics.last("train/loss") == dict(rows(undisturbed))[72]["train/loss"]
    display = Watching()
    done = _run(display)
    assert (done.state, done.run) == ("finished", path)
    assert "at 64 images" in display.text, "the last checkpoint, eight images before"
    (tail,) = path.glob("metrics.tail-*.jsonl")
    assert tail.name in display.text
    assert json.loads(tail.read_text())["images"] == 72
    assert_same_tensors(done.run, undisturbed)
    assert rows(done.run) == rows(undisturbed)


def _stopped_with_two_checkpoints() -> list[Path]:
    stopped = _interrupted(_stopping_at(72))
    found = sorted((stopped.run / "checkpoints").glob("*.pt"))
    assert len(found) == 2
    return found


def test_a_damaged_checkpoint_gives_way_to_the_one_before_with_a_warning(folder: Path, undisturbed: Path) -> None:
    before, newest = _stopped_with_two_checkpoints()
    newest.write_bytes(newest.read_bytes()[:-100])
    display = Watching()
    done = _run(display)
    (warning,) = [line for line in display.lines if line.startswith("warning: ")]
    assert newest.name in warning and "truncated or damaged" in warning
    assert f"at {int(before.stem)} images" in display.text
    assert_same_tensors(done.run, undisturbed)
    assert rows(done.run) == rows(undisturbed)


def test_with_every_checkpoint_damaged_nothing_is_started_over_or_deleted(folder: Path) -> None:
    found = _stopped_with_two_checkpoints()
    for path in found:
        path.write_bytes(path.read_bytes()[:-100])
    run = found[0].parents[1]
    before = {path: path.read_bytes() for path in sorted(run.rglob("*")) if path.is_file()}
    with pytest.raises(RunError, match="none of its 2 checkpoints can be loaded") as refused:
        _run()
    assert "--fresh" in str(refused.value.fix)
    after = {path: path.read_bytes() for path in sorted(run.rglob("*")) if path.is_file()}
    assert after == before
    assert _run(fresh=True).run != run


def test_a_fresh_run_that_was_interrupted_is_what_the_next_command_goes_on_with(folder: Path) -> None:
    finished = _run()
    stopped = _run(_stopping_at(24), fresh=True)
    assert stopped.state == "interrupted" and stopped.run != finished.run
    assert "--fresh" not in str(stopped.how_to_go_on)
    assert jobs(load_experiment(ADR), RunOptions())[0].state == "unfinished"
    done = _run()
    assert (done.state, done.run) == ("finished", stopped.run)
    assert _run().state == "reused"


def test_a_run_is_resumed_by_one_process_only(folder: Path) -> None:
    stopped = _interrupted(_stopping_at(24))
    loaded = load_experiment(ADR)
    run = find_run(loaded, stopped.run.parent.name, 0, Path("runs"))
    assert run is not None
    # The other process has the run in hand but has not yet said so in its status.
    with sole_writer(run, Watching()), pytest.raises(UserError, match="under way in another process"):
        _run()
    assert _run().state == "finished"


def test_a_run_under_way_is_left_alone(folder: Path) -> None:
    def second(images: int) -> None:
        with pytest.raises(UserError, match="under way in another process"):
            _run()
        seen.append(images)

    seen: list[int] = []
    assert _run(Watching(on_progress=second)).state == "finished"
    assert len(seen) == 4
    assert len(list(folder.glob("runs/adr_0001/*/*"))) == 1


def test_a_run_without_a_checkpoint_starts_over_and_keeps_its_old_lines(folder: Path, undisturbed: Path) -> None:
    stopped = _interrupted(_stopping_at(24))
    shutil.rmtree(stopped.run / "checkpoints")
    done = _run()
    assert done.run == stopped.run
    assert rows(done.run) == rows(undisturbed)
    assert list(done.run.glob("metrics.tail-*.jsonl"))


def test_a_run_evaluated_with_the_noise_of_all_seeds_is_not_resumed_with_that_of_its_own(folder: Path) -> None:
    stopped = _run(max_hours=0.0)
    file = stopped.run / "manifest.json"
    known = json.loads(file.read_text())
    assert known.pop("evaluation_noise") == "per-seed"
    file.write_text(json.dumps(known))
    with pytest.raises(UserError, match="evaluations of every seed had the same noise") as error:
        _run()
    assert error.value.fix == "start it anew with --fresh"


def test_a_finished_run_of_before_is_reused_with_a_warning(folder: Path) -> None:
    done = _run()
    assert done.state == "finished"
    file, before, now = done.run / "manifest.json", Watching(), Watching()
    run_seed(load_experiment("experiments/adr_0001.py"), 0, RunOptions(), now)
    known = json.loads(file.read_text())
    del known["evaluation_noise"]
    file.write_text(json.dumps(known))
    run_seed(load_experiment("experiments/adr_0001.py"), 0, RunOptions(), before)
    assert "do not compare with those of runs that are made now" in before.text
    assert "do not compare" not in now.text
