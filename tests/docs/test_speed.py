"""The pages of speed, memory, decisions and the guides' claims say what the recorded results say."""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"


@pytest.mark.parametrize(
    "name", ["make_speed", "make_equal_quality", "make_claims", "make_memory", "make_decisions", "make_sampling"]
)
def test_the_page_is_what_the_results_say(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(DOCS))
    sys.modules.pop(name, None)
    assert import_module(name).is_current(), f"run python docs/{name}.py"
