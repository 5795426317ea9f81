"""Writes two parts of docs/memory.md: what CUDA trainings really took, from benchmarks/results/memory_truth.json, with its plot;
and what the guides say about memory beside today's estimates.

python docs/make_memory.py             write them (about a minute)
python docs/make_memory.py --check     only say whether the page is current
"""

from __future__ import annotations

import sys
from typing import Any

from memory_guides import guides
from memory_measured import picture, truth
from memory_records import DOCS, measured

PAGE = DOCS / "memory.md"
TRUTH = ("<!-- truth: written by docs/make_memory.py -->\n", "<!-- end of truth -->\n")
GUIDES = ("<!-- guides: written by docs/make_memory.py -->\n", "<!-- end of guides -->\n")


def within(text: str, marks: tuple[str, str], section: str) -> str:
    """The page with that part anew."""
    before, rest = text.split(marks[0])
    return before + marks[0] + section + marks[1] + rest.split(marks[1])[1]


def page(found: dict[str, Any], text: str) -> str:
    """All of it."""
    return within(within(text, TRUTH, truth(found)), GUIDES, guides(found))


def is_current(*, estimates: bool = False) -> bool:
    """Whether the page says what the results say; with `estimates`, in the parts that need new estimates, too."""
    found, text = measured(), PAGE.read_text(encoding="utf-8")
    return text == (page(found, text) if estimates else within(text, TRUTH, truth(found)))


if __name__ == "__main__":
    if "--check" not in sys.argv:
        results = measured()
        PAGE.write_text(page(results, PAGE.read_text(encoding="utf-8")), encoding="utf-8")
        picture(results)
    elif not is_current(estimates=True):
        sys.exit("docs/memory.md is not current; run python docs/make_memory.py")
