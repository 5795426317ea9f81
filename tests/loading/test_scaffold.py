"""A new experiment file loads and validates as written, and nothing is ever overwritten."""

from __future__ import annotations

from pathlib import Path

import pytest

from ddpm_exp.loading.diff import diff_experiments
from ddpm_exp.loading.loaded import load_experiment
from ddpm_exp.loading.scaffold import new_experiment, next_number
from ddpm_exp.spec.errors import UserError

TITLES = [
    "Halve the learning rate",
    'Say "no" to\nlinear \\ schedules {x}',
    "2x wider",
    "Conservative",
    "Decision",
    "Größer",
    "none",
    "a '''\"\"\"",
]


@pytest.mark.parametrize("title", TITLES)
def test_a_new_experiment_loads_as_written(parent, title):
    file = new_experiment(title, parent, parent.parent)
    loaded = load_experiment(file)
    assert loaded.experiment.decision is not None and loaded.baseline is not None
    assert loaded.experiment.decision.title == " ".join(title.split())
    assert loaded.experiment.decision.accept_when and loaded.experiment.decision.reject_when
    assert (loaded.id, loaded.baseline.id) == ("ADR-0002", "ADR-0001")
    assert diff_experiments(loaded.baseline.experiment, loaded.experiment) == ()


def test_numbers_go_up_and_leave_gaps_alone(write, parent):
    assert next_number(parent.parent) == 2
    write("adr_0007.py", "")
    write("notes.py", "")
    assert next_number(parent.parent) == 8
    assert next_number(Path("nowhere")) == 1


def test_new_files_follow_each_other(parent):
    first, second = (new_experiment("Same title", parent, parent.parent) for _ in range(2))
    assert (first.name, second.name) == ("adr_0002.py", "adr_0003.py")


def test_an_existing_file_is_never_overwritten(parent, monkeypatch):
    before = parent.read_text()
    monkeypatch.setattr("ddpm_exp.loading.scaffold.next_number", lambda folder: 1)
    with pytest.raises(UserError, match="not overwritten"):
        new_experiment("Mine", parent, parent.parent)
    assert parent.read_text() == before


def test_a_title_without_words_and_a_source_that_cannot_be_imported_are_refused(write, parent):
    with pytest.raises(UserError, match="cannot be imported"):
        new_experiment("Mine", write("my-exp.py", parent.read_text()), parent.parent)
    for title in ("  ", "???"):
        with pytest.raises(UserError, match="title"):
            new_experiment(title, parent, parent.parent)
    assert [file.name for file in parent.parent.glob("adr_*.py")] == [parent.name]
