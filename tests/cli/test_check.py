"""check: a plan for each GPU, advice, and errors that stop nothing else."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

Program = Callable[..., SimpleNamespace]


def test_check_plans_for_each_gpu_and_shows_diff_and_advice(folder: Path, program: Program) -> None:
    document = json.loads(program("check", "2", "--json").stdout)
    (checked,) = document["checked"]
    assert [row["gpu"]["name"] for row in checked["plans"]] == ["T4", "V100-16", "V100-32", "A100-40"]
    assert all(row["plan"]["micro_batch"] * row["plan"]["accumulation"] == 10 for row in checked["plans"])
    assert (checked["id"], checked["baseline"]) == ("ADR-0002", "ADR-0001")
    assert [change["path"] for change in checked["changes"]] == ["training.learning_rate"]
    assert any("guide" in guide or guide.isdigit() for advice in checked["advice"] for guide in advice["guides"])
    text = program("check", "2", "--gpu", "T4,a100").stdout
    for word in ("baseline: ADR-0001; 1 setting differs", "training.learning_rate", "T4", "A100-40", "advice: ", "guide"):
        assert word in text
    assert "V100" not in text


def test_a_failing_file_does_not_keep_the_others_from_being_checked(folder: Path, program: Program) -> None:
    (folder / "experiments" / "wrong.py").write_text(
        "from ddpm_exp import Experiment, Sampling\n\n\nclass Wrong(Experiment):\n    sampling = Sampling(steps=2000)\n"
    )
    done = program("check", "wrong", "nowhere", "1", "--gpu", "T4")
    assert done.exit_code == 2
    assert "experiments/wrong.py" in done.stderr
    assert "nowhere: no such experiment" in done.stderr
    assert "ADR-0001: A tiny start" in done.stdout
    document = json.loads(program("check", "wrong", "1", "--json").stdout)["checked"]
    assert document[0]["error"]["field"] == "sampling.steps"
    assert document[1]["id"] == "ADR-0001"


def test_overrides_apply_to_every_file(folder: Path, program: Program) -> None:
    document = json.loads(program("check", "1", "2", "training.images_per_step=20", "--gpu", "T4", "--json").stdout)
    assert [checked["plans"][0]["plan"]["images_per_step"] for checked in document["checked"]] == [20, 20]
