"""Reads recorded runs: the verdict and its page, the comparison of two arms, the board. Trains nothing."""

from __future__ import annotations

import contextlib
import re
from dataclasses import dataclass
from pathlib import Path

from ddpm_exp.decisions.arm import Arm
from ddpm_exp.decisions.board import BoardRow, board_row, sorted_board
from ddpm_exp.decisions.page import Page, page_path, write_page
from ddpm_exp.decisions.verdict import Verdict, judge
from ddpm_exp.loading.diff import diff_experiments
from ddpm_exp.loading.loaded import Loaded, load_experiment, resolve
from ddpm_exp.loading.places import shown
from ddpm_exp.records.atomic import write_atomically
from ddpm_exp.records.run_directory import RunDirectory
from ddpm_exp.reports.comparison import Comparison
from ddpm_exp.reports.comparison import compare as compare_arms
from ddpm_exp.spec.errors import UserError
from ddpm_exp.spec.identity import criteria_hash
from ddpm_exp.workflow.arms import arm_of_run, arms_of
from ddpm_exp.workflow.options import RunOptions
from ddpm_exp.workflow.parameters import parameter_count


@dataclass(frozen=True)
class Decided:
    """A verdict and the page that records it."""

    verdict: Verdict
    page: Path | None
    """None for an experiment that is no numbered ADR."""


def decide(loaded: Loaded, options: RunOptions, adr_folder: Path = Path("docs/adr")) -> Decided:
    """Judge the experiment's criteria by the recorded runs and write its page if it is a numbered ADR.

    Raises UserError where there is no decision, or where the arms cannot be compared.
    """
    decision = loaded.experiment.decision
    if decision is None:
        raise UserError(
            "there is nothing to decide: the experiment has no decision",
            field=f"{loaded.class_name}.decision",
            fix="write decision = Decision(title=..., accept_when=(...)), or use `ddpm-exp compare` for the numbers",
        )
    verdict, text = page_of(loaded, options.root, adr_folder)
    number = adr_number(loaded.id)
    if number is None:
        return Decided(verdict, None)
    path = page_path(number, decision.title, adr_folder)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, text.encode())
    return Decided(verdict, path)


def page_of(loaded: Loaded, root: Path, adr_folder: Path = Path("docs/adr")) -> tuple[Verdict, str]:
    """The verdict so far and the text of the page. The experiment must have a decision."""
    decision = loaded.experiment.decision
    if decision is None:
        raise ValueError(f"{loaded.id} has no decision")
    variant, baseline = arms_of(loaded, root)
    verdict = judge(decision, variant, baseline, criteria_hash=criteria_hash(loaded.experiment))
    parent = loaded.baseline
    page = Page(
        experiment_id=loaded.id,
        file=shown(loaded.path),
        decision=decision,
        verdict=verdict,
        variant=variant,
        baseline=baseline,
        baseline_id=parent.id if parent else None,
        changes=diff_experiments(parent.experiment, loaded.experiment) if parent else (),
        facts=_facts(loaded),
        superseded_by=_superseded_by(loaded),
        links=_links(adr_folder),
    )
    return verdict, write_page(page)


def _facts(loaded: Loaded) -> dict[str, str]:
    facts = {}
    for arm in (loaded, loaded.baseline):
        count = parameter_count(arm.experiment) if arm else None
        if arm and count is not None:
            facts[f"parameters of {arm.id}"] = f"{count:,}"
    return facts


def _superseded_by(loaded: Loaded) -> str | None:
    """Id of the experiment in the same folder whose decision replaces this one; the last of several. Files that do not load
    say nothing."""
    found = None
    for path in sorted(loaded.path.parent.glob("*.py")):
        # Loading runs the file: only those that may have something to say.
        if path.name == loaded.path.name or "supersedes" not in path.read_text(encoding="utf-8", errors="replace"):
            continue
        with contextlib.suppress(UserError):
            other = load_experiment(path)
            decision = other.experiment.decision
            if decision is not None and decision.supersedes == loaded.id:
                found = other.id
    return found


def _links(adr_folder: Path) -> dict[str, str]:
    """ADR ids to the pages that exist."""
    return {f"ADR-{path.name[:4]}": path.name for path in sorted(adr_folder.glob("[0-9][0-9][0-9][0-9]-*.md"))}


def adr_number(identity: str) -> int | None:
    """2 for `ADR-0002`; None for what is no ADR."""
    found = re.fullmatch(r"ADR-(\d+)", identity)
    return int(found[1]) if found else None


def compare(a: str, b: str | None, options: RunOptions) -> Comparison:
    """Two experiments or run directories side by side; without `b`, the baseline of experiment `a`.

    Raises UserError where data or evaluation settings differ, or where there is nothing to compare with.
    """
    first, baseline = _arms_named(a, options)
    if b is None:
        return compare_arms(first, baseline)
    return compare_arms(first, _arms_named(b, options)[0])


def _arms_named(word: str, options: RunOptions) -> tuple[Arm, Arm | None]:
    if Path(word).is_dir():
        return arm_of_run(RunDirectory.open(word)), None
    return arms_of(load_experiment(resolve(word)), options.root)


def board(experiments: Path, options: RunOptions) -> list[BoardRow]:
    """A row for every experiment file with a decision; a file that does not load gets a row that says why."""
    if not experiments.is_dir():
        raise UserError("no such folder of experiments", field=str(experiments), fix="name it with --experiments")
    rows = []
    for path in sorted(experiments.glob("*.py")):
        if path.name.startswith("_"):
            continue
        try:
            loaded = load_experiment(path)
        except UserError as error:
            rows.append(BoardRow(path.stem, "", "", "invalid", "", 0, 0, 0.0, error.rule))
            continue
        decision = loaded.experiment.decision
        if decision is not None:
            variant, baseline = arms_of(loaded, options.root)
            rows.append(board_row(loaded.id, decision, variant, baseline, criteria_hash=criteria_hash(loaded.experiment)))
    return sorted_board(rows)
