"""Amendments are lines beside the runs: appended, read back as they were, and never lost without a word."""

from __future__ import annotations

from pathlib import Path

import pytest

from ddpm_exp.records.amendments import Amendment, AmendmentLog
from ddpm_exp.spec.errors import RunError

ONE = Amendment(why="they differ", before=(0, 1), after=(0, 1, 2), look=2, error_share=0.1875)


def test_what_is_appended_is_read_in_order(tmp_path: Path) -> None:
    log = AmendmentLog(tmp_path, "adr_0002", "abc")
    assert log.read() == ()
    log.path.parent.mkdir(parents=True)
    more = ONE.but(before=(0, 1, 2), after=(0, 1, 2, 3), look=3, why="still\nso")
    log.append(ONE)
    log.append(more)
    assert log.read() == (ONE, more)
    assert len(log.path.read_text().splitlines()) == 2


def test_a_damaged_line_is_an_error_with_its_number(tmp_path: Path) -> None:
    log = AmendmentLog(tmp_path, "adr_0002", "abc")
    log.path.parent.mkdir(parents=True)
    log.append(ONE)
    log.path.write_text(log.path.read_text() + '{"why": 1}\n')
    with pytest.raises(RunError, match="line 2 is damaged"):
        log.read()


def test_a_folder_that_is_not_there_refuses(tmp_path: Path) -> None:
    with pytest.raises(RunError):
        AmendmentLog(tmp_path, "adr_0002", "abc").append(ONE)
