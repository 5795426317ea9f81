"""A comparison shows every recorded metric, judges none without a direction, and prints as table, Markdown and JSON."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from ddpm_exp.decisions.arm import Arm, Run
from ddpm_exp.decisions.board import BoardRow
from ddpm_exp.reports.comparison import Comparison, Row, compare
from ddpm_exp.reports.markdown import board_markdown, comparison_markdown
from ddpm_exp.reports.table import board_table, comparison_table
from ddpm_exp.spec.errors import UserError


def arm(name: str, finals: Mapping[str, Sequence[float]], seeds: Sequence[int] = (0, 1, 2), **config: Any) -> Arm:
    """Finished runs whose run i ends with finals[metric][i]."""
    units = {"images_per_step": 8, "images_per_epoch": 64, "total_images": 64}
    runs = tuple(
        Run(
            path=Path(f"runs/{name}/abc/{seed}-0"),
            seed=seed,
            state="finished",
            science_hash="abc",
            units=units,
            config={"diffusion.timesteps": 500, **config},
            series={metric: ((64, values[index]),) for metric, values in finals.items() if index < len(values)},
        )
        for index, seed in enumerate(seeds)
    )
    return Arm(name.upper(), name, "abc", tuple(seeds), runs)


A = {"val/denoising": (0.080, 0.091, 0.086), "train/loss": (0.03, 0.04, 0.05), "samples/coherence": (0.5, 0.6, 0.7)}
B = {"val/denoising": (0.100, 0.110, 0.105), "train/loss": (0.06, 0.07, 0.08), "samples/fid": (90.0, 91.0, 95.0)}


def row(comparison: Comparison, metric: str) -> Row:
    return next(row for row in comparison.rows if row.metric == metric)


def test_a_difference_has_its_95_percent_interval() -> None:
    found = row(compare(arm("a", A), arm("b", B)), "val/denoising")
    assert (found.a.n, found.b.n, found.method) == (3, 3, "paired t")
    assert found.difference == pytest.approx(-0.058 / 3)
    # The differences -0.020, -0.019, -0.019 have the standard error 1/3000; t(0.975, 2 degrees) is 4.302653.
    assert found.interval == pytest.approx((-0.0193333 - 4.302653 / 3000, -0.0193333 + 4.302653 / 3000), abs=1e-6)
    assert found.favours == "a"


def test_a_metric_of_one_arm_only_is_not_compared() -> None:
    comparison = compare(arm("a", A), arm("b", B))
    for metric, lacking in (("samples/coherence", "B"), ("samples/fid", "A")):
        found = row(comparison, metric)
        assert (found.difference, found.interval, found.favours) == (None, None, None)
        assert found.note == f"not recorded for {lacking}"


def test_a_metric_without_direction_favours_nobody() -> None:
    found = row(compare(arm("a", A), arm("b", B)), "train/loss")
    assert found.difference == pytest.approx(-0.03)
    assert found.favours is None


def test_losses_of_different_schedules_get_no_difference() -> None:
    comparison = compare(arm("a", A, **{"diffusion.timesteps": 200}), arm("b", B))
    found = row(comparison, "train/loss")
    assert found.difference is None
    assert "diffusion.timesteps: 200 against 500" in found.note
    assert row(comparison, "val/denoising").difference is not None


def test_arms_with_other_seeds_are_independent() -> None:
    assert row(compare(arm("a", A), arm("b", B, seeds=(3, 4, 5))), "val/denoising").method == "Welch t"


def test_one_seed_has_a_difference_and_no_interval() -> None:
    found = row(compare(arm("a", A, seeds=(0,)), arm("b", B, seeds=(0,))), "val/denoising")
    assert found.difference == pytest.approx(-0.02)
    assert (found.interval, found.favours) == (None, None)


def test_swapping_the_arms_flips_differences_and_favour() -> None:
    there = row(compare(arm("a", A), arm("b", B)), "val/denoising")
    back = row(compare(arm("b", B), arm("a", A)), "val/denoising")
    assert there.difference is not None and back.difference is not None and there.interval and back.interval
    assert there.difference == -back.difference
    assert there.interval == pytest.approx((-back.interval[1], -back.interval[0]))
    assert (there.favours, back.favours) == ("a", "b")


def test_other_evaluation_settings_are_refused() -> None:
    with pytest.raises(UserError, match=r"evaluation\.held_out: 100 in a, 200 in b"):
        compare(arm("a", A, **{"evaluation.held_out": 100}), arm("b", B, **{"evaluation.held_out": 200}))


def test_the_json_is_strict() -> None:
    values = json.loads(json.dumps(compare(arm("a", A), arm("b", B)).to_json(), allow_nan=False))
    assert (values["a"], values["b"]) == ("A", "B")
    assert values["rows"][0].keys() >= {"metric", "a", "b", "difference", "interval", "unit", "better"}


def test_markdown_sets_only_the_better_arm_in_bold() -> None:
    lines = comparison_markdown(compare(arm("a", A), arm("b", B))).splitlines()
    assert lines[0] == "| metric | better | n | A | n | B | difference [95 % interval] | note |"
    denoising = next(line for line in lines if line.startswith("| val/denoising"))
    assert "**0.08567 ± 0.0055**" in denoising
    assert "**0.105" not in denoising
    assert "**" not in next(line for line in lines if line.startswith("| train/loss"))


def test_one_arm_alone_has_its_own_table() -> None:
    text = comparison_markdown(compare(arm("a", A)))
    assert text.splitlines()[0] == "| metric | better | n | A |"
    assert "difference" not in text


def test_missing_seeds_are_told() -> None:
    partial = Arm("A", "a", "abc", (0, 1, 2, 3), arm("a", A).runs)
    assert compare(partial, arm("b", B)).notes == ("A: 3 of 4 planned runs are finished; seed 3 missing",)


def test_an_arm_without_runs_compares_to_nothing_and_says_so() -> None:
    comparison = compare(Arm("A", "a", "abc", (0,)), None)
    assert comparison.rows == ()
    assert "No metrics recorded" in comparison_markdown(comparison)


def printed(table: object) -> str:
    console = Console(width=240, record=True, file=io.StringIO())
    console.print(table)
    return console.export_text()


def test_the_terminal_shows_brackets_as_they_are() -> None:
    comparison = compare(arm("a", A), arm("b", B))
    rows = tuple(replace(row, note="[red] note") for row in comparison.rows)
    text = printed(comparison_table(replace(comparison, a="[bold] a", rows=rows, notes=("[blue] limit",))))
    for words in ("[bold] a", "[red] note", "[blue] limit"):
        assert words in text
    assert "difference [95 % interval]" in text
    assert "-0.01933 [-0.02077, -0.0179]" in text


def test_the_board_prints_a_line_for_each_decision() -> None:
    rows = [BoardRow("ADR-0002", "Faster [red] ink", "proposed", "accepted", "val/denoising -0.1 [-0.2, -0.05]", 6, 6, 3.0)]
    for text in (printed(board_table(rows)), board_markdown(rows)):
        assert "ADR-0002" in text
        assert "Faster [red] ink" in text
        assert "val/denoising -0.1 [-0.2, -0.05]" in text
        assert "6/6" in text


def test_shares_have_intervals_of_shares_and_a_bad_start_is_no_success() -> None:
    """Equal shares of 200 had an interval without width; and the larger fall from a worse start was the better arm."""
    ours = {
        "samples/class_accuracy": (0.9, 0.9, 0.9),
        "samples/judged": (200.0,) * 3,
        "val/denoising_fall_per_epoch": (0.09, 0.091, 0.09),
    }
    theirs = {**ours, "val/denoising_fall_per_epoch": (0.014, 0.015, 0.014)}
    comparison = compare(arm("a", ours), arm("b", theirs))
    low, high = row(comparison, "samples/class_accuracy").interval or (0.0, 0.0)
    assert low < -0.02 and high > 0.02
    assert row(comparison, "val/denoising_fall_per_epoch").favours is None
    del ours["samples/judged"], theirs["samples/judged"]
    assert "how many" in row(compare(arm("a", ours), arm("b", theirs)), "samples/class_accuracy").note
