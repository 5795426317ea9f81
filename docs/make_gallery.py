"""Writes docs/gallery.md from the recorded runs: a picture, the judged numbers and the verdict of one experiment per family.

python docs/make_gallery.py             write the page and copy its pictures
python docs/make_gallery.py --check     only say whether they are current
"""

from __future__ import annotations

import inspect
import math
import sys
from pathlib import Path

from ddpm_exp.decisions.arm import Arm
from ddpm_exp.decisions.judged import Judged
from ddpm_exp.decisions.verdict import Verdict, judge
from ddpm_exp.loading.loaded import Loaded, load_experiment
from ddpm_exp.records.catalog import find_runs
from ddpm_exp.spec.identity import criteria_hash
from ddpm_exp.workflow.arms import arms_of
from ddpm_exp.workflow.parameters import parameter_count

DOCS = Path(__file__).parent
ROOT = DOCS.parent
PAGE, PICTURES = DOCS / "gallery.md", DOCS / "pictures"
RUNS = ROOT / "benchmarks" / "results" / "runs"

FAMILIES = {
    "wine_table": "A table",
    "waves_sequence": "Sequences",
    "outlines_points": "Clouds of points",
    "fashion_flow": "Rectified flow with a transformer",
    "fashion_words": "Text by cross-attention",
    "fashion_brightness": "A continuous condition",
    "fashion_inpainting": "Inpainting",
}
"""Experiment to the heading of its section, in order."""

NOT_JUDGED = "-"

HEAD = """# Gallery

One short experiment per family of data, network and condition, each trained with three seeds on
{machine}.
Every picture is what the first seed drew at the end. The tables have the metrics that the experiment's own criteria judge: mean ±
standard deviation over the seeds, beside the same network before its first step and white noise in place of samples. Criteria
are in the experiment's file; `ddpm-exp decide FILE --runs benchmarks/results/runs` judges them again.

Durations, widths and the two changes named in [benchmarks.md](benchmarks.md#one-experiment-per-family) were settled after one
trial of seed 0, so these verdicts show that the families work; they do not test new ground.

This page is written by `docs/make_gallery.py` from `benchmarks/results/runs`. The runs are of before predictions were calibrated
([sampling.md](sampling.md)); they are to be trained and drawn again.
"""


def page() -> str:
    """The whole page."""
    return "\n".join([HEAD.format(machine=_machine()), *(section(name, title) for name, title in FAMILIES.items())])


def section(name: str, title: str) -> str:
    """One family."""
    loaded = load_experiment(ROOT / "experiments" / f"{name}.py")
    arm, _ = arms_of(loaded, RUNS)
    decision = loaded.experiment.decision
    assert decision is not None, name
    verdict = judge(decision, arm, None, criteria_hash=criteria_hash(loaded.experiment))
    return "\n".join(
        [
            f"## {title}",
            "",
            f"[`experiments/{name}.py`](../experiments/{name}.py): {inspect.getdoc(type(loaded.experiment))}".replace(
                "\n\n", " "
            ).replace("\n", " "),
            "",
            _facts(loaded, arm),
            "",
            f"![{title.lower()}: what the first seed drew](pictures/{name}.png)",
            "",
            _table(verdict, arm),
            "",
            f"Verdict: **{verdict.outcome}** ({verdict.done} of {verdict.planned} planned runs).",
            *(f"\nBeware: {caution}." for caution in verdict.cautions),
            "",
        ]
    )


def _facts(loaded: Loaded, arm: Arm) -> str:
    experiment, count = loaded.experiment, parameter_count(loaded.experiment)
    run = next(iter(arm.counted.values()))
    parts = [
        f"{count / 1e6:.2f} M parameters" if count else "",
        f"{experiment.diffusion.schedule}, {experiment.diffusion.prediction} prediction",
        f"{run.images_seen:,} examples seen per seed",
        f"{experiment.sampling.sampler} in {experiment.sampling.steps} steps",
    ]
    return "; ".join(filter(None, parts)) + "."


def _table(verdict: Verdict, arm: Arm) -> str:
    """A row per judged metric: what the samples have, what an untrained network's have, what noise has."""
    judged: dict[str, Judged] = {found.criterion.metric: found for found in verdict.accept}
    rows = ["| metric | trained | untrained | noise | criterion | |", "|---|---|---|---|---|---|"]
    for name in judged:
        for found in (entry for entry in verdict.accept if entry.criterion.metric == name):
            before = [value for value in arm.values_before_training(name).values() if value is not None]
            noise = [value for value in arm.values_before_training(f"noise/{name}").values() if value is not None]
            trained = f"{found.mean:.4g} ± {found.deviation:.2g}" if found.mean is not None and found.deviation is not None else ""
            claim = str(found.criterion).removeprefix(f"{name} ").removesuffix(" (confidence 95 %)")
            rows.append(f"| `{name}` | {trained} | {_mean(before)} | {_mean(noise)} | {claim} | {found.status} |")
    return "\n".join(rows)


def _mean(values: list[float]) -> str:
    return f"{math.fsum(values) / len(values):.4g}" if values else NOT_JUDGED


def _machine() -> str:
    """The one machine that all these runs were made on."""
    hosts = set()
    for name in FAMILIES:
        for run in find_runs(RUNS, name).runs:
            manifest = run.manifest
            gpu, packages = manifest.host["device"]["gpu"], manifest.packages
            hosts.add(f"one {gpu} (torch {packages['torch']}, Python {packages['python']}, {manifest.precision})")
    if len(hosts) != 1:
        sys.exit(f"the runs were not made on one machine: {sorted(hosts)}")
    return hosts.pop()


def recorded_picture(name: str) -> Path:
    """The last picture of the first seed."""
    return sorted(RUNS.glob(f"{name}/*/0-*/samples/samples-*.png"))[-1]


def is_current() -> bool:
    """Whether the page and the pictures are what would be written."""
    pictures = {name: PICTURES / f"{name}.png" for name in FAMILIES}
    same = all(path.exists() and path.read_bytes() == recorded_picture(name).read_bytes() for name, path in pictures.items())
    return same and PAGE.exists() and PAGE.read_text(encoding="utf-8") == page()


def main() -> int:
    """Write the page, or with `--check` compare it."""
    if "--check" in sys.argv[1:]:
        current = is_current()
        print("gallery.md is current" if current else "gallery.md is out of date: run python docs/make_gallery.py")
        return 0 if current else 1
    for name in FAMILIES:
        (PICTURES / f"{name}.png").write_bytes(recorded_picture(name).read_bytes())
    PAGE.write_text(page(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
