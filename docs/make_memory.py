"""Writes the part of docs/memory.md on what CUDA trainings really took, from benchmarks/results/memory_truth.json, and its plot.

python docs/make_memory.py             write both
python docs/make_memory.py --check     only say whether the page is current
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

DOCS = Path(__file__).parent
RESULTS = DOCS.parent / "benchmarks" / "results" / "memory_truth.json"
PAGE, PICTURE = DOCS / "memory.md", DOCS / "pictures" / "memory_truth.png"
BEGIN, END = "<!-- truth: written by docs/make_memory.py -->\n", "<!-- end of truth -->\n"


def section(found: dict[str, Any]) -> str:
    """Errors, and every training by its size of error."""
    lines = [
        f"{found['device']}, torch {found['torch']}: {len(found['records']) // 2} trainings, each in a process of its own, and a"
    ]
    lines += ["drawing of up to 256 images after each. Against what the whole process takes of the GPU:", ""]
    lines += ["| | peaks | median error | 95th percentile | lowest | highest | more than 3 % below |"]
    lines += ["|---|---:|---:|---:|---:|---:|---:|"]
    for name, errors in found["errors"].items():
        cells = [errors["records"], *(f"{errors[key]:.1%}" for key in ("median", "percentile_95"))]
        cells += [*(f"{errors[key]:+.1%}" for key in ("lowest", "highest")), errors["more_than_3_percent_below"]]
        lines.append(f"| {name} | " + " | ".join(map(str, cells)) + " |")
    lines += ["", "![estimates against the truth](pictures/memory_truth.png)", "", "The ten that are furthest off:", ""]
    lines += ["| training | peak of | estimated, MiB | measured, MiB | error |", "|---|---|---:|---:|---:|"]
    for record in sorted(found["records"], key=lambda record: -abs(record["error"]))[:10]:
        sizes = [f"{record[key] / 2**20:,.0f}" for key in ("predicted_bytes", "process_bytes")]
        lines.append(f"| {record['experiment']} | {record['mode']} | " + " | ".join(sizes) + f" | {record['error']:+.1%} |")
    return "\n".join(lines) + "\n"


def page(found: dict[str, Any]) -> str:
    """The page with its section anew."""
    before, rest = PAGE.read_text(encoding="utf-8").split(BEGIN)
    return before + BEGIN + section(found) + END + rest.split(END)[1]


def picture(found: dict[str, Any]) -> None:
    """Estimated against measured, and the error."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, (sizes, errors) = pyplot.subplots(1, 2, figsize=(9, 3.6))
    for label, wanted, colour in (("16 bits", False, "tab:blue"), ("fp32", True, "tab:orange")):
        some = [record for record in found["records"] if ("fp32" in record["experiment"]) == wanted]
        truth = [record["process_bytes"] / 2**30 for record in some]
        sizes.plot(truth, [record["predicted_bytes"] / 2**30 for record in some], "o", ms=3, color=colour, label=label)
        errors.plot(truth, [100 * record["error"] for record in some], "o", ms=3, color=colour)
    sizes.plot([1, 45], [1, 45], color="grey", lw=0.6)
    sizes.set(xscale="log", yscale="log", xlabel="measured, GiB", ylabel="estimated, GiB")
    errors.axhspan(-3, 6, color="grey", alpha=0.15)
    errors.set(xscale="log", xlabel="measured, GiB", ylabel="error, %", ylim=(-45, 45))
    sizes.legend()
    figure.tight_layout()
    figure.savefig(PICTURE, dpi=110)


def is_current() -> bool:
    """Whether the page says what the results say."""
    return PAGE.read_text(encoding="utf-8") == page(json.loads(RESULTS.read_text()))


if __name__ == "__main__":
    results = json.loads(RESULTS.read_text())
    if "--check" not in sys.argv:
        PAGE.write_text(page(results), encoding="utf-8")
        picture(results)
    elif not is_current():
        sys.exit("docs/memory.md is not current; run python docs/make_memory.py")
