"""`ddpm-exp check`: validates experiments and shows what they would do on each GPU, without one. Trains nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ddpm_exp.cli import completion
from ddpm_exp.cli.words import Json

if TYPE_CHECKING:
    from rich.console import Console

    from ddpm_exp.spec.errors import UserError
    from ddpm_exp.workflow.check import Checked

GPUS = ("T4", "V100-16", "V100-32", "A100-40")
"""What Colab and most clouds rent out; planned for unless --gpu names others."""


def check(file: str | Path, overrides: Sequence[str] = (), gpus: Sequence[str] = GPUS, *, use_kept: bool = True) -> Checked:
    """Validate one experiment and plan it for each of `gpus`, from the cache with `use_kept` where nothing has changed.

    Raises `UserError` for whatever makes it impossible.
    """
    from ddpm_exp.loading.loaded import load_experiment, resolve

    loaded = load_experiment(resolve(str(file)), overrides)
    names = _gpu_names(gpus)
    from ddpm_exp.workflow.check import check as check_loaded

    return check_loaded(loaded, names, use_kept=use_kept)


def check_all(
    files: Sequence[str], overrides: Sequence[str], gpus: Sequence[str], *, use_kept: bool = True
) -> list[tuple[str, Checked | UserError]]:
    """Every file with what was found or what is wrong with it; a failing file does not stop the others.

    A GPU that none of the files adds and that the catalogue lacks is a mistake of the command: raises `UserError`.
    """
    from ddpm_exp.spec.errors import UserError

    _add_gpus(files, overrides)
    names = _gpu_names(gpus)
    results: list[tuple[str, Checked | UserError]] = []
    for file in files:
        try:
            results.append((file, check(file, overrides, names, use_kept=use_kept)))
        except UserError as error:
            results.append((file, error))
    return results


def _add_gpus(files: Sequence[str], overrides: Sequence[str]) -> None:
    """Load every file for what it adds to the catalogue; what is wrong with one is told when it is checked."""
    from ddpm_exp.loading.loaded import load_experiment, resolve
    from ddpm_exp.spec.errors import UserError

    for file in files:
        with suppress(UserError):
            load_experiment(resolve(file), overrides)


def _gpu_names(asked: Sequence[str]) -> list[str]:
    """Catalogue names of `--gpu A --gpu B` or `--gpu A,B`, each once. Raises `UserError` for an unknown one."""
    import difflib

    from ddpm_exp.spec.errors import UserError
    from ddpm_exp.spec.hardware import find_gpu, gpu_names

    names: list[str] = []
    for word in (part.strip() for text in asked for part in text.split(",")):
        try:
            names.append(find_gpu(word).name)
        except KeyError:
            near = difflib.get_close_matches(word.upper(), gpu_names(), n=1)
            fix = (
                f"did you mean '{near[0]}'?"
                if near
                else "choose one of these, or add yours in the experiment file: add_gpu(Gpu(...))"
            )
            raise UserError(f"a GPU is one of {', '.join(gpu_names())}", field="--gpu", value=word, fix=fix) from None
    return list(dict.fromkeys(names))


def _split(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """Experiment words and overrides, told apart by the equals sign."""
    from ddpm_exp.spec.errors import UserError
    from ddpm_exp.spec.hardware import gpu_names

    overrides = [word for word in words if "=" in word and not Path(word).exists()]
    files = [word for word in words if word not in overrides]
    for word in files:
        if word.upper() in (name.upper() for name in gpu_names()) and not Path(word).exists():
            raise UserError("a GPU is named by an option", field=word, fix=f"write --gpu {word}")
    if not files:
        raise UserError("nothing to check", field="FILE", fix="name an experiment: ddpm-exp check experiments/quickstart.py")
    return files, overrides


def command(
    words: Annotated[
        list[str],
        typer.Argument(
            metavar="FILE... [PATH=VALUE]...",
            help="Experiments (file, stem or number), and changes that are applied to each.",
            show_default=False,
            autocompletion=completion.experiments,
        ),
    ],
    gpu: Annotated[
        list[str] | None,
        typer.Option(
            "--gpu",
            metavar="NAME",
            help="Plan for this GPU (again for more). Default: T4, V100-16, V100-32, A100-40.",
            show_default=False,
            autocompletion=completion.gpus,
        ),
    ] = None,
    price: Annotated[
        list[str] | None,
        typer.Option(
            "--price",
            metavar="GPU=AMOUNT",
            help="Price of an hour of one GPU, for a column of costs (again for more; an amount alone is for all GPUs).",
            show_default=False,
        ),
    ] = None,
    no_cache: Annotated[bool, typer.Option("--no-cache", help="Estimate anew, and keep that; measured speeds stay.")] = False,
    as_json: Json = False,
) -> None:
    """Validate experiments; print the diff to the baseline, memory, batch plan, time and cost per GPU, and advice.

    Needs no GPU and trains nothing. A file with an error does not keep the others from being checked.

    \b
    ddpm-exp check experiments/adr_0002.py --gpu T4 --gpu V100-16
    ddpm-exp check 1 2 training.images_per_step=64
    ddpm-exp check 1 --price T4=0.35 --price A100-40=1.2
    """
    from ddpm_exp.cli import failures
    from ddpm_exp.cli.output import console, print_json, say
    from ddpm_exp.cli.prices import hourly_prices
    from ddpm_exp.spec.errors import UserError

    files, overrides = _split(words)
    if price:
        _add_gpus(files, overrides)
    prices = hourly_prices(price or ())
    results = check_all(files, overrides, gpu or GPUS, use_kept=not no_cache)
    wrong = [result for _, result in results if isinstance(result, UserError)]
    if as_json:
        documents = [
            {"file": file, **(failures.as_document(result) if isinstance(result, UserError) else _facts(result, prices))}
            for file, result in results
        ]
        print_json({"checked": documents})
    else:
        screen = console()
        for file, result in results:
            if isinstance(result, UserError):
                say(screen, f"{file}: not valid", "bold red")
                failures.report(result, as_json=False)
            else:
                _print(screen, result, prices)
            say(screen, "")
    if wrong:
        raise typer.Exit(max(error.exit_code for error in wrong))


def _facts(checked: Checked, prices: Mapping[str, float]) -> dict[str, Any]:
    from ddpm_exp.cli.time_table import claim_facts, run_cost
    from ddpm_exp.spec.phases import in_words
    from ddpm_exp.spec.presets.claims import claim_about

    loaded = checked.loaded
    decision = loaded.experiment.decision
    return {
        "id": loaded.id,
        "title": decision.title if decision else None,
        "baseline": loaded.baseline.id if loaded.baseline else None,
        "changes": checked.changes,
        "plans": checked.plans,
        "costs": {row.gpu.name: run_cost(row, prices) for row in checked.plans} if prices else None,
        "claim": claim_facts(checked.plans, claim_about(loaded.experiment)),
        "advice": checked.advice,
        "parameters": checked.parameters,
        "not_here": checked.not_here,
        "not_installed": checked.not_installed,
        "costs_at_end": checked.costs_at_end,
        "data_places": checked.places,
        "phases": in_words(loaded.experiment.training),
    }


def _print(screen: Console, checked: Checked, prices: Mapping[str, float]) -> None:
    from rich.text import Text

    from ddpm_exp.cli.diff import changes_table
    from ddpm_exp.cli.memory_table import memory_table
    from ddpm_exp.cli.output import say
    from ddpm_exp.cli.time_table import time_notes, time_table
    from ddpm_exp.spec.phases import in_words
    from ddpm_exp.spec.presets.claims import claim_about

    loaded = checked.loaded
    decision = loaded.experiment.decision
    say(screen, f"{loaded.id}: {decision.title if decision else loaded.class_name}", "bold")
    if checked.parameters is not None:
        say(screen, f"{checked.parameters:,} parameters")
    if loaded.baseline is not None:
        count = len(checked.changes)
        say(screen, f"baseline: {loaded.baseline.id}; {count} setting{' differs' if count == 1 else 's differ'}")
        if checked.changes:
            screen.print(changes_table(checked.changes, loaded.baseline.id, loaded.id))
    screen.print(memory_table(checked.plans))
    if any(row.plan is not None for row in checked.plans):
        say(screen, "memory: predicted, not measured; on the GPU itself, 'ddpm-exp probe' measures", "dim")
    for row in checked.plans:
        if row.reason is not None:
            say(screen, f"{row.gpu.name}: {row.reason}", "red")
    if (times := time_table(checked.plans, prices)) is not None:
        say(screen, "")
        screen.print(times)
    for line in time_notes(checked.plans, claim_about(loaded.experiment)):
        say(screen, line, "dim")
    notes: dict[str, list[str]] = {}
    for row in checked.plans:
        if row.plan is not None and row.gpu.note:
            notes.setdefault(row.gpu.note, []).append(row.gpu.name)
    for note, names in notes.items():
        say(screen, f"{', '.join(names)}: {note}", "dim")
    for place in checked.places:
        say(screen, place)
    if phases := in_words(loaded.experiment.training):
        say(screen, f"trained in phases: {phases}")
    for cost in checked.costs_at_end:
        say(screen, cost)
    for field, command in checked.not_installed.items():
        say(screen, f"not installed, and a run needs it: {field}: {command}", "yellow")
    for field, path in checked.not_here.items():
        say(screen, f"not on this machine, and a run needs it: {field} = {path!r} (seen from {Path.cwd()})", "yellow")
    for advice in checked.advice:
        screen.print(Text.assemble(("advice: ", "yellow"), str(advice)), soft_wrap=True)
    if not (checked.advice or checked.not_here or checked.not_installed):
        say(screen, "valid, and nothing to advise", "green")
