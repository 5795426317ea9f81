"""The catalogue finds every sound run and names every damaged directory, without ever failing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ddpm_exp.records.catalog import find_runs
from ddpm_exp.records.run_directory import RunDirectory

Make = Callable[..., RunDirectory]


def test_no_folder_is_no_run(tmp_path: Path) -> None:
    assert find_runs(tmp_path / "runs").runs == []


def test_runs_are_found_by_experiment_and_by_science(new_run: Make, tmp_path: Path) -> None:
    one = new_run(created="2026-01-02T00:00:00+00:00")
    two = new_run(science_hash="f" * 12, created="2026-01-01T00:00:00+00:00")
    other = new_run(experiment="quick[1]", created="2026-01-03T00:00:00+00:00")
    root = tmp_path / "runs"

    def paths(**asked: str) -> list[Path]:
        return [run.path for run in find_runs(root, **asked).runs]

    assert paths() == [two.path, one.path, other.path]
    assert paths(name="adr_0002") == [two.path, one.path]
    assert paths(name="adr_0002", science_hash="f" * 12) == [two.path]
    assert paths(name="quick[1]") == [other.path]
    assert paths(name="nothing") == []


def test_damaged_directories_are_listed_and_the_others_still_found(new_run: Make, tmp_path: Path) -> None:
    sound, broken, foreign, unbegun, bad_status, bad_metrics = (new_run() for _ in range(6))
    (broken.path / "manifest.json").write_text("{")
    (foreign.path / "manifest.json").write_text('{"schema_version": 99}')
    (unbegun.path / "manifest.json").unlink()
    (bad_status.path / "status.json").write_bytes(b"\xff")
    (bad_metrics.path / "metrics.jsonl").write_text('garbage\n{"images": 0}\n')
    (sound.path.parent / "notes.txt").write_text("a file of the user")
    found = find_runs(tmp_path / "runs")
    assert {run.path for run in found.runs} == {sound.path, bad_status.path, bad_metrics.path}
    said = {problem.path: problem.message for problem in found.problems}
    assert set(said) == {broken.path, foreign.path, unbegun.path, bad_status.path, bad_metrics.path}
    assert "schema version 99" in said[foreign.path]
    assert "before it began" in said[unbegun.path]
    assert "line 1 is damaged" in said[bad_metrics.path]
