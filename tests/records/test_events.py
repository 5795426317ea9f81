"""What happened stays on record, whole, whatever cut a line off."""

from __future__ import annotations

from pathlib import Path

import pytest

from ddpm_exp.records.events import Event, EventsLog


def test_events_come_back_in_their_order_and_a_line_that_was_cut_off_spoils_none(tmp_path: Path) -> None:
    log = EventsLog(tmp_path / "events.jsonl")
    assert log.read() == []
    first, second = Event("rollback", 72, "back to 48", {"to_images": 48, "rate": 1e-3}), Event("symptom", 80, "a spike")
    log.append(first)
    with log.path.open("ab") as file:
        file.write(b'{"kind": "symp')
    assert log.read() == [first]
    log.append(second)
    assert log.read() == [first, second]


def test_an_event_tells_no_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_API_KEY", "a-very-secret-key")
    log = EventsLog(tmp_path / "events.jsonl")
    log.append(Event("out-of-memory", 0, "said a-very-secret-key"))
    assert "a-very-secret-key" not in log.path.read_text()
