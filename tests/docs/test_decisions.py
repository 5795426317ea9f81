"""The simulated rates of false claims: all of rules in force within their limit, and repeated by the script that wrote them."""

from __future__ import annotations

import json
import math
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(scope="module")
def found() -> dict[str, Any]:
    """What is recorded."""
    recorded: dict[str, Any] = json.loads((BENCHMARKS / "results" / "false_accepts.json").read_text(encoding="utf-8"))
    return recorded


def test_no_rule_in_force_holds_falsely_more_often_than_it_says(found: dict[str, Any]) -> None:
    limit = 0.05 + 3 * math.sqrt(0.05 * 0.95 / found["trials"])
    in_force = [row for rows in found["tables"].values() for row in rows if row.get("kept", True)]
    assert found["trials"] == 10_000 and len(in_force) > 150
    assert max(row["false"] for row in in_force) <= limit


def test_every_case_of_the_script_is_recorded_and_a_few_trials_agree(
    found: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    names = ("false_accepts", "false_accept_cases", "false_accept_verdicts")
    for name in names:
        sys.modules.pop(name, None)
    script, *parts = (import_module(name) for name in names)
    cases = [case for part in parts for case in part.cases()]
    assert {case.table for case in cases} == set(found["tables"])
    for table, rows in found["tables"].items():
        own = [case for case in cases if case.table == table]
        assert [dict(case.facts) for case in own] == [{key: row[key] for key in own[0].facts} for row in rows]
        few = script.simulate(own[0], 40)
        assert abs(few["false"] - rows[0]["false"]) < 4 * math.sqrt(0.25 / 40)
