"""The page and the summary that a complete run leaves behind."""

from __future__ import annotations

from typing import Any

from ddpm_exp.decisions.verdict import Verdict, judge
from ddpm_exp.records.run_directory import RunDirectory
from ddpm_exp.spec.errors import UserError
from ddpm_exp.spec.identity import criteria_hash
from ddpm_exp.workflow.arms import arms_of
from ddpm_exp.workflow.early import STOPPED_EARLY
from ddpm_exp.workflow.judge import page_of
from ddpm_exp.workflow.prepare import Prepared


def run_page(prepared: Prepared, parameters: int, run: RunDirectory) -> str:
    """The decision's page as of this run, or a short page of facts for an experiment that decides nothing."""
    if prepared.experiment.decision is not None:
        try:
            return page_of(prepared.loaded, run.path.parents[2])[1]
        except UserError as error:
            return f"# {prepared.loaded.id}\n\nThe runs cannot be judged: {error}\n"
    lines = [f"# {prepared.loaded.id}: {prepared.loaded.class_name}", "", "A run without a decision.", ""]
    lines += [f"- parameters: {parameters:,}", f"- seed: {run.manifest.seed}", f"- science hash: {prepared.science_hash}", ""]
    if STOPPED_EARLY in run.status().facts:
        lines += [f"It {run.status().message}.", ""]
    if events := run.events.read():
        lines += ["What happened:", "", *(f"- {event.text}" for event in events), ""]
    lines += ["| metric | last value |", "|---|---|"]
    lines += [f"| {name} | {value:.6g} |" for name, value in sorted(last_values(run).items())]
    return "\n".join(lines) + "\n"


def summary_of(prepared: Prepared, run: RunDirectory) -> dict[str, Any]:
    """For W&B: the last value of every metric, and how each criterion stands with the runs on this disk."""
    summary: dict[str, Any] = {f"final/{name}": value for name, value in last_values(run).items()}
    if STOPPED_EARLY in run.status().facts:
        summary[STOPPED_EARLY] = run.status().message
    if events := run.events.read():
        summary["events"] = [event.text for event in events]
    verdict = _verdict(prepared, run)
    if verdict is not None:
        summary["verdict"] = verdict.outcome
        for number, judged in enumerate(verdict.criteria, 1):
            summary[f"criteria/{number}"] = f"{judged.criterion}: {judged.status}"
    return summary


def last_values(run: RunDirectory) -> dict[str, float]:
    """The value of every metric at the most images seen."""
    values: dict[str, float] = {}
    for row in run.metrics.read():
        values |= row.values
    return values


def _verdict(prepared: Prepared, run: RunDirectory) -> Verdict | None:
    decision = prepared.experiment.decision
    if decision is None:
        return None
    variant, baseline = arms_of(prepared.loaded, run.path.parents[2])
    try:
        return judge(decision, variant, baseline, criteria_hash=criteria_hash(prepared.experiment))
    except UserError:
        return None
