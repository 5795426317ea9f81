"""A run directory is complete, atomic, and says the truth about its process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from ddpm_exp.records.run_directory import RunDirectory
from ddpm_exp.spec.errors import RunError

Make = Callable[..., RunDirectory]


def test_a_run_lies_where_the_layout_says_and_reads_back_equal(run: RunDirectory, tmp_path: Path) -> None:
    manifest = run.manifest
    assert run.path.parent == tmp_path / "runs" / "adr_0002" / manifest.science_hash
    assert run.path.name.startswith("3-") and len(run.path.name) == len("3-") + 8
    again = RunDirectory.open(run.path)
    assert again.manifest == manifest
    assert again.samples.is_dir() and again.checkpoints.is_dir()


def test_two_runs_of_one_seed_have_their_own_directories(new_run: Make) -> None:
    assert new_run().path != new_run().path


def test_a_directory_never_disagrees_with_its_manifest(run: RunDirectory, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="another"):
        RunDirectory.create(tmp_path, "adr_0002", "another-hash", 3, run.manifest)


def test_sources_are_kept_even_where_git_does_not_track_them(run: RunDirectory) -> None:
    assert (run.path / "sources" / "adr_0002.py").read_text() == "class B(A):\n    pass\n"
    assert [file.name for file in run.record()] == ["manifest.json", "adr_0001.py", "adr_0002.py"]
    run.write_text("adr.md", "# accepted\n")
    assert run.record()[0].name == "adr.md"


def test_a_folder_without_a_manifest_is_refused_with_a_way_out(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "missing"):
        with pytest.raises(RunError) as caught:
            RunDirectory.open(path)
        assert caught.value.exit_code == 1 and "ddpm-exp runs" in str(caught.value)


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda text: text[:200], "not valid JSON"),
        (lambda text: "\xff\xfe", "not valid JSON"),
        (lambda text: "[]", "schema_version"),
        (lambda text: text.replace('"schema_version": 1', '"schema_version": 99'), "upgrade ddpm-exp"),
        (lambda text: text.replace('"schema_version": 1', '"schema_version": 0'), "schema version 0"),
        (lambda text: text.replace('"seed": 3', '"seed": "three"'), "seed"),
    ],
)
def test_a_damaged_or_foreign_manifest_is_refused_in_one_message(
    run: RunDirectory, damage: Callable[[str], str], says: str
) -> None:
    file = run.path / "manifest.json"
    file.write_text(damage(file.read_text()))
    with pytest.raises(RunError, match=says):
        RunDirectory.open(run.path)


def test_bytes_that_are_no_text_are_refused_too(run: RunDirectory) -> None:
    (run.path / "manifest.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(RunError, match="damaged manifest"):
        RunDirectory.open(run.path)


def test_a_new_run_is_running_and_belongs_to_this_process(run: RunDirectory) -> None:
    status = run.status()
    assert (status.state, status.pid, status.images_seen, status.total_images) == ("running", os.getpid(), 0, 800)


def test_status_keeps_what_is_not_said_again_except_the_message(run: RunDirectory) -> None:
    run.set_status("running", images_seen=160, seconds=4.5, message="fine", evaluations=2)
    run.set_status("finished", images_seen=800)
    status = run.status()
    assert (status.state, status.images_seen, status.seconds, status.message) == ("finished", 800, 4.5, "")
    assert status.facts == {"evaluations": 2} and status.progress == 1.0


def test_running_without_a_living_process_reads_interrupted(run: RunDirectory) -> None:
    write = f"RunDirectory.open({str(run.path)!r}).set_status('running', images_seen=8)"
    subprocess.run([sys.executable, "-c", f"from ddpm_exp.records.run_directory import RunDirectory; {write}"], check=True)
    status = run.status()
    assert (status.state, status.images_seen) == ("interrupted", 8)
    assert "gone" in status.message and "resume" in status.message


def test_a_pid_that_another_process_took_over_does_not_keep_a_run_alive(run: RunDirectory) -> None:
    _edit_status(run, process_started=1.0)
    assert run.status().state == "interrupted"


def test_another_machines_run_is_believed_until_it_is_silent(run: RunDirectory) -> None:
    _edit_status(run, host="elsewhere", pid=1)
    assert run.status().state == "running"
    _edit_status(run, updated=(datetime.now(UTC) - timedelta(hours=2)).isoformat())
    assert run.status().state == "interrupted"


def test_a_run_without_its_status_counts_as_interrupted(run: RunDirectory) -> None:
    (run.path / "status.json").unlink()
    status = run.status()
    assert (status.state, status.total_images) == ("interrupted", 800) and "resume" in status.message


def test_a_damaged_status_is_one_clear_message_and_can_be_replaced(run: RunDirectory) -> None:
    (run.path / "status.json").write_text("{")
    with pytest.raises(RunError, match="damaged status"):
        run.status()
    run.set_status("interrupted")
    assert run.status().state == "interrupted"


def test_writing_replaces_whole_files_and_leaves_no_temporary_ones(run: RunDirectory) -> None:
    run.write_text("adr.md", "first")
    path = run.write_text("adr.md", "second")
    run.write_bytes("samples/000000000800.png", b"\x89PNG")
    assert path.read_text() == "second"
    assert not [file for file in run.path.rglob("*") if file.name.endswith(".tmp")]


def test_nothing_is_written_outside_the_run(run: RunDirectory) -> None:
    with pytest.raises(ValueError, match="outside"):
        run.write_text("../other.txt", "x")


def _edit_status(run: RunDirectory, **changes: object) -> None:
    file = run.path / "status.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))
