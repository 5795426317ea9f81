"""`ddpm-exp export`: the network of a recorded run for other programs: diffusers, safetensors or ONNX."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ddpm_exp.cli.words import Force, Json, Raw, RunWord, SigmaRel

if TYPE_CHECKING:
    from ddpm_exp.workflow.export import Exported


class Form(StrEnum):
    """What can be written."""

    diffusers = "diffusers"
    safetensors = "safetensors"
    onnx = "onnx"


def export(
    run: str | Path, form: str, destination: str | Path, *, raw: bool = False, sigma_rel: float | None = None, force: bool = False
) -> Exported:
    """Write the network of the run directory `run` to `destination`, as `diffusers`, `safetensors` or `onnx`.

    Raises `UserError` for what the form cannot hold, and where there is something already without `force`.
    """
    from ddpm_exp.workflow.export import export as write

    return write(run, form, destination, weights="raw" if raw else None, sigma_rel=sigma_rel, force=force)  # type: ignore[arg-type]


def command(
    run: RunWord,
    destination: Annotated[
        str, typer.Argument(metavar="DEST", help="What to write: a folder for diffusers, else a file.", show_default=False)
    ],
    form: Annotated[Form, typer.Option("--to", help="Form to write.", show_default=False)],
    raw: Raw = False,
    sigma_rel: SigmaRel = None,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Write the network of a recorded run: diffusers (a pipeline's folder), safetensors (weights) or onnx (the network).

    Nothing in what is written runs code when it is read. What a form cannot hold is an error that says what.

    \b
    ddpm-exp export runs/adr_0001/20904344d7fc/0-ae37331b --to diffusers digits/
    ddpm-exp export runs/adr_0001/20904344d7fc/0-ae37331b --to onnx digits.onnx
    """
    from ddpm_exp.cli.amounts import bytes_text
    from ddpm_exp.cli.output import console, print_json, say

    done = export(run, form.value, destination, raw=raw, sigma_rel=sigma_rel, force=force)
    if as_json:
        print_json(done)
        return
    weights = "averaged" if done.averaged else "last"
    say(console(), f"{done.form} with the {weights} weights, {bytes_text(done.bytes)}: {done.path}")
    if len(done.files) > 1:
        for name in done.files:
            say(console(), f"  {name}")
