"""The page says all that was decided, with the numbers, and is the same text for the same inputs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from ddpm_exp.decisions.arm import Arm
from ddpm_exp.decisions.page import Page, page_path, slug, write_page
from ddpm_exp.decisions.verdict import judge
from ddpm_exp.spec.decision import Alternative, Consequences, Criterion, Decision, metric

Make = Callable[..., Arm]

DENOISING = metric("val/denoising")


@dataclass(frozen=True)
class Difference:
    path: str
    before: Any
    after: Any


DECISION = Decision(
    title="Faster convergence",
    date="2025-06-09",
    context="The loss fell slowly.",
    chosen="A higher rate.",
    alternatives=(
        Alternative(title="Larger images", description="Go to 64x64.", reason="One thing at a time."),
        Alternative(title="Rate schedule", description="Cosine.", outcome="deferred", reason="If this shows promise."),
    ),
    consequences=Consequences(positive=("Faster",), negative=("Unstable",), risks=("Diverges",), mitigations=("Watch | it",)),
    accept_when=(DENOISING.falls(by="5%"),),
    reject_when=(metric("train/bad_steps") >= 1,),
    supersedes="ADR-0000",
)


def a_page(arm: Make, ours: tuple[float, ...] = (0.080, 0.091, 0.086), **changes: Any) -> Page:
    seeds = {"planned": (0, 1, 2)}
    variant = arm("adr_0002", {"val/denoising": ours, "train/bad_steps": [0.0] * len(ours)}, **seeds)
    baseline = arm("adr_0001", {"val/denoising": (0.100, 0.110, 0.105)}, **seeds)
    decision = changes.pop("decision", DECISION)
    values: dict[str, Any] = {
        "experiment_id": "ADR-0002",
        "file": "experiments/adr_0002.py",
        "decision": decision,
        "verdict": judge(decision, variant, baseline),
        "variant": variant,
        "baseline": baseline,
        "baseline_id": "ADR-0001",
        "changes": (Difference("training.learning_rate", 5e-6, 5e-5), Difference("model.multipliers", [1, 2], None)),
        "facts": {"parameters": "34.2 M and 19.3 M: 44 % fewer"},
        "notes": ("Both arms stopped at five epochs.",),
        "links": {"ADR-0001": "0001-conservative.md", "ADR-0000": "0000-start.md"},
    }
    return Page(**{**values, **changes})


def test_everything_that_was_written_is_on_the_page(arm: Make) -> None:
    text = write_page(a_page(arm))
    for words in (
        "# ADR-0002: Faster convergence",
        "Date: 2025-06-09; judged on runs started from 2025-06-10 to 2025-06-12",
        "## Status\n\nAccepted\n\nSupersedes [ADR-0000](0000-start.md)",
        "The loss fell slowly.",
        "A higher rate.",
        "Against [ADR-0001](0001-conservative.md)",
        "| `training.learning_rate` | 5e-06 | 5e-05 |",
        "| `model.multipliers` | [1, 2] | null |",
        "**Larger images.** Go to 64x64.\n\n- Rejected: One thing at a time.",
        "- Deferred: If this shows promise.",
        "**Positive**\n\n- Faster",
        "**Negative**\n\n- Unstable",
        "**Risks**\n\n- Diverges",
        "**Mitigations**\n\n- Watch | it",
        "**Accepted.**",
        "6 of 6 planned runs are finished",
        "| parameters | 34.2 M and 19.3 M: 44 % fewer |",
        "Both arms stopped at five epochs.",
        "ddpm-exp run experiments/adr_0002.py --all",
    ):
        assert words in text, words


def test_the_criteria_carry_their_numbers(arm: Make) -> None:
    text = write_page(a_page(arm))
    row = next(line for line in text.splitlines() if line.startswith("| val/denoising falls by 5 %"))
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert cells[1:4] == ["3", "0.08567 ± 0.0055", "0.105 ± 0.005 (baseline)"]
    assert cells[4] == "-0.01933 [-0.02048, -0.01819]"
    assert cells[5].startswith("+0.01408 [+0.0")
    assert cells[6] == "**holds**"
    assert "| train/bad_steps >= 1 (confidence 95 %) | 3 | 0 ± 0 | bound 1 |" in text


def test_the_same_inputs_give_the_same_page(arm: Make) -> None:
    page = a_page(arm)
    shuffled = replace(page, variant=replace(page.variant, runs=tuple(reversed(page.variant.runs))))
    assert write_page(page) == write_page(a_page(arm)) == write_page(shuffled)


def test_the_runs_are_named_without_the_machines_folders(arm: Make) -> None:
    text = write_page(a_page(arm))
    assert "`runs/adr_0002/aaaaaaaaaaaa/0-00000000` | 0 | `aaaaaaaaaaaa` | 4,096 | 0.50 | cpu | 2.14.1 | yes |" in text
    assert "/data" not in text


def test_what_is_missing_is_on_the_page(arm: Make) -> None:
    text = write_page(a_page(arm, (0.080, 0.091)))
    assert "Proposed: the runs are inconclusive so far" in text
    assert "**Inconclusive.**\n\n- 5 of 6 planned runs are finished" in text
    assert "Still to run:\n\n- ADR-0002, seed 2, has no run" in text


def test_runs_that_do_not_count_are_listed_with_the_reason(arm: Make) -> None:
    page = a_page(arm)
    first = page.variant.runs[0]
    more = (
        replace(first, path=first.path.with_name("0-later"), created="2026-01-01"),
        replace(first, path=first.path.with_name("9-extra"), seed=9),
        replace(first, path=first.path.with_name("1-broken"), seed=1, state="failed", hours=None),
    )
    text = write_page(replace(page, variant=replace(page.variant, runs=(*page.variant.runs, *more))))
    assert "| no: an earlier run of this seed counts |" in text
    assert "| no: seed not planned |" in text
    assert "| n/a | cpu | 2.14.1 | no: failed |" in text


@pytest.mark.parametrize(
    ("config", "words"),
    [
        (
            {"data.kind": "fashion-mnist", "data.subset": 2048, "data.image_size": 32},
            "one fixed 2,048-image subset of Fashion-MNIST, the same for every arm and seed, which defines the epoch",
        ),
        ({"data.kind": "cifar10", "data.subset": None}, "all 2,048 training images of CIFAR-10, which are one epoch"),
    ],
)
def test_the_page_says_which_images_make_an_epoch(arm: Make, config: dict[str, Any], words: str) -> None:
    variant = arm("adr_0002", {"val/denoising": (0.1, 0.1, 0.1)}, config=config)
    assert words in write_page(a_page(arm, variant=variant))


@pytest.mark.parametrize(
    ("written", "superseded_by", "words"),
    [
        ("proposed", None, "## Status\n\nAccepted\n"),
        ("rejected", None, "The experiment file says rejected; the runs say accepted."),
        ("proposed", "ADR-0003", "Superseded by ADR-0003 (the runs' verdict on this one: accepted)"),
        ("superseded", None, "Superseded (the runs' verdict: accepted)"),
    ],
)
def test_the_status_follows_the_verdict_and_contradictions_are_told(
    arm: Make, written: Any, superseded_by: str | None, words: str
) -> None:
    assert words in write_page(a_page(arm, decision=DECISION.but(status=written), superseded_by=superseded_by))


def test_a_record_without_runs_or_criteria_still_has_a_page(arm: Make) -> None:
    bare = Decision(title="Start", context="c", chosen="d", seeds=(0,))
    nothing = arm("adr_0001", {"val/denoising": ()}, planned=(0,))
    page = Page("ADR-0001", "experiments/adr_0001.py", bare, judge(bare, nothing, None), nothing)
    text = write_page(page)
    assert "Date: not dated" in text
    assert "No runs yet." in text
    assert "names no criteria" in text


def test_a_bar_in_a_cell_does_not_break_the_table(arm: Make) -> None:
    text = write_page(a_page(arm, facts={"a|b": "c\nd"}))
    assert "| a\\|b | c d |" in text


@pytest.mark.parametrize(
    ("title", "expected"),
    [
        ("Faster Convergence, at last!", "faster-convergence-at-last"),
        ("Größe & café", "groe-cafe"),
        ("日本", "untitled"),
        ("../../etc/passwd", "etc-passwd"),
    ],
)
def test_a_title_becomes_a_file_name(title: str, expected: str) -> None:
    assert slug(title) == expected
    assert page_path(2, title) == Path(f"docs/adr/0002-{expected}.md")


def test_each_criterion_is_on_the_page_even_when_open(arm: Make) -> None:
    criteria: tuple[Criterion, ...] = (DENOISING.falls(), metric("samples/fid") <= 30)
    text = write_page(a_page(arm, decision=DECISION.but(accept_when=criteria)))
    assert "samples/fid is not recorded, or not finite, at the end for seeds 0, 1 and 2" in text
    assert "| samples/fid <= 30 (confidence 95 %) | 0 | n/a | bound 30 | n/a | n/a | **open** |" in text
