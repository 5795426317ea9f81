"""run, compare, decide and board on real runs of a tiny experiment."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

Program = Callable[..., SimpleNamespace]

ACCEPT = 'accept_when=(metric("val/denoising") <= 1e6,), reject_when=()'


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Networks this small lose more by sharing work among threads than they gain."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def recorded_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which `run 1 --all` and `run 2` have been run."""
    return tmp_path_factory.mktemp("recorded")


@pytest.fixture
def recorded(recorded_once: Path, folder: Path, program: Program) -> Path:
    """A working folder of this test alone with the runs of both arms: two seeds of ADR-0001, one of ADR-0002."""
    kept = recorded_once / "runs"
    if not kept.exists():
        assert program("run", "1", "--all").exit_code == 0
        assert program("run", "2").exit_code == 0
        shutil.copytree(folder / "runs", kept)
    elif not (folder / "runs").exists():
        shutil.copytree(kept, folder / "runs")
    return folder


def _judge_by(folder: Path, criteria: str) -> None:
    file = folder / "experiments" / "adr_0001.py"
    text = file.read_text()
    assert ACCEPT in text
    file.write_text(text.replace(ACCEPT, criteria))


def test_all_lists_what_is_missing_with_its_cost_and_then_does_it(recorded: Path, program: Program) -> None:
    shutil.rmtree(next(recorded.glob("runs/adr_0001/*/1-*")))
    done = program("run", "1", "--all")
    assert done.exit_code == 0
    lines = done.stdout.splitlines()
    (listed,) = (number for number, line in enumerate(lines) if line.startswith("1 of 2 runs to do, "))
    assert "unknown" not in lines[listed], "seed 0 has been timed"
    assert [line.split()[:3] for line in lines[2:4]] == [["adr_0001", "0", "finished"], ["adr_0001", "1", "missing"]]
    assert listed < lines.index("preparing ADR-0001, seed 1")
    assert "preparing ADR-0001, seed 0" not in lines
    again = program("run", "1", "--all")
    assert "nothing is missing: every planned run is finished" in again.stdout
    assert [path.name[0] for path in sorted(recorded.glob("runs/adr_0001/*/*"))] == ["0", "1"]


def test_a_run_ends_with_metrics_paths_and_the_verdict_so_far(recorded: Path, program: Program) -> None:
    done = program("run", "1")
    assert done.exit_code == 0
    assert "is reused (--fresh trains again)" in done.stdout
    assert re.search(r"^val/denoising +\d\.\d+ +MSE +lower", done.stdout, re.MULTILINE)
    for word, pattern in (
        ("run", r"runs/adr_0001/\w{12}/0-\w{8}"),
        ("grid", r"\S+/samples/samples-\d+\.png"),
        ("page", r"\S+adr\.md"),
    ):
        found = re.search(rf"^{word}: +({pattern})$", done.stdout, re.MULTILINE)
        assert found is not None
        assert Path(found[1]).exists()
    assert "verdict: accepted" in done.stdout
    assert not (recorded / "docs").exists(), "only decide writes the decision's page"


def test_run_with_json_keeps_standard_output_for_the_document(recorded: Path, program: Program) -> None:
    done = program("run", "1", "--seed", "1", "--json")
    document = json.loads(done.stdout)
    assert [(run["seed"], run["state"]) for run in document["runs"]] == [(1, "reused")]
    assert document["verdict"]["outcome"] == "accepted"
    assert "preparing ADR-0001, seed 1" in done.stderr


@pytest.mark.parametrize(
    ("criteria", "outcome", "code"),
    [
        (ACCEPT, "accepted", 0),
        ('accept_when=(metric("val/denoising") >= 1e6,)', "inconclusive", 3),
        ('accept_when=(metric("val/denoising") >= 1e6,), reject_when=(metric("val/denoising") <= 1e6,)', "rejected", 4),
    ],
)
def test_decide_exits_with_the_verdict_and_writes_the_page(
    recorded: Path, program: Program, criteria: str, outcome: str, code: int
) -> None:
    _judge_by(recorded, criteria)
    done = program("decide", "1")
    assert done.exit_code == code
    assert f"verdict: {outcome}" in done.stdout
    assert outcome in (recorded / "docs" / "adr" / "0001-a-tiny-start.md").read_text().lower()
    document = json.loads(program("decide", "adr_0001", "--json").stdout)
    assert document["verdict"]["outcome"] == outcome
    assert document["page"] == "docs/adr/0001-a-tiny-start.md"


def test_decide_before_all_runs_says_what_is_still_to_run(folder: Path, program: Program) -> None:
    done = program("decide", "1")
    assert done.exit_code == 3
    assert "still to run: ADR-0001, seed 0" in done.stdout


def test_decide_without_a_decision_is_a_mistake(recorded: Path, program: Program) -> None:
    done = program("decide", "2")
    assert done.exit_code == 2
    assert "the experiment has no decision" in done.stderr


def test_compare_takes_the_baseline_by_itself(recorded: Path, program: Program) -> None:
    document = json.loads(program("compare", "2", "--json").stdout)
    assert (document["a"], document["b"]) == ("ADR-0002", "ADR-0001")
    row = next(row for row in document["rows"] if row["metric"] == "val/denoising")
    assert (row["a"]["n"], row["b"]["n"]) == (1, 1), "the variant plans one seed, so one of the baseline counts"
    assert row["difference"] == pytest.approx(row["a"]["mean"] - row["b"]["mean"])
    assert program("compare", "2", "1", "--md").stdout.startswith("| metric |")
    assert "val/denoising" in program("compare", "2").stdout


def test_compare_refuses_what_was_evaluated_differently(recorded: Path, program: Program) -> None:
    harder = recorded / "experiments" / "adr_0002.py"
    harder.write_text(harder.read_text() + "    evaluation = base.evaluation.but(log_snr=(0.5,))\n")
    assert program("run", "2").exit_code == 0
    done = program("compare", "2")
    assert done.exit_code == 2
    assert "evaluation.log_snr" in done.stderr
    assert "Traceback" not in done.stderr


def test_board_has_a_row_for_each_decision(recorded: Path, program: Program) -> None:
    (row,) = json.loads(program("board", "--json").stdout)["decisions"]
    assert (row["experiment_id"], row["verdict"], row["done"], row["planned"]) == ("ADR-0001", "accepted", 2, 2)
    assert "A tiny start" in program("board").stdout
    assert program("board", "--md").stdout.count("\n") == 3


def test_max_hours_leaves_a_run_that_goes_on_where_it_stopped(folder: Path, program: Program) -> None:
    done = program("run", "2", "--max-hours", "1e-9")
    assert done.exit_code == 0
    found = re.search(r"^go on with: ddpm-exp (.+)$", done.stdout, re.MULTILINE)
    assert found is not None
    assert json.loads(program("runs", "--json").stdout)["runs"][0]["state"] == "interrupted"
    words = found[1].replace("--max-hours 1e-09", "").split()
    document = json.loads(program(*words, "--json").stdout)
    assert document["runs"][0]["state"] == "finished"
    assert len(list(folder.glob("runs/adr_0002/*/*"))) == 1


def test_ctrl_c_exits_with_130_and_says_how_to_go_on(folder: Path, program: Program) -> None:
    def interrupt_once_it_learns() -> None:
        while not any("train/loss" in path.read_text() for path in folder.glob("runs/adr_0002/*/*/metrics.jsonl")):
            time.sleep(0.02)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt_once_it_learns, daemon=True).start()
    done = program("run", "2", "training.duration=100000 steps")
    assert done.exit_code == 130
    assert "go on with: ddpm-exp run experiments/adr_0002.py 'training.duration=100000 steps' --seed 0" in done.stdout


def test_smoke_runs_everything_and_gives_no_verdict(folder: Path, program: Program) -> None:
    done = program("run", "1", "--smoke")
    assert done.exit_code == 0
    assert "verdict" in done.stdout.splitlines()[-1]
    assert "verdict:" not in done.stdout
    assert [path.name for path in (folder / "runs").iterdir()] == ["adr_0001-smoke"]


def test_a_mistake_is_told_before_torch_is_imported(folder: Path) -> None:
    import subprocess
    import sys

    program = (
        "import sys\nfrom ddpm_exp.cli.main import main\nsys.argv = ['ddpm-exp', *sys.argv[1:]]\n"
        "try:\n    main()\nfinally:\n    print('torch' in sys.modules)\n"
    )
    for command in ("run", "check"):
        words = [sys.executable, "-c", program, command, "1", "sampling.steps=101"]
        done = subprocess.run(words, capture_output=True, text=True)
        assert done.returncode == 2
        assert "cannot take more steps than the 100 timesteps" in done.stderr
        assert done.stdout.splitlines()[-1] == "False"
