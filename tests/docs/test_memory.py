"""docs/make_memory.py counts errors as they are recorded, and its page holds today's estimates of guide 000's claims."""

from __future__ import annotations

import re
import sys
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The modules of the script, by name."""
    monkeypatch.syspath_prepend(str(DOCS))
    names = ("make_memory", "memory_records", "memory_measured", "memory_guides")
    for name in names:
        sys.modules.pop(name, None)
    return SimpleNamespace(**{name.removeprefix("memory_"): import_module(name) for name in names})


def test_errors_are_counted_as_where_they_are_recorded(script: Any) -> None:
    found = script.records.measured()
    records = script.records.peaks_of(found)
    assert script.measured.spread([record["error"] for record in records]) == found["errors"]["all"]
    assert script.measured.spread([r["error"] for r in records if script.records.is_fp32(r)]) == found["errors"]["fp32"]
    assert script.measured.spread([r["error"] for r in records if script.records.is_compiled(r)]) == found["errors"]["compiled"]


def test_a_kind_that_misses_what_was_asked_says_what(script: Any) -> None:
    good = script.measured.spread([0.01, -0.02, 0.03])
    assert script.measured.missed(good) == []
    assert script.measured.missed(script.measured.spread([0.01, -0.031, 0.01])) == ["below"]
    assert script.measured.missed(script.measured.spread([0.07, 0.07, 0.07])) == ["median", "95th percentile"]


def test_a_range_holds_up_to_its_tolerance_and_says_by_how_much_it_does_not(script: Any) -> None:
    assert script.records.against(4, 8, {"fp32": 3.9, "bf16": 8.1}, unit=1) == "holds: fp32 in it, bf16 in it"
    assert (
        script.records.against(4, 8, {"fp32": 2.0, "bf16": 5.0}, unit=1)
        == "holds in part: fp32 0.50 times the lower end, bf16 in it"
    )
    assert script.records.against(4, 8, {"fp32": 12.0}, unit=1) == "does not hold: fp32 1.50 times the upper end"


def test_guide_000s_widths_stand_on_the_page_with_todays_estimates(script: Any) -> None:
    text = (DOCS / "memory.md").read_text(encoding="utf-8")
    part = text.split(script.make_memory.GUIDES[0])[1].split(script.make_memory.GUIDES[1])[0]
    rows = dict(line.strip("| ").split(" | ", 4)[1:3] for line in part.splitlines() if line.startswith("| 000 |"))
    for row, _ in zip(script.guides.guide_000(script.records.measured()), range(4), strict=False):
        now, then = (list(map(float, re.findall(r"\d+\.\d+", cell))) for cell in (row.estimated, rows[row.claim]))
        assert then == pytest.approx(now, rel=0.02), "run python docs/make_memory.py"
