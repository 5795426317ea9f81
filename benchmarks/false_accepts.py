"""How often does each kind of criterion hold though it is false, and how often when it is true?

    python benchmarks/false_accepts.py --out benchmarks/results/false_accepts.json            (ten minutes on one core)
    python benchmarks/false_accepts.py --trials 200 --table shares                            (a look at one table)

Draws the values that seeds would have, and gives them to the functions that `ddpm-exp decide` judges by. "false": the truth lies
exactly at the claim's edge, where a false claim is supported most often. "power": the truth lies beyond it, by the row's "effect".
Each row has its own random numbers, whatever rows stand before it. "limit" is the error that the confidence allows and three
standard errors of the simulation. Rows marked "(before)" and the table "shares before" show rules that these replaced, and "beyond"
what no rule for a handful of seeds can keep.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
import zlib
from pathlib import Path
from typing import Any

import false_accept_cases
import false_accept_verdicts
import numpy as np

SEED = 20250609
ERROR = 0.05
"""1 - the confidence of every criterion here."""


def limit(trials: int) -> float:
    """The allowed error and three standard errors of its estimate."""
    return ERROR + 3 * math.sqrt(ERROR * (1 - ERROR) / trials)


def simulate(case: false_accept_cases.Case, trials: int) -> dict[str, Any]:
    """The row of `case`: how often it holds at the edge of the claim, and beyond it."""

    def share(what: str, effect: float) -> float:
        rng = np.random.default_rng([SEED, zlib.crc32(f"{case.key}/{what}".encode())])
        return sum(case.trial(rng, effect) for _ in range(trials)) / trials

    row = {**case.facts, "false": share("false", 0.0)}
    if case.effect:
        row |= {"effect": case.effect, "power": share("power", case.effect)}
    return row if case.kept else {**row, "kept": False}


def worst(tables: dict[str, list[dict[str, Any]]]) -> float:
    """The largest rate of false claims among rules in force."""
    return max(row["false"] for rows in tables.values() for row in rows if row.get("kept", True))


def main() -> None:
    """Simulate, print each row as it comes, and write all of them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=10_000)
    parser.add_argument("--table", help="only this one, and with --out in place of what the file has of it")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    began, tables = time.perf_counter(), {}
    for case in (*false_accept_cases.cases(), *false_accept_verdicts.cases()):
        if given.table in (None, case.table):
            row = simulate(case, given.trials)
            tables.setdefault(case.table, []).append(row)
            print(case.table, json.dumps(row), flush=True)
    seconds = time.perf_counter() - began
    if given.table and given.out:
        before = json.loads(given.out.read_text(encoding="utf-8"))
        if (before["trials"], before["seed"]) != (given.trials, SEED):
            sys.exit(f"{given.out} has other trials or another seed; leave out --table")
        tables = {**before["tables"], **tables}
    found = {
        "trials": given.trials,
        "seed": SEED,
        "error": ERROR,
        "limit": limit(given.trials),
        "worst": worst(tables),
        "python": sys.version.split()[0],
        "numpy": np.__version__,
        "tables": tables,
    }
    if given.out:
        given.out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    print(f"worst {found['worst']:.4f} of at most {found['limit']:.4f}; {seconds:.0f} s")
    if found["worst"] > found["limit"]:
        sys.exit("a rule accepts more often than it says")


if __name__ == "__main__":
    main()
