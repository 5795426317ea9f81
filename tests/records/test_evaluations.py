"""Evaluations keep their values with all that they depend on, line by line, and lose none that was whole."""

from __future__ import annotations

import json
import math
from pathlib import Path

from ddpm_exp.records.evaluations import Evaluated, EvaluationsLog, unequal

FIRST = Evaluated(512, {"samples/fd_effnet": 126.2}, {"n": 3000, "reals": "held-out"}, {"sampler": "ddim"}, {"seconds": 3.5})


def test_lines_are_added_and_read_back(tmp_path: Path) -> None:
    log = EvaluationsLog(tmp_path / "evaluations.jsonl")
    assert log.read() == []
    second = Evaluated(512, {"samples/fd_effnet": math.nan}, {"n": 5000}, {}, by="evaluate")
    log.append(FIRST)
    log.append(second)
    read = log.read()
    assert read[0] == FIRST and math.isnan(read[1].values["samples/fd_effnet"]) and read[1].by == "evaluate"
    assert json.loads(log.path.read_text().splitlines()[1])["values"] == {"samples/fd_effnet": None}


def test_a_line_that_a_crash_cut_off_is_left_out_and_stays_a_line_of_its_own(tmp_path: Path) -> None:
    log = EvaluationsLog(tmp_path / "evaluations.jsonl")
    log.append(FIRST)
    with log.path.open("ab") as file:
        file.write(b'{"images": 51')
    log.append(FIRST)
    assert log.read() == [FIRST, FIRST]


def test_what_differs_in_measuring_is_named_and_drawing_is_not() -> None:
    other = Evaluated(512, {"samples/fd_effnet": 89.0}, {"n": 5000, "reals": "held-out"}, {"sampler": "heun"})
    assert unequal(FIRST, other) == [("n", 3000, 5000)]
    assert unequal(FIRST, Evaluated(9, {}, FIRST.measurement, {"sampler": "heun"})) == []
