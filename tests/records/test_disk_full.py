"""A full disk is one clear error, and what was on disk before is still there. The limit on file sizes stands for the disk."""

from __future__ import annotations

import subprocess
import sys

import pytest

from ddpm_exp.records.run_directory import RunDirectory

# SIGXFSZ is ignored, so that writing beyond the limit fails with an error number, as on a full disk.
_PRELUDE = """
import resource, signal, sys
from ddpm_exp.records.run_directory import RunDirectory
from ddpm_exp.spec.errors import RunError
run = RunDirectory.open(sys.argv[1])
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), resource.RLIM_INFINITY))
try:
    {action}
except RunError as error:
    print(error)
    sys.exit(error.exit_code)
"""


def _attempt(run: RunDirectory, limit: int, action: str) -> subprocess.CompletedProcess[str]:
    script = _PRELUDE.format(action=action)
    return subprocess.run([sys.executable, "-c", script, str(run.path), str(limit)], capture_output=True, text=True)


@pytest.mark.parametrize(
    ("file", "action"),
    [
        ("adr.md", "run.write_text('adr.md', 'new ' * 500)"),
        ("samples/grid.png", "run.write_bytes('samples/grid.png', b'new ' * 500)"),
        ("status.json", "run.set_status('running', note='new ' * 500)"),
        ("metrics.jsonl", "[run.metrics.append(8 + k, {'train/loss': 0.5}) for k in range(100)]"),
        ("metrics.jsonl", "run.metrics.cut(0)"),
    ],
)
def test_nothing_on_disk_is_lost_and_the_message_says_what_to_do(run: RunDirectory, file: str, action: str) -> None:
    run.write_text("adr.md", "old")
    run.write_bytes("samples/grid.png", b"old")
    for images in range(30):
        run.metrics.append(images, {"train/loss": 0.25})
    before = (run.path / file).read_bytes()
    done = _attempt(run, len(before) + 90 if "append" in action else 300, action)
    assert done.returncode == 1 and "Traceback" not in done.stderr, done.stderr
    assert file in done.stdout or "metrics" in done.stdout
    assert "fix: free disk space" in done.stdout
    after = (run.path / file).read_bytes()
    assert after.startswith(before) if "append" in action else after == before
    assert len(run.metrics.read()) >= 30 and run.metrics.damage() is None
    assert not list(run.path.rglob("*.tmp"))


def test_a_run_that_cannot_be_created_is_no_run(run: RunDirectory) -> None:
    action = "RunDirectory.create(run.path.parents[2], 'adr_0002', run.manifest.science_hash, 3, run.manifest)"
    done = _attempt(run, 100, action)
    assert done.returncode == 1 and "free disk space" in done.stdout, done.stderr
    assert [path.parent for path in run.path.parents[2].rglob("manifest.json")] == [run.path]
