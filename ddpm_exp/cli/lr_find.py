"""`ddpm-exp lr-find`: a learning-rate range test of an experiment. Parses and prints; `workflow` trains. Records nothing."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ddpm_exp.cli import completion
from ddpm_exp.cli.failures import INTERRUPTED
from ddpm_exp.cli.words import ExperimentWord, Force, Json, Overrides

if TYPE_CHECKING:
    from rich.console import Console

    from ddpm_exp.workflow.display import Display
    from ddpm_exp.workflow.lr_find import RateFound

FROM, TO, STEPS = 1e-7, 1e-2, 200
"""Guide 003's range."""

_NEAR = 2.0
"""A rate within this factor of the recommended one is as good: the test is no finer."""


def lr_find(
    file: str | Path,
    overrides: Sequence[str] = (),
    *,
    first: float = FROM,
    last: float = TO,
    steps: int = STEPS,
    seed: int = 0,
    out: str | Path | None = None,
    force: bool = False,
    smoke: bool = False,
    gpu: str | None = None,
    display: Display | None = None,
) -> RateFound:
    """Train `steps` steps at rates from `first` to `last` and say which rate the losses suggest; `out` is a PNG to write.

    Touches no run. Raises `UserError` for a wrong experiment, range or file, before the first step.
    """
    from ddpm_exp.loading.loaded import load_experiment, resolve
    from ddpm_exp.training.range_test import geometric

    # Before anything that takes torch: a mistake is told at once.
    rates = geometric(first, last, steps)
    loaded = load_experiment(resolve(str(file)), overrides)

    from ddpm_exp.workflow.display import Quiet
    from ddpm_exp.workflow.lr_find import find_rate
    from ddpm_exp.workflow.options import RunOptions

    picture = None if out is None else Path(out).expanduser()
    options = RunOptions(gpu=gpu, smoke=smoke)
    return find_rate(loaded, rates, options, display or Quiet(), seed=seed, out=picture, force=force)


def command(
    file: ExperimentWord,
    overrides: Overrides = None,
    first: Annotated[float, typer.Option("--from", metavar="RATE", help="The first rate.")] = FROM,
    last: Annotated[float, typer.Option("--to", metavar="RATE", help="The last rate.")] = TO,
    steps: Annotated[int, typer.Option("--steps", help="Optimizer steps, each at a larger rate.")] = STEPS,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Initial weights and draws.")] = 0,
    out: Annotated[Path | None, typer.Option("--out", metavar="FILE.png", help="Draw the curve into this file.")] = None,
    force: Force = False,
    smoke: Annotated[bool, typer.Option("--smoke", help="A small network on little data: does everything work?")] = False,
    gpu: Annotated[
        str | None,
        typer.Option(
            "--gpu", metavar="NAME", help="Plan for this GPU's memory; 'cpu' forces the CPU.", autocompletion=completion.gpus
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Find a learning rate: train briefly at rates that grow, and see where the loss falls and where it is lowest.

    The steps are the experiment's own (optimizer, clipping, precision, images per step), from its initial weights. Nothing is
    recorded, and its runs do not change. The test ends early where the mean loss exceeds 4 times its best or is not finite;
    Ctrl-C ends it with what there is.

    Recommended is a tenth of the rate with the lowest loss (guide 003). Also told is the rate of the steepest fall (Smith 2017).
    Losses are smoothed over a twentieth of the steps in each direction.

    Exit codes: 0 done, whatever was found; 1 failed; 2 wrong input; 130 stopped by Ctrl-C or SIGTERM.

    \b
    ddpm-exp lr-find experiments/quickstart.py
    ddpm-exp lr-find adr_0002 training.images_per_step=64 --from 1e-6 --to 1e-1 --out lr.png
    """
    from ddpm_exp.cli.display import display_for
    from ddpm_exp.cli.output import console, print_json, say

    screen = console(stderr=as_json)
    display = display_for(screen)
    try:
        found = lr_find(
            file,
            overrides or (),
            first=first,
            last=last,
            steps=steps,
            seed=seed,
            out=out,
            force=force,
            smoke=smoke,
            gpu=gpu,
            display=display,
        )
    finally:
        display.close()
    if as_json:
        print_json(found)
    else:
        _print(screen, found)
        if smoke:
            say(screen, "--smoke only shows that everything works: the rate is that of another, smaller network")
    if found.signalled:
        raise typer.Exit(INTERRUPTED)


def _print(screen: Console, found: RateFound) -> None:
    from ddpm_exp.cli.lr_plot import lr_plot
    from ddpm_exp.cli.output import say, table

    test, reading, now = found.test, found.reading, found.training.learning_rate
    say(screen, _ending(found))
    if not test.losses:
        return
    marks = {"T": reading.tenth, "S": reading.steepest, "L": reading.lowest, "N": now}
    for line in lr_plot(test.rates, test.losses, reading.smoothed, marks, screen.width):
        say(screen, line)
    grid = table("", "rate", "is", right=("rate",))
    for letter, name in (
        ("T", "a tenth of the rate with the lowest loss (guide 003): recommended"),
        ("S", "where the loss falls fastest (Smith 2017)"),
        ("L", "where the loss is lowest"),
        ("N", f"training.learning_rate now (peak of its schedule '{found.training.rate}')"),
    ):
        rate = marks[letter]
        grid.add_row(letter, "-" if rate is None else f"{rate:.2g}", name)
    screen.print(grid)
    for line in _advice(found):
        say(screen, line, "bold")
    if found.out is not None:
        say(screen, f"written to {found.out}")


def _ending(found: RateFound) -> str:
    """How the test came to its end."""
    test = found.test
    last = f"{test.rates[-1]:.2g}" if test.rates else "the first rate"
    return {
        "complete": f"all {test.planned} steps done",
        "diverged": f"ended after {len(test.rates)} of {test.planned} steps: at {last} the loss had diverged",
        "not finite": f"ended after {len(test.rates)} of {test.planned} steps: beyond {last} loss or gradient was not finite",
        "stopped": f"stopped after {len(test.rates)} of {test.planned} steps, at {last}",
    }[test.end]


def _advice(found: RateFound) -> list[str]:
    """What to do about the experiment's rate."""
    reading, now = found.reading, found.training.learning_rate
    if reading.recommended is None:
        return ["no suggestion: the loss did not fall beyond its noise; take more --steps, a larger --to or more images per step"]
    lines = []
    if reading.still_falling and found.test.end == "stopped":
        lines.append("the loss still fell when the test was stopped, so a larger rate may do")
    elif reading.still_falling:
        further = min(1.0, 10 * found.test.rates[-1])
        lines.append(f"the loss was lowest at the end of the range, so a larger rate may do: try --to {further:.2g}")
    ratio = reading.recommended / now
    if 1 / _NEAR <= ratio <= _NEAR:
        lines.append(f"recommended: {reading.recommended:g}; the experiment's {now:g} is as good within what the test can tell")
    else:
        word = f"{ratio:.2g} times" if ratio > 1 else f"1/{1 / ratio:.2g} of"
        lines.append(f"recommended: training.learning_rate={reading.recommended:g}, {word} the experiment's {now:g}")
    return lines
