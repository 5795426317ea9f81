"""`ddpm-exp decide`: the verdict that the recorded runs give, its page, and its exit code. Runs nothing."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ddpm_exp.cli.words import DEFAULT_RUNS, Amend, ExperimentWord, Json, Runs

if TYPE_CHECKING:
    from rich.console import Console

    from ddpm_exp.decisions.verdict import Verdict
    from ddpm_exp.workflow.judge import Decided

EXIT_CODES = {"accepted": 0, "inconclusive": 3, "rejected": 4}
"""Exit code of `decide` by outcome."""

PAGES = Path("docs/adr")


def decide(file: str | Path, root: Path = DEFAULT_RUNS, pages: Path = PAGES, amend: str | None = None) -> Decided:
    """Judge the experiment's criteria by its runs under `root` and write its page into `pages`.

    `amend`: why seeds were added after runs were made; recorded beside the runs. Raises `UserError` where the file has no decision,
    its runs cannot be compared, or seeds were added without a reason.
    """
    from ddpm_exp.loading.loaded import load_experiment, resolve

    loaded = load_experiment(resolve(str(file)))
    from ddpm_exp.workflow.amend import settle_plan
    from ddpm_exp.workflow.judge import decide as judge
    from ddpm_exp.workflow.options import RunOptions

    if amend is not None:
        settle_plan(loaded, root, amend)
    return judge(loaded, RunOptions(root=root), pages)


def command(
    file: ExperimentWord,
    root: Runs = DEFAULT_RUNS,
    pages: Annotated[Path, typer.Option("--pages", metavar="DIR", help="Folder of the decision pages.")] = PAGES,
    amend: Amend = None,
    as_json: Json = False,
) -> None:
    """Judge an experiment by its recorded runs, write its page docs/adr/NNNN-*.md, and exit with the verdict.

    Exit codes: 0 accepted, 3 inconclusive (the output says what is still to run), 4 rejected.
    """
    from ddpm_exp.cli.output import console, print_json, say

    decided = decide(file, root, pages, amend)
    if as_json:
        print_json(decided)
    else:
        screen = console()
        print_verdict(screen, decided.verdict)
        if decided.page is not None:
            say(screen, f"page: {decided.page}")
    raise typer.Exit(EXIT_CODES[decided.verdict.outcome])


_STYLES = {"accepted": "bold green", "rejected": "bold red", "inconclusive": "bold yellow"}
_MARKS = {"holds": "green", "fails": "red", "open": "yellow"}


def print_verdict(screen: Console, verdict: Verdict) -> None:
    """The outcome and why, each criterion with what was found, what is still to run, and what to beware of."""
    from rich.text import Text

    from ddpm_exp.cli.output import say
    from ddpm_exp.decisions.looks import in_words

    say(screen, f"verdict: {verdict.outcome}", _STYLES[verdict.outcome])
    for reason in verdict.reasons:
        say(screen, f"  {reason}")
    for heading, criteria in (("accept when all hold", verdict.accept), ("reject when any holds", verdict.reject)):
        if criteria:
            say(screen, f"  {heading}:")
        for judged in criteria:
            mark = (f"{judged.status:5}", _MARKS[judged.status])
            why = f"{judged.numbers}; {judged.reason}" if judged.numbers else judged.reason
            screen.print(Text.assemble("    ", mark, f"  {judged.criterion}\n           {why}"), soft_wrap=True)
    for amendment in verdict.amendments:
        say(screen, f"  {in_words(amendment)}")
    for what in verdict.missing:
        say(screen, f"  still to run: {what}")
    for caution in verdict.cautions:
        say(screen, f"  beware: {caution}", "yellow")
    say(screen, f"  {verdict.done} of {verdict.planned} planned runs are finished")
