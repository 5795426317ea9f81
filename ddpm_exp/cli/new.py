"""`ddpm-exp new`: the next numbered experiment file, a subclass with the decision's fields to fill in. Runs nothing."""

from __future__ import annotations

import json
import keyword
import re
import unicodedata
from pathlib import Path
from typing import Annotated

import typer

from ddpm_exp.cli import completion
from ddpm_exp.cli.words import Json

_FILE = '''"""{id}: {title}.

Only what changes from {lineage} is written here.
"""

from ddpm_exp import Alternative, Consequences, Decision{also}, metric
{sibling}

class {name}({base}):
    """Identical to {lineage} except for what the decision changes."""

    # What changes, for example:
    # training = base.training.but(learning_rate=5e-5)

    decision = Decision(
        title={quoted},
        status="proposed",
        context="Which problem asks for a decision, and what is known about it.",
        chosen="What is done, in one sentence.",
        alternatives=(
            Alternative(title="A road not taken", description="What it is.", reason="Why not."),
        ),
        consequences=Consequences(
            positive=("What gets better.",),
            negative=("What gets worse.",),
            risks=("What could go wrong.",),
            mitigations=("What is done about it.",),
        ),
        seeds=(0, 1, 2),
        # All must hold for acceptance:
        accept_when=(
            {criterion},
        ),
        # Any that holds is enough for rejection:
        reject_when=(),
    )
'''


def new(title: str, base: str | Path | None = None, folder: Path = Path("experiments")) -> Path:
    """Write the next `adr_NNNN.py` beside `base` (or into `folder`, from `Experiment` itself) and return its path.

    An existing file is never overwritten. Raises `UserError` for an empty title or an invalid `base`.
    """
    from ddpm_exp.spec.errors import UserError

    title = " ".join(title.split())
    if not re.search(r"\w", title):
        raise UserError("an experiment needs a title in words", field="TITLE", value=title, fix='write it like "Fewer timesteps"')
    parent_class, lineage, sibling = "Experiment", "the defaults", ""
    if base is not None:
        from ddpm_exp.loading.loaded import load_experiment, resolve

        parent = load_experiment(resolve(str(base), folder))
        parent_class, lineage, folder = parent.class_name, parent.id, parent.path.parent
        sibling = f"from {parent.path.stem} import {parent_class}\n\nbase = {parent_class}()\n"
    number = _next_number(folder)
    against = "baseline" if base is not None else "untrained"
    text = _FILE.format(
        id=f"ADR-{number:04d}",
        title=title.replace("\\", "\\\\").replace('"', '\\"').rstrip("."),
        lineage=lineage,
        also="" if base is not None else ", Experiment",
        sibling=sibling,
        name=_class_name(title, parent_class, number),
        base=parent_class,
        quoted=json.dumps(title, ensure_ascii=False),
        criterion=f'metric("val/denoising").falls(by="5%", against="{against}")',
    )
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"adr_{number:04d}.py"
    with path.open("x", encoding="utf-8") as file:
        file.write(text)
    return path


def _next_number(folder: Path) -> int:
    """One more than the largest number among the folder's experiments and the pages of `docs/adr` beside it."""
    names = [path.name for path in (*folder.glob("adr_*.py"), *folder.parent.glob("docs/adr/[0-9]*.md"))]
    numbers = [int(found[1]) for name in names if (found := re.match(r"(?:adr_)?(\d+)", name))]
    return max(numbers, default=0) + 1


def _class_name(title: str, parent: str, number: int) -> str:
    """The title in CamelCase and ASCII; `Adr0003` where that is no new class name."""
    ascii_title = unicodedata.normalize("NFKD", title).encode("ascii", "ignore").decode()
    name = "".join(word[:1].upper() + word[1:] for word in re.findall(r"[A-Za-z0-9]+", ascii_title))
    taken = {parent, "Experiment", "Decision", "Alternative", "Consequences"}
    return name if name.isidentifier() and not keyword.iskeyword(name) and name not in taken else f"Adr{number:04d}"


def command(
    title: Annotated[str, typer.Argument(metavar="TITLE", help="What is decided, in a few words.", show_default=False)],
    base: Annotated[
        str | None,
        typer.Option("--from", metavar="FILE", help="Experiment to build on: the baseline.", autocompletion=completion.experiments),
    ] = None,
    as_json: Json = False,
) -> None:
    """Write the next experiment file: a subclass of --from with the decision's fields to fill in.

    \b
    ddpm-exp new "Fewer timesteps" --from experiments/adr_0001.py
    """
    from ddpm_exp.cli.output import print_json

    path = new(title, base)
    if as_json:
        print_json({"path": path})
        return
    typer.echo(f"wrote {path}")
    typer.echo(f"fill in what changes and why, then: ddpm-exp check {path}")
