"""The gallery says what the recorded runs say."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"


def test_the_gallery_is_what_the_recorded_runs_say(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(DOCS))
    sys.modules.pop("make_gallery", None)
    import make_gallery

    assert make_gallery.is_current(), "run python docs/make_gallery.py"


def test_every_family_beats_an_untrained_network_and_noise_over_three_seeds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(DOCS))
    import make_gallery

    text = make_gallery.page()
    assert text.count("Verdict: **accepted** (3 of 3 planned runs).") == len(make_gallery.FAMILIES)
