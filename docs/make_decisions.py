"""Writes the simulated part of docs/decisions.md: how often criteria hold when they are false, and when they are true, from
benchmarks/results/false_accepts.json.

python docs/make_decisions.py             write it
python docs/make_decisions.py --check     only say whether the page is current
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

DOCS = Path(__file__).parent
PAGE = DOCS / "decisions.md"
RESULTS = DOCS.parent / "benchmarks" / "results" / "false_accepts.json"
MEASURED = RESULTS.with_name("noise_luck.json")
BEGIN, END = "<!-- simulated: written by docs/make_decisions.py -->\n", "<!-- end of simulated -->\n"

TABLES = {
    "bounds": (
        "Measured numbers against a number",
        "Normal over seeds. Power where the mean lies three standard deviations (of the seeds) beyond the number.",
    ),
    "contrasts": (
        "Measured numbers against another arm",
        "Power where the means differ by three standard deviations (of the difference of two seeds) more than claimed. Paired arms "
        "share a part of their luck.",
    ),
    "shares": (
        "Shares of 200 samples against a number",
        "What a seed's share is in truth is beta over seeds, with the share's mean and the spread (standard deviation). Power "
        "where the number is 0.15, 0.07 or 0.016 away (for 0.5, 0.9 and 0.98).",
    ),
    "share contrasts": ("Shares of 200 samples against another arm's", "Power where the reference is lower by 0.15."),
    "counts": (
        "Counts of events against a number",
        "Poisson with this mean, which the spread lets differ between seeds (gamma). Power where the number is a fifth of the mean "
        "(`>=`) or three times the mean (`<=`).",
    ),
    "several": (
        "Any of several criteria for rejection",
        "All false, of independent measures. Power where one is true by three standard deviations.",
    ),
    "growing": (
        "Seeds that are added as long as the criterion does not hold",
        "One criterion, looked at with each number of seeds. Power where the mean is 1.5 standard deviations beyond the claim.",
    ),
    "noise": (
        "The luck of evaluation noise",
        "`<=` its own true mean, with this part of the variance from the noise of evaluation. Six trained networks with 16 sets of "
        "noise gave 23, 41 and 45 % for 2, 3 and 5 seeds, when one noise was for all seeds: nearly all of the variance was luck.",
    ),
    "shares before": (
        "Shares as they were judged before",
        "Student's t of the shares themselves, seeds alike; equal shares counted as certain.",
    ),
    "beyond": (
        "What no rule for a handful of seeds can keep",
        "Shares claimed to be at least their true mean, of runs that differ by as much as is lacking to one, or seldom collapse: "
        "without a bad one among the seeds, nothing tells of them.",
    ),
}
"""Table of the results to its heading and what is to be known of it, in order."""


def section(found: dict[str, Any]) -> str:
    """All tables, as the page has them."""
    trials, limit, worst = f"{found['trials']:,}", found["limit"] * 100, found["worst"] * 100
    lines = [
        f"Simulated by `benchmarks/false_accepts.py` with the functions that judge, {trials} times each, at 95 % and in one look "
        "unless said: how often a criterion holds whose claim is just not true, and after the stroke (power) how often one whose "
        f"claim is true. Three standard errors above 5 % are {limit:.2f} %; the most of any rule in force is **{worst:.2f} %**.",
        "",
    ]
    for name, (title, note) in TABLES.items():
        rows = found["tables"][name]
        lines += [f"### {title}", "", note, "", *_table(rows), ""]
        if name == "noise":
            lines += _measured(json.loads(MEASURED.read_text(encoding="utf-8")))
    return "\n".join(lines)


def _measured(found: dict[str, Any]) -> list[str]:
    """What networks and noises did, in parts of the variance and in claims."""
    body = []
    for name, one in found["measures"].items():
        parts = [f"{one['variance'][part] * 100:.0f} %" for part in ("networks", "noise", "rest")]
        rates = [", ".join(f"{rate * 100:.0f}" for rate in one["held"][rule].values()) + " %" for rule in ("shared", "per-seed")]
        body.append([f"`{name}`", *parts, *rates])
    seeds = ", ".join(next(iter(found["measures"].values()))["held"]["shared"])
    of = f"{found['networks']} networks of `{found['experiment']}` (smaller and shorter) with {found['noises']} sets of noise"
    text = (
        f"Measured by `benchmarks/noise_luck.py` on {of}: parts of the variance between networks, between sets of noise that all "
        "networks share, and of both together; and how often `<=` the mean of all held with "
        f"{seeds} of the networks. So few networks make these rates coarse."
    )
    head = ["measure", "networks", "noise", "rest", "one noise for all seeds (before)", "a noise for each"]
    return [text, "", *_markdown(head, body), ""]


def _table(rows: list[dict[str, Any]]) -> list[str]:
    """A row for each setting, a column for each number of seeds."""
    columns = list(dict.fromkeys(row["seeds"] for row in rows))
    if not all(isinstance(column, int) for column in columns):
        return _by_rule(rows, columns)
    keys = [key for key in rows[0] if key not in ("seeds", "false", "effect", "power", "kept")]
    cells: dict[tuple[Any, ...], dict[Any, str]] = {}
    for row in rows:
        cells.setdefault(tuple(row[key] for key in keys), {})[row["seeds"]] = _rates(row)
    body = [[*map(_plain, setting), *(found.get(column, "") for column in columns)] for setting, found in cells.items()]
    return _markdown([*keys, *(f"{column} seeds" for column in columns)], body)


def _by_rule(rows: list[dict[str, Any]], plans: list[str]) -> list[str]:
    """A row for each way that seeds grow, a column for each rule."""
    rules = list(dict.fromkeys(row["rule"] for row in rows))
    cells = {(row["seeds"], row["rule"]): _rates(row) for row in rows}
    return _markdown(["seeds", *rules], [[plan, *(cells[plan, rule] for rule in rules)] for plan in plans])


def _rates(row: dict[str, Any]) -> str:
    power = f" / {row['power'] * 100:.0f} %" if "power" in row else ""
    return f"{row['false'] * 100:.1f} %{power}"


def _plain(value: Any) -> str:
    return f"`{value}`" if value in ("<= x", ">= x") else f"{value:g}" if isinstance(value, float) else str(value)


def _markdown(head: list[str], body: list[list[str]]) -> list[str]:
    return [f"| {' | '.join(cells)} |" for cells in (head, ["---"] * len(head), *body)]


def page(text: str) -> str:
    """The page with that part anew."""
    before, rest = text.split(BEGIN)
    return before + BEGIN + section(json.loads(RESULTS.read_text(encoding="utf-8"))) + END + rest.split(END)[1]


def is_current() -> bool:
    """Whether the page says what the results say."""
    text = PAGE.read_text(encoding="utf-8")
    return text == page(text)


if __name__ == "__main__":
    if "--check" not in sys.argv:
        PAGE.write_text(page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
    elif not is_current():
        sys.exit("docs/decisions.md is not current; run python docs/make_decisions.py")
