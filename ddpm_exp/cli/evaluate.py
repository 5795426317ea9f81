"""`ddpm-exp evaluate`: measures images of a recorded run, drawn in several ways. Trains nothing; needs the run's data."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ddpm_exp.cli.words import Json, RunWord

if TYPE_CHECKING:
    from ddpm_exp.workflow.evaluate import Done, EvaluatedRun, Row
    from ddpm_exp.workflow.recorded import Which


def evaluate(
    run: str | Path,
    n: int | None = None,
    *,
    sampler: Sequence[str] = (),
    steps: Sequence[int] = (),
    grid: Sequence[str] = (),
    guidance: Sequence[float] = (),
    weights: Sequence[str] = (),
    sigma_rel: Sequence[float] = (),
    checkpoint: Sequence[Which] = (),
    metrics: Sequence[str] = (),
    inception: str | None = None,
    seed: int | None = None,
    say: Callable[[str], None] = lambda text: None,
    on_row: Callable[[Row, Done], None] = lambda row, done: None,
) -> EvaluatedRun | None:
    """Draw `n` images for each combination of what is named, measure them, and keep the values with the run.

    What is not named is as the experiment has it. Returns None in all but the first of several processes. Raises `UserError` for
    what does not fit the run, `RunError` where it is damaged.
    """
    from ddpm_exp.workflow import evaluate as workflow
    from ddpm_exp.workflow.evaluate_settings import Wanted

    wanted = Wanted(n, sampler, steps, grid, guidance, weights, sigma_rel, checkpoint, metrics, inception)
    with workflow.connected() as ranks:
        return workflow.evaluate(run, wanted, seed=seed, ranks=ranks, say=say, on_row=on_row)


def kept(run: str | Path) -> list[EvaluatedRun]:
    """What was measured of `run` so far: a table for each way of measuring. Raises `RunError` where the run is damaged."""
    from ddpm_exp.workflow.evaluate_kept import kept as workflow

    return workflow(run)


def _words(given: list[str] | None) -> list[str]:
    """`--steps 10,20 --steps 50` as ["10", "20", "50"]."""
    return [word.strip() for one in given or [] for word in one.split(",") if word.strip()]


def _numbers(option: str, given: list[str] | None, kind: type[int] | type[float]) -> list[Any]:
    from ddpm_exp.spec.errors import UserError

    found = []
    for word in _words(given):
        try:
            found.append(kind(word))
        except ValueError:
            what, such = ("whole numbers", "50,100") if kind is int else ("numbers", "0.05,0.1")
            raise UserError(f"takes {what}", field=option, value=word, fix=f"write {option} with {what}, such as {such}") from None
    return found


def _checkpoints(given: list[str] | None) -> list[Any]:
    from ddpm_exp.spec.errors import UserError

    found: list[Any] = []
    for word in _words(given):
        if word not in ("last", "best") and not word.isdecimal():
            fix = "write last, best, or the images after which it was kept, such as 512000"
            raise UserError("no such checkpoint", field="--checkpoint", value=word, fix=fix)
        found.append(int(word) if word.isdecimal() else word)
    return found


def _devices(asked: int | None) -> int:
    """How many processes share the work: as many as this machine has GPUs, unless it is said."""
    import torch

    return asked or max(1, torch.cuda.device_count() if torch.cuda.is_available() else 1)


def _again(run: str, n: int | None, settings: dict[str, Any], *, as_json: bool) -> list[str]:
    """The same command for each of several processes."""
    words = ["evaluate", run, *(["--json"] if as_json else [])]
    for name, value in {"n": n, **settings}.items():
        for one in value if isinstance(value, list) else [] if value is None else [value]:
            words += [f"--{name.replace('_', '-')}", str(one)]
    return words


def command(
    run: RunWord,
    n: Annotated[
        int | None,
        typer.Option("-n", "--n", min=2, metavar="N", help="Images for each. Default: evaluation.fd.images, or 5000."),
    ] = None,
    sampler: Annotated[list[str] | None, typer.Option("--sampler", metavar="NAME", help="Sampler.")] = None,
    steps: Annotated[list[str] | None, typer.Option("--steps", metavar="N", help="Sampling steps.")] = None,
    grid: Annotated[list[str] | None, typer.Option("--grid", metavar="NAME", help="Times of the steps.")] = None,
    guidance: Annotated[list[str] | None, typer.Option("--guidance", metavar="SCALE", help="Guidance scale.")] = None,
    weights: Annotated[list[str] | None, typer.Option("--weights", metavar="KIND", help="ema or raw.")] = None,
    sigma_rel: Annotated[
        list[str] | None,
        typer.Option("--sigma-rel", metavar="WIDTH", help="An average of this relative width, from training.ema_snapshots."),
    ] = None,
    checkpoint: Annotated[
        list[str] | None, typer.Option("--checkpoint", metavar="WHICH", help="last, best, or after so many images.")
    ] = None,
    metrics: Annotated[
        list[str] | None,
        typer.Option(
            "--metrics",
            metavar="NAMES",
            help="fd_effnet, kid_effnet, precision, recall, noise_left (the default); fid, kid, inception_score (Inception's).",
        ),
    ] = None,
    inception: Annotated[
        str | None, typer.Option("--inception", metavar="FILE", help="Inception's weights, for fid, kid and inception_score.")
    ] = None,
    seed: Annotated[int | None, typer.Option("--seed", min=0, help="Of the noise. Default: the run's own.")] = None,
    devices: Annotated[int | None, typer.Option("--devices", min=1, metavar="N", help="GPUs to use. Default: all here.")] = None,
    show_kept: Annotated[
        bool, typer.Option("--kept", help="Show what was measured of this run so far; draw nothing. Goes without other options.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Measure images of a recorded run against the real ones: Frechet and kernel distance, precision, recall, noise left.

    Options take several values, with commas or again: each combination is a line of the table, and is kept in the run's
    evaluations.jsonl with all that it depends on as soon as it is measured. Time and memory are said before. The last line has
    training images in place of drawn ones: no sampler can be expected below it. What an option does not say is as the experiment
    has it.

    \b
    ddpm-exp evaluate runs/adr_0002/20904344d7fc/0-ae37331b
    ddpm-exp evaluate runs/adr_0002/20904344d7fc/0-ae37331b --sampler ddim,heun --steps 10,25,50 --n 3000
    ddpm-exp evaluate runs/adr_0002/20904344d7fc/0-ae37331b --weights raw,ema --metrics fd_effnet,kid_effnet
    ddpm-exp evaluate runs/adr_0002/20904344d7fc/0-ae37331b --kept
    """
    from ddpm_exp.cli.evaluate_table import facts_of, kept_lines, row_lines, table, wrapped
    from ddpm_exp.cli.output import console, print_json, say
    from ddpm_exp.ranks.environment import launched

    settings: dict[str, Any] = {
        "sampler": _words(sampler),
        "steps": _numbers("--steps", steps, int),
        "grid": _words(grid),
        "guidance": _numbers("--guidance", guidance, float),
        "weights": _words(weights),
        "sigma_rel": _numbers("--sigma-rel", sigma_rel, float),
        "checkpoint": _checkpoints(checkpoint),
        "metrics": _words(metrics),
        "inception": inception,
        "seed": seed,
    }
    if show_kept:
        from ddpm_exp.spec.errors import UserError

        for name, value in {"n": n, **settings, "devices": devices}.items():
            if value not in (None, []):
                option = f"--{name.replace('_', '-')}"
                raise UserError(
                    "--kept shows all that was measured", field=option, value=value, fix=f"leave out {option} or --kept"
                )
        before = kept(run)
        if as_json:
            print_json([facts_of(one) for one in before])
        for line in [] if as_json else kept_lines(before):
            say(console(), line)
        return
    place = launched()
    if place is None and (count := _devices(devices)) > 1:
        from ddpm_exp.ranks.launch import launch

        raise typer.Exit(launch(_again(run, n, settings, as_json=as_json), count, on_gpus=True))
    if place is not None and place[0] > 0:
        evaluate(run, n, **settings)
        return
    screen = console(stderr=True)
    done_so_far = 0

    def tell(lines: Sequence[str]) -> None:
        for line in lines:
            say(screen, line)

    def on_row(row: Row, done: Done) -> None:
        nonlocal done_so_far
        done_so_far = done.settings
        tell(row_lines(row, done))

    try:
        told = evaluate(run, n, **settings, say=lambda text: tell(wrapped(text)), on_row=on_row)
    except KeyboardInterrupt:
        are = "setting is" if done_so_far == 1 else "settings are"
        tell(wrapped(f"{done_so_far} {are} kept in the run's evaluations.jsonl; --kept shows them"))
        raise
    assert told is not None  # this is the first process
    if as_json:
        print_json(facts_of(told))
        return
    for line in table(told):
        say(console(), line)
