"""Writes docs/sampling.md and its plot from benchmarks/results/sampling_quality.json and family_sampling.json.

python docs/make_sampling.py             write them
python docs/make_sampling.py --check     only say whether the page is current
"""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from statistics import fmean
from typing import Any

DOCS = Path(__file__).parent
RESULTS = DOCS.parent / "benchmarks" / "results"
PAGE, TEMPLATE, PLOT = DOCS / "sampling.md", DOCS / "sampling.template.md", DOCS / "pictures" / "sampling_quality.png"

Row = dict[str, Any]

BESIDE = {
    "ddpm": "DDPM",
    "ddim": "DDIM",
    "euler": "EulerDiscrete",
    "heun": "HeunDiscrete",
    "dpm++2m": "DPMSolverMultistep",
    "unipc": "UniPCMultistep",
    "dpm++3m-sde": None,
    "edm-stochastic": None,
}
"""Our samplers and diffusers' scheduler of each."""

FAMILY_CALLS = 25

NETWORKS = {
    "eps-linear": "eps, linear schedule (35.7 M)",
    "eps-cosine": "eps, cosine schedule (64 channels)",
    "v-cosine": "v, cosine schedule (64 channels)",
}


def read(name: str) -> dict[str, Any]:
    """A recorded result."""
    found: dict[str, Any] = json.loads((RESULTS / name).read_text())
    return found


def table(head: list[str], rows: list[list[str]]) -> str:
    """Markdown; all columns but the first are numbers."""
    marks = ["---", *("---:" for _ in head[1:])]
    return "\n".join("| " + " | ".join(row) + " |" for row in (head, marks, *rows))


def from_ratio() -> float:
    """Where calibration begins in the product."""
    from ddpm_exp.diffusion.calibration import LEAST_RATIO

    return LEAST_RATIO


def as_it_is(row: Row) -> bool:
    """Whether a row is of the product, or of diffusers, as it comes."""
    return row["implementation"] == "diffusers" or (row["least_ratio"] == from_ratio() and not row["eps_kept"])


def pick(rows: list[Row], **facts: object) -> Row | None:
    """The row with these facts, if there is one."""
    return next((row for row in rows if all(row[name] == value for name, value in facts.items())), None)


def said(row: Row | None) -> str:
    """Its distance, with a mark where more samples than real images have noise left in them."""
    if row is None:
        return ""
    return f"{row['fd']:.0f}" + (f" ({row['noise_left']:.0%} noisy)" if row["noise_left"] >= 0.02 else "")


def samplers(found: dict[str, Any]) -> str:
    """Ours beside diffusers', by network calls, for each of the weights."""
    parts = []
    for weights, words in NETWORKS.items():
        rows = [row for row in found["cases"] if row["weights"] == weights and as_it_is(row)]
        calls = sorted({row["calls"] for row in rows})
        lines = []
        for ours, theirs in BESIDE.items():
            for name, implementation in ((ours, "ddpm-exp"), (theirs, "diffusers")):
                of = [row for row in rows if row["sampler"] == name and row["implementation"] == implementation]
                grid = "trailing" if implementation == "ddpm-exp" else of[0]["grid"] if of else None
                if of:
                    label = f"`{name}`" if implementation == "ddpm-exp" else f"diffusers' {name}, {grid}"
                    lines.append([label, *(said(pick(of, calls=count, grid=grid)) for count in calls)])
        if lines:
            parts.append(f"**{words[0].upper()}{words[1:]}**\n\n" + table(["network calls", *map(str, calls)], lines))
    return "\n\n".join(parts)


def grids(found: dict[str, Any]) -> str:
    """Our samplers on other grids."""
    rows = [row for row in found["cases"] if as_it_is(row) and row["implementation"] == "ddpm-exp"]
    names = ["trailing", "leading", "linspace", "karras"]
    lines = []
    for weights, sampler, calls in dict.fromkeys((row["weights"], row["sampler"], row["calls"]) for row in rows):
        of = [pick(rows, weights=weights, sampler=sampler, calls=calls, grid=grid) for grid in names]
        if sum(row is not None for row in of) > 1:
            lines.append([f"{weights}, `{sampler}`, {calls} calls", *map(said, of)])
    return table(["", *names], lines) if lines else "Not measured yet."


def calibration(found: dict[str, Any]) -> str:
    """What calibration does, and from where on."""
    rows = [
        row for row in found["cases"] if row["implementation"] == "ddpm-exp" and row["grid"] == "trailing" and not row["eps_kept"]
    ]
    ratios = [None, *sorted({row["least_ratio"] for row in rows if row["least_ratio"] is not None}, reverse=True)]
    lines = []
    for weights, sampler, calls in dict.fromkeys((row["weights"], row["sampler"], row["calls"]) for row in rows):
        of = [pick(rows, weights=weights, sampler=sampler, calls=calls, least_ratio=ratio) for ratio in ratios]
        if sum(row is not None for row in of) > 1:
            lines.append([f"{weights}, `{sampler}`, {calls} calls", *map(said, of)])
    return table(["sigma / alpha from", *("nowhere" if ratio is None else f"{ratio:g}" for ratio in ratios)], lines)


def families() -> tuple[dict[str, Any], str]:
    """Each small network's distances as multiples of the best."""
    found = read("family_sampling.json")
    names = [name for name in BESIDE if name != "euler"]
    keys = dict.fromkeys((row["family"], row["prediction"], row["schedule"]) for row in found["cases"])
    lines = []
    for family, prediction, schedule in sorted(keys):
        of = [
            row for row in found["cases"] if (row["family"], row["prediction"], row["schedule"]) == (family, prediction, schedule)
        ]
        of = [row for row in of if row["calls"] == FAMILY_CALLS and row["grid"] == "trailing"]
        measure = "distance" if "digits" in family else "to_training"
        means = {name: _mean(of, measure, sampler=name, least_ratio=from_ratio()) for name in names}
        best = min(means.values())
        cells = [f"**{mean / best:.2f}**" if mean == best else f"{mean / best:.2f}" for mean in means.values()]
        plain = _mean(of, measure, sampler="ddim", least_ratio=None)
        lines.append([f"{family}, {prediction}, {schedule}", f"{best:.3g}", *cells, f"{plain / best:.2f}"])
    return found, table(["", "best", *(f"`{name}`" for name in names), "not calibrated"], lines)


def _mean(rows: list[Row], measure: str, **facts: object) -> float:
    """Over seeds; infinite where samples were not finite."""
    values = [row[measure] for row in rows if all(row[name] == value for name, value in facts.items())]
    return fmean(math.inf if value is None else value for value in values)


def page() -> str:
    """The whole page."""
    found = read("sampling_quality.json")
    parts: dict[str, Any] = {
        "measured": f"{found['device']}, torch {found['torch']}; {found['images']:,} images trained, n = {found['n']:,}, floor "
        f"{found['floor']:.1f}",
        "samplers": samplers(found),
        "grids": grids(found),
        "calibration": calibration(found),
        "note": found.get("note", ""),
        "ratio": from_ratio(),
        "examples": "64",
    }
    small, parts["families"] = families()
    parts |= {"families_measured": f"CPU, torch {small['torch']}", "family_calls": str(FAMILY_CALLS)}
    return TEMPLATE.read_text(encoding="utf-8").format(**parts)


def plot() -> None:
    """FD by network calls on the eps-linear weights: ours drawn through, diffusers' dashed."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    found = read("sampling_quality.json")
    rows = [row for row in found["cases"] if row["weights"] == "eps-linear" and as_it_is(row)]
    figure, axes = pyplot.subplots(figsize=(7.2, 4.2))
    for number, (ours, theirs) in enumerate(BESIDE.items()):
        for name, implementation in ((ours, "ddpm-exp"), (theirs, "diffusers")):
            of = [row for row in rows if row["sampler"] == name and row["implementation"] == implementation]
            of = [row for row in of if implementation == "diffusers" or row["grid"] == "trailing"]
            points = sorted((row["calls"], row["fd"]) for row in of)
            style = {"color": f"C{number}", "ls": "-" if implementation == "ddpm-exp" else "--", "marker": "o", "ms": 3}
            if points:
                axes.plot(*zip(*points, strict=True), label=name if implementation == "ddpm-exp" else f"diffusers' {name}", **style)
    axes.axhline(found["floor"], color="grey", lw=0.8)
    axes.set(xscale="log", yscale="log", xlabel="network calls", ylabel=f"FD of {found['n']:,} samples")
    ticks, distances = [10, 25, 50, 100, 250], [40, 60, 100, 150, 250, 400]
    axes.set_xticks(ticks, [str(tick) for tick in ticks])
    axes.set_yticks(distances, [str(tick) for tick in distances])
    axes.minorticks_off()
    axes.legend(fontsize=7, ncols=2)
    figure.tight_layout()
    figure.savefig(PLOT, dpi=110, metadata={"Software": None})


def is_current() -> bool:
    """Whether the page is what the results and the template say."""
    return PAGE.exists() and PAGE.read_text(encoding="utf-8") == page()


if __name__ == "__main__":
    if "--check" not in sys.argv:
        PAGE.write_text(page(), encoding="utf-8")
        plot()
    sys.exit(0 if is_current() else f"{PAGE} is not current: python docs/make_sampling.py")
