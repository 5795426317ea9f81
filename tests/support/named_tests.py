"""Pages name the tests that keep their statements; this finds names of tests that do not exist."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def named(page: str) -> list[tuple[str, str]]:
    """Every `tests/file.py::test_name` on a page of docs/, as file and test."""
    return re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", (ROOT / "docs" / page).read_text(encoding="utf-8"))


def missing(page: str) -> list[str]:
    """Those that no file defines."""
    absent = []
    for file, test in named(page):
        source = ROOT / file
        if not source.is_file() or f"def {test}(" not in source.read_text(encoding="utf-8"):
            absent.append(f"{file}::{test}")
    return absent
