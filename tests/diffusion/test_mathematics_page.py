"""docs/mathematics.md names the test behind each statement; the names must be of tests that exist."""

from __future__ import annotations

from support.named_tests import missing, named


def test_every_test_that_the_page_names_exists() -> None:
    assert len(named("mathematics.md")) > 40
    assert missing("mathematics.md") == []
