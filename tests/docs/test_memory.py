"""docs/make_memory.py counts errors as they are recorded, and its page holds today's estimates of guide 000's claims."""

from __future__ import annotations

import re
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture
def make_memory(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(DOCS))
    sys.modules.pop("make_memory", None)
    return import_module("make_memory")


def test_errors_are_counted_as_where_they_are_recorded(make_memory: Any) -> None:
    found = make_memory.measured()
    records = make_memory.peaks_of(found)
    assert make_memory.spread([record["error"] for record in records]) == found["errors"]["all"]
    assert make_memory.spread([r["error"] for r in records if make_memory.is_fp32(r)]) == found["errors"]["fp32"]
    assert make_memory.spread([r["error"] for r in records if make_memory.is_compiled(r)]) == found["errors"]["compiled"]


def test_a_kind_that_misses_what_was_asked_says_what(make_memory: Any) -> None:
    good = make_memory.spread([0.01, -0.02, 0.03])
    assert make_memory.missed(good) == []
    assert make_memory.missed(make_memory.spread([0.01, -0.031, 0.01])) == ["below"]
    assert make_memory.missed(make_memory.spread([0.07, 0.07, 0.07])) == ["median", "95th percentile"]


def test_a_range_holds_up_to_its_tolerance_and_says_by_how_much_it_does_not(make_memory: Any) -> None:
    assert make_memory.against(4, 8, {"fp32": 3.9, "bf16": 8.1}, unit=1) == "holds: fp32 in it, bf16 in it"
    assert (
        make_memory.against(4, 8, {"fp32": 2.0, "bf16": 5.0}, unit=1) == "holds in part: fp32 0.50 times the lower end, bf16 in it"
    )
    assert make_memory.against(4, 8, {"fp32": 12.0}, unit=1) == "does not hold: fp32 1.50 times the upper end"


def test_guide_000s_widths_stand_on_the_page_with_todays_estimates(make_memory: Any) -> None:
    text = (DOCS / "memory.md").read_text(encoding="utf-8")
    part = text.split(make_memory.GUIDES[0])[1].split(make_memory.GUIDES[1])[0]
    rows = dict(line.strip("| ").split(" | ", 4)[1:3] for line in part.splitlines() if line.startswith("| 000 |"))
    for row, _ in zip(make_memory.guide_000(make_memory.measured()), range(4), strict=False):
        now, then = (list(map(float, re.findall(r"\d+\.\d+", cell))) for cell in (row.estimated, rows[row.claim]))
        assert then == pytest.approx(now, rel=0.02), "run python docs/make_memory.py"
