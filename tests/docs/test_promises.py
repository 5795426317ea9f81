"""docs/promises.md names the test that keeps each promise; the names must be of tests that exist."""

from __future__ import annotations

from support.named_tests import ROOT, missing, named


def test_every_test_that_the_page_names_exists() -> None:
    assert len(named("promises.md")) > 80
    assert missing("promises.md") == []


def test_every_promise_names_a_test() -> None:
    lines = (ROOT / "docs" / "promises.md").read_text(encoding="utf-8").splitlines()
    rows = [line for line in lines if line.startswith("| ") and line != "| promise | kept by |"]
    assert len(rows) > 60
    assert [row for row in rows if "`tests/" not in row] == []
