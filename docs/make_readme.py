"""Fills the marked parts of README.md from real things; with `--check`, only says whether they are current.

    python docs/make_readme.py                  fill the parts from what is recorded
    python docs/make_readme.py --quickstart     first run the quickstart anew (minutes) and record its output and its grid

A part begins with `<!-- name -->` and ends with `<!-- /name -->`. Everything between is replaced.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from itertools import pairwise
from pathlib import Path

import make_cli

DOCS = Path(__file__).parent
ROOT = DOCS.parent
README = ROOT / "README.md"
OUTPUT = DOCS / "quickstart.txt"
PICTURES = DOCS / "pictures"
RUNS = ROOT / "benchmarks" / "results" / "runs"
COMMAND = ["ddpm-exp", "run", "experiments/quickstart.py", "--all"]
QUIET = 1.0
"""Load average below which a machine counts as idle."""

SHOWN_ROWS = ("val/", "samples/")


def run_quickstart() -> None:
    """Run the quickstart in an empty folder; keep what it printed, on what, and the grid of its first seed."""
    with tempfile.TemporaryDirectory() as folder:
        shutil.copytree(ROOT / "experiments", Path(folder) / "experiments", ignore=shutil.ignore_patterns("__pycache__"))
        words = [sys.executable, "-m", "ddpm_exp.cli", *COMMAND[1:]]
        environment = {**os.environ, "COLUMNS": "110", "WANDB_MODE": "offline"}
        busy = "; other programs were using them too" if os.getloadavg()[0] > QUIET else ""
        done = subprocess.run(words, cwd=folder, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        if done.returncode:
            sys.exit(f"the quickstart failed:\n{done.stdout}")
        printed = "\n".join(line.rstrip() for line in done.stdout.strip().splitlines())
        OUTPUT.write_text(f"{machine()}{busy}\n{printed}\n", encoding="utf-8")
        grids = sorted(Path(folder).glob("runs/quickstart/*/0-*/samples/samples-*.png"))
        PICTURES.mkdir(exist_ok=True)
        shutil.copy(grids[-1], PICTURES / "quickstart.png")


def machine() -> str:
    """The versions and the device in one line."""
    import platform

    import torch

    return (
        f"{platform.system()}, Python {platform.python_version()}, torch {torch.__version__}, "
        f"{os.cpu_count()} cores of an {platform.machine()} CPU"
    )


def quickstart() -> str:
    """The recorded output up to the second seed, without most progress lines, then the verdict; and what it ran on."""
    where, *lines = OUTPUT.read_text(encoding="utf-8").splitlines()
    second = next(number for number, line in enumerate(lines) if line.endswith(", seed 1"))
    verdict = next(number for number, line in enumerate(lines) if line.startswith("verdict:"))
    first = [line for line, following in pairwise(lines[: second + 1]) if not (_is_progress(line) and _is_progress(following))]
    kept = [*first, f"[seed 1: {verdict - second} lines like those of seed 0]", *lines[verdict:]]
    told = f"left out above are those lines and {second - len(first)} progress lines of seed 0"
    return f"```text\n$ {' '.join(COMMAND)}\n" + "\n".join(kept) + f"\n```\n\n{where}; {told}."


def _is_progress(line: str) -> bool:
    return re.match(r"\s+\d+ %  ", line) is not None


def versions() -> str:
    """What the project declares it needs."""
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    torch = next(word for word in project["dependencies"] if re.match(r"torch\b(?!-)", word)).removeprefix("torch")
    python = project["requires-python"]
    return f"Python {python.replace('>=', '')} or newer and torch `{torch}`; `pip` brings torch and everything else."


def commands() -> str:
    """Every command with the first sentence of its help."""
    rows = [f"| [`ddpm-exp {name}`](docs/cli.md#ddpm-exp-{name}) | {does} |" for name, does in make_cli.commands()]
    return "\n".join(["| command | does |", "|---|---|", *rows])


def comparison() -> str:
    """ADR-0002 beside its baseline by the recorded runs: held-out images and samples."""
    from ddpm_exp.reports.markdown import comparison_markdown
    from ddpm_exp.workflow.judge import compare
    from ddpm_exp.workflow.options import RunOptions

    table = comparison_markdown(compare(str(ROOT / "experiments" / "adr_0002.py"), None, RunOptions(root=RUNS)))
    head, rule, *rows = table.strip().splitlines()
    return "\n".join([head, rule, *(row for row in rows if row.startswith(tuple(f"| {start}" for start in SHOWN_ROWS)))])


def copy_grid() -> None:
    """The last grid of the recorded run of clothing from prompts."""
    PICTURES.mkdir(exist_ok=True)
    shutil.copyfile(recorded_grid(), PICTURES / "fashion_prompts.png")


def recorded_grid() -> Path:
    """Where that grid lies."""
    return sorted(RUNS.glob("fashion_prompts/*/0-*/samples/samples-*.png"))[-1]


def filled(text: str) -> str:
    """The README with every part replaced. Each part must be there exactly once."""
    parts = {"quickstart": quickstart, "versions": versions, "commands": commands, "comparison": comparison}
    for name, content in parts.items():
        begin, end = f"<!-- {name} -->", f"<!-- /{name} -->"
        if text.count(begin) != 1 or text.count(end) != 1:
            sys.exit(f"README.md needs {begin} and {end} once each")
        before, _, rest = text.partition(begin)
        _, _, after = rest.partition(end)
        text = f"{before}{begin}\n{content()}\n{end}{after}"
    return text


def is_current() -> bool:
    """Whether the README and the copied grid are what would be written."""
    text = README.read_text(encoding="utf-8")
    picture = PICTURES / "fashion_prompts.png"
    same_picture = picture.exists() and picture.read_bytes() == recorded_grid().read_bytes()
    return same_picture and text == filled(text)


def main() -> int:
    """Fill the README, or with `--check` compare it."""
    if "--check" in sys.argv[1:]:
        current = is_current()
        print("README.md is current" if current else "README.md is out of date: run python docs/make_readme.py")
        return 0 if current else 1
    if "--quickstart" in sys.argv[1:]:
        run_quickstart()
    copy_grid()
    README.write_text(filled(README.read_text(encoding="utf-8")), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
