"""The README shows what is: its experiment loads, its generated parts are what the generator writes."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

from support.named_tests import ROOT

from ddpm_exp.loading.diff import diff_experiments
from ddpm_exp.loading.loaded import load_experiment


def code_blocks() -> list[str]:
    return re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), flags=re.DOTALL)


def test_the_experiment_of_the_readme_loads_and_changes_what_it_says(tmp_path: Path) -> None:
    [code] = code_blocks()
    assert len([line for line in code.splitlines() if line.strip()]) <= 20
    shutil.copy(ROOT / "experiments" / "quickstart.py", tmp_path)
    file = tmp_path / "fewer_timesteps.py"
    file.write_text(code, encoding="utf-8")
    loaded = load_experiment(file)
    assert loaded.baseline is not None
    changes = diff_experiments(loaded.baseline.experiment, loaded.experiment)
    assert [(change.path, change.before, change.after) for change in changes] == [("diffusion.timesteps", 1000, 200)]
    assert loaded.experiment.decision is not None
    assert len(loaded.experiment.decision.accept_when) == 2


def test_the_generated_parts_are_current() -> None:
    done = subprocess.run([sys.executable, "docs/make_readme.py", "--check"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
