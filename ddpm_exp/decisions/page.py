"""The page of a decision, docs/adr/NNNN-slug.md: what was decided, why, on what evidence and with which verdict. Judges nothing."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from ddpm_exp.decisions import evidence
from ddpm_exp.decisions.arm import Arm
from ddpm_exp.decisions.judged import Judged
from ddpm_exp.decisions.looks import in_words
from ddpm_exp.decisions.verdict import Verdict
from ddpm_exp.decisions.wording import markdown_table, plain, with_deviation, with_interval
from ddpm_exp.spec.decision import Decision

PAGES = Path("docs/adr")


class Change(Protocol):
    """A value that differs from the baseline's."""

    @property
    def path(self) -> str: ...
    @property
    def before(self) -> Any: ...
    @property
    def after(self) -> Any: ...


@dataclass(frozen=True)
class Page:
    """Everything that the page says. The same inputs give the same text, whenever it is written."""

    experiment_id: str
    """`ADR-0002`."""

    file: str
    """The experiment file as one types it, `experiments/adr_0002.py`."""

    decision: Decision
    verdict: Verdict
    variant: Arm
    baseline: Arm | None = None
    baseline_id: str | None = None
    """`ADR-0001`; None where nothing is built upon."""

    changes: Sequence[Change] = ()
    """What differs from the baseline."""

    facts: Mapping[str, str] = field(default_factory=dict)
    """Further facts to state, such as the number of parameters of each arm."""

    notes: Sequence[str] = ()
    """What a reader should know about these runs, as sentences."""

    superseded_by: str | None = None
    """Id of the record that replaced this one."""

    links: Mapping[str, str] = field(default_factory=dict)
    """Id of other records to the file names of their pages."""


def slug(title: str) -> str:
    """`title` as part of a file name: lower-case ASCII words joined by hyphens."""
    ascii_only = unicodedata.normalize("NFKD", title).encode("ascii", "ignore").decode()
    return re.sub(r"[^a-z0-9]+", "-", ascii_only.lower()).strip("-") or "untitled"


def page_path(number: int, title: str, folder: Path = PAGES) -> Path:
    """`docs/adr/0002-faster-convergence.md`."""
    return folder / f"{number:04d}-{slug(title)}.md"


def write_page(page: Page) -> str:
    """The page as Markdown, after the order of MADR (adr.github.io/madr) with criteria and evidence added."""
    decision = page.decision
    parts = [
        f"# {page.experiment_id}: {decision.title}",
        f"Date: {_date(page)}",
        f"## Status\n\n{_status(page)}",
        f"## Context\n\n{decision.context.strip()}",
        f"## Decision\n\n{decision.chosen.strip()}",
        f"### What changes\n\n{_changes(page)}",
        f"## Alternatives considered\n\n{_alternatives(decision)}",
        f"## Consequences\n\n{_consequences(decision)}",
        f"## Criteria\n\n{_criteria(page.verdict)}",
        f"## Verdict\n\n{_verdict(page.verdict)}",
        f"## Evidence\n\n{_evidence(page)}",
        f"## How to reproduce\n\n```\nddpm-exp run {page.file} --all\nddpm-exp decide {page.file}\n```",
    ]
    return "\n\n".join(parts) + "\n"


def _date(page: Page) -> str:
    runs = [*page.variant.runs, *(page.baseline.runs if page.baseline else ())]
    days = sorted(run.created[:10] for run in runs if run.created)
    text = page.decision.date or (days[0] if days else "not dated")
    return f"{text}; judged on runs started from {days[0]} to {days[-1]}" if days else text


def _link(page: Page, identity: str) -> str:
    target = page.links.get(identity)
    return f"[{identity}]({target})" if target else identity


def _status(page: Page) -> str:
    outcome, written = page.verdict.outcome, page.decision.status
    if page.superseded_by:
        lines = [f"Superseded by {_link(page, page.superseded_by)} (the runs' verdict on this one: {outcome})"]
    elif written == "superseded":
        lines = [f"Superseded (the runs' verdict: {outcome})"]
    elif outcome == "inconclusive":
        lines = ["Proposed: the runs are inconclusive so far"]
    else:
        lines = [outcome.capitalize()]
    if written in ("accepted", "rejected") and written != outcome:
        lines.append(f"The experiment file says {written}; the runs say {outcome}.")
    if page.decision.supersedes:
        lines.append(f"Supersedes {_link(page, page.decision.supersedes)}")
    return "\n\n".join(lines)


def _changes(page: Page) -> str:
    if page.baseline_id is None:
        return "This experiment builds on no other; it is a baseline itself."
    if not page.changes:
        return f"Nothing differs from {_link(page, page.baseline_id)}."
    rows = [(f"`{change.path}`", plain(change.before), plain(change.after)) for change in page.changes]
    return f"Against {_link(page, page.baseline_id)}:\n\n" + markdown_table(("path", "baseline", "this experiment"), rows)


def _alternatives(decision: Decision) -> str:
    if not decision.alternatives:
        return "None recorded."
    blocks = [
        f"**{a.title}.** {a.description.strip()}\n\n- {a.outcome.capitalize()}: {a.reason.strip()}" for a in decision.alternatives
    ]
    return "\n\n".join(blocks)


def _consequences(decision: Decision) -> str:
    blocks = []
    for heading in ("positive", "negative", "risks", "mitigations"):
        items = getattr(decision.consequences, heading)
        if items:
            blocks.append(f"**{heading.capitalize()}**\n\n" + "\n".join(f"- {' '.join(item.split())}" for item in items))
    return "\n\n".join(blocks) or "None recorded."


def _criteria(verdict: Verdict) -> str:
    if not verdict.criteria:
        return "The decision names no criteria, so runs cannot decide it."
    blocks = []
    for heading, judged in (("Accepted when all hold", verdict.accept), ("Rejected when any holds", verdict.reject)):
        if judged:
            head = ("criterion", "n", "this arm", "reference", "difference", "beyond the claim", "outcome")
            blocks.append(f"**{heading}**\n\n" + markdown_table(head, (_criterion_row(one) for one in judged)))
            blocks.append("\n".join(f"- {one.sentence}" for one in judged))
    blocks.append(
        "Values are mean ± standard deviation over seeds. Each end of an interval is a one-sided bound at the confidence that its "
        f"sentence gives. {_spent(verdict)} A criterion holds where its claim is exceeded by more than zero throughout the "
        "interval of the last but one column, fails where it is missed throughout, and is open otherwise."
    )
    return "\n\n".join(blocks)


def _spent(verdict: Verdict) -> str:
    """At which confidence this look judges, and why."""
    if verdict.error_share == 1:
        text = "The seeds are final, so that this look may spend all of each criterion's error"
    else:
        text = f"Look {verdict.look} may spend {verdict.error_share * 100:.4g} % of each criterion's error"
        text += "; the rest is left to seeds that may be added" if verdict.look == 1 else "; earlier looks had their parts"
    if len(verdict.reject) > 1:
        text += f", and the {len(verdict.reject)} criteria for rejection, any of which is enough, share that by Holm's rule"
    return text + "."


def _criterion_row(judged: Judged) -> tuple[str, ...]:
    criterion = judged.criterion
    bound = f"bound {criterion.value:g}" if criterion.value is not None else None
    return (
        str(criterion),
        str(judged.n) if bound or judged.n == judged.reference_n else f"{judged.n} and {judged.reference_n}",
        with_deviation(judged.mean, judged.deviation),
        bound or f"{with_deviation(judged.reference_mean, judged.reference_deviation)} ({criterion.against})",
        with_interval(judged.difference, judged.interval),
        with_interval(judged.slack, judged.slack_interval),
        f"**{judged.status}**",
    )


def _verdict(verdict: Verdict) -> str:
    lines = [f"**{verdict.outcome.capitalize()}.**", "\n".join(f"- {reason}" for reason in verdict.reasons)]
    if verdict.missing:
        lines.append("Still to run:\n\n" + "\n".join(f"- {sentence}" for sentence in verdict.missing))
    if verdict.cautions:
        lines.append("Beware:\n\n" + "\n".join(f"- {sentence}" for sentence in verdict.cautions))
    if verdict.amendments:
        lines.append("Seeds added after runs were made:\n\n" + "\n".join(f"- {in_words(one)}" for one in verdict.amendments))
    lines.append(f"{verdict.done} of {verdict.planned} planned runs are finished; all runs took {verdict.hours:.2f} hours.")
    return "\n\n".join(lines)


def _evidence(page: Page) -> str:
    blocks = [evidence.runs(page.variant, page.baseline), evidence.data(page.variant)]
    if page.facts:
        blocks.append(markdown_table(("fact", "value"), page.facts.items()))
    if page.notes:
        blocks.append("Notes:\n\n" + "\n".join(f"- {' '.join(note.split())}" for note in page.notes))
    return "\n\n".join(block for block in blocks if block)
