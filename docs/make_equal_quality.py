"""Writes docs/equal_quality.md and its picture from benchmarks/results/equal_quality.json: our trainer beside diffusers' loop.

python docs/make_equal_quality.py             write them, where there are results
python docs/make_equal_quality.py --check     only say whether the page is current
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

DOCS = Path(__file__).parent
RESULTS = DOCS.parent / "benchmarks" / "results" / "equal_quality.json"
PAGE, PICTURE = DOCS / "equal_quality.md", DOCS / "pictures" / "equal_quality.png"

NAMES = {"ours": "ddpm-exp", "peer": "diffusers' loop"}
COLOURS = {"ours": "#d9480f", "peer": "#1864ab"}

PROSE = """# Trained as well as anyone's?

DDPM's U-Net for CIFAR-10 (35.7 M parameters, linear schedule, eps) trained by `ddpm-exp run` and by diffusers' usual loop, with the
same data, batch, rate, warm-up, clip, flips, averaging rule and, pair by pair, initial weights; then one sampler draws from both.
FD is the Frechet distance of EfficientNet-Lite0's features of {n:,} samples to the test images: not FID, and on another scale.
{n:,} training images stand at {floor:.1f}. {device}, torch {torch}. Written by `docs/make_equal_quality.py` from the results of
`benchmarks/equal_quality.py`; intervals are of 95 %, over seeds.
"""


def table(head: list[str], rows: list[list[str]]) -> str:
    """Markdown, all but the first column to the right."""
    marks = ["---", *["---:"] * (len(head) - 1)]
    return "\n".join("| " + " | ".join(row) + " |" for row in (head, marks, *rows))


def between(found: dict[str, Any] | None, digits: int) -> str:
    """A mean and its interval; None where the trainers have no seed in common."""
    if found is None:
        return "-"
    interval = found["interval"]
    return f"{found['mean']:.{digits}f}" + (
        f" ({interval[0]:.{digits}f} to {interval[1]:.{digits}f})" if interval else " (one seed)"
    )


def equal_images(found: dict[str, Any]) -> str:
    """FD after all images, by trainer, initial weights and average."""
    rows = []
    for pair in found["summary"]:
        begun = pair["initial_weights"]
        rows.append([f"{NAMES['ours']}, initial weights of {begun['ours']}", between(pair["fd"]["ours"], 1), ""])
        rows.append(
            [f"{NAMES['peer']}, initial weights of {begun['peer']}", between(pair["fd"]["peer"], 1), between(pair.get("ratio"), 3)]
        )
        usual = between(pair["fd_usual"]["peer"], 1)
        rows.append(
            ["the same training, averaged by EMAModel as in diffusers' example", usual, between(pair.get("ratio_usual"), 3)]
        )
    images = found["settings"]["images"]
    return f"## At equal images ({images:,})\n\n" + table(["trainer", "FD", "ours over it, seed by seed"], rows)


def equal_minutes(found: dict[str, Any]) -> str:
    """Minutes to the same FD."""
    rows = []
    for one in found["summary"][0]["same_fd"]:
        ours, ratio = ("-", "-") if one["ratio"] is None else (f"{one['our_minutes']:.2f}", f"{one['ratio']:.1f} x")
        rows.append([f"{one['fd']:.1f}", f"{one['peer_minutes']:.2f}", ours, ratio])
    speeds = {NAMES[name]: f"{speed:,.0f} images/s" for name, speed in found["images_per_second_alone"].items()}
    compiled = " Its network is compiled." if found["compiled"] else ""
    text = "## At equal minutes\n\nMinutes of steps on an undisturbed GPU, by each trainer's speed there: "
    text += ", ".join(f"{name} {speed}" for name, speed in speeds.items()) + f".{compiled} The trainings themselves ran up to "
    text += f"{max(run['at_once'] for run in found['runs'])} at once.\n\n![FD against minutes](pictures/{PICTURE.name})\n\n"
    return text + table(["FD", f"minutes, {NAMES['peer']}", f"minutes, {NAMES['ours']}", "sooner"], rows)


def page(found: dict[str, Any]) -> str:
    """The whole page."""
    parts = [
        PROSE.format(**{name: found[name] for name in ("n", "floor", "device", "torch")}),
        equal_images(found),
        equal_minutes(found),
    ]
    return "\n\n".join(part.strip() for part in parts) + "\n"


def draw(found: dict[str, Any], path: Path) -> None:
    """Each training's FD against its minutes."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axis = pyplot.subplots(figsize=(7, 4), layout="constrained")
    for run in found["runs"]:
        moments = run["moments"]
        style = "-" if run["initial_weights"] == "ddpm-exp" else "--"
        label = f"{NAMES[run['trainer']]}, initial weights of {run['initial_weights']}"
        known = label in axis.get_legend_handles_labels()[1]
        points = ([one["minutes"] for one in moments], [one["fd"] for one in moments])
        axis.plot(*points, style, marker="o", markersize=3, color=COLOURS[run["trainer"]], label=None if known else label)
    axis.axhline(found["floor"], color="#9aa5b1", linewidth=1, label="training images")
    axis.set(xscale="log", yscale="log", xlabel="minutes of steps on one GPU", ylabel="FD")
    axis.legend(fontsize=8)
    path.parent.mkdir(exist_ok=True)
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


def is_current() -> bool:
    """Whether the page is what the results say; without results, whether there is none."""
    results = recorded()
    if results is None:
        return not PAGE.exists()
    return PAGE.exists() and PAGE.read_text(encoding="utf-8") == page(results)


def recorded() -> dict[str, Any] | None:
    """The results; None before there are both trainers' runs."""
    if not RESULTS.exists():
        return None
    found: dict[str, Any] = json.loads(RESULTS.read_text(encoding="utf-8"))
    return found if found["summary"] else None


if __name__ == "__main__":
    results = recorded()
    if "--check" in sys.argv:
        if not is_current():
            sys.exit("docs/equal_quality.md is not current; run python docs/make_equal_quality.py")
    elif results is not None:
        PAGE.write_text(page(results), encoding="utf-8")
        draw(results, PICTURE)
