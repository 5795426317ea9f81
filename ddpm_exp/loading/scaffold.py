"""A new experiment file: the next number, a subclass, and a decision to fill in. Overwrites nothing."""

from __future__ import annotations

import datetime
import json
import keyword
import re
import unicodedata
from pathlib import Path
from typing import NamedTuple

from ddpm_exp.loading.loaded import load_experiment, resolve
from ddpm_exp.spec.errors import UserError
from ddpm_exp.spec.presets.catalogue import PRESETS

_FILE = '''"""{id}: {title}.

Only what changes from {lineage} is written here.
"""

{imports}

base = {base}()


class {name}({base}):
    """Identical to {lineage} except for what the decision changes."""

    # What changes, for example:
    # training = base.training.but(learning_rate=5e-5)

    decision = Decision(
        title={quoted},
        status="proposed",
        date="{today}",
        context="Which problem asks for a decision, and what is known about it.",
        chosen="What is done, in one sentence.",
        alternatives=(Alternative(title="A road not taken", description="What it is.", reason="Why not."),),
        consequences=Consequences(
            positive=("What gets better.",),
            negative=("What gets worse.",),
            risks=("What could go wrong.",),
            mitigations=("What is done about it.",),
        ),
        seeds=(0, 1, 2),
        # All must hold for acceptance:
        accept_when=({criterion},),
        # Any that holds is enough for rejection:
        reject_when=({rejection},),
    )
'''


def new_experiment(title: str, base: str | Path | None = None, folder: Path = Path("experiments")) -> Path:
    """Write the next `adr_NNNN.py` beside `base` (or into `folder`, from `Experiment` itself) and return its path.

    An existing file is never overwritten. Raises `UserError` for an empty title or an invalid `base`.
    """
    title = " ".join(title.split())
    if not re.search(r"\w", title):
        raise UserError("an experiment needs a title in words", field="TITLE", value=title, fix='write it like "Fewer timesteps"')
    parent = _parent(base, folder)
    folder = parent.folder
    number = next_number(folder)
    against = "baseline" if parent.is_baseline else "untrained"
    text = _FILE.format(
        id=f"ADR-{number:04d}",
        title=title.replace("\\", "\\\\").replace('"', "'").rstrip("."),
        lineage=parent.lineage,
        imports=parent.imports,
        name=_class_name(title, parent.class_name, number),
        base=parent.class_name,
        quoted=json.dumps(title, ensure_ascii=False),
        today=datetime.date.today().isoformat(),
        criterion=f'metric("val/denoising").falls(by="5%", against="{against}")',
        rejection=f'metric("val/denoising").rises(by="5%", against="{against}")',
    )
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"adr_{number:04d}.py"
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError as error:
        raise UserError("exists already and is not overwritten", field=str(path), fix="run the command again") from error
    return path


class _Parent(NamedTuple):
    """What the new experiment builds on."""

    class_name: str
    lineage: str
    """In words: `ADR-0001`, `the preset BestQuality`."""
    imports: str
    folder: Path
    """Where the new file goes."""
    is_baseline: bool
    """Whether it is an experiment to compare with: presets and the defaults are not."""


_OURS = "from ddpm_exp import Alternative, Consequences, Decision{also}, metric"


def _parent(base: str | Path | None, folder: Path) -> _Parent:
    if base is None:
        return _Parent("Experiment", "the defaults", _OURS.format(also=", Experiment"), folder, False)
    ours = _OURS.format(also="")
    for preset in PRESETS:
        if preset.__name__ == str(base):
            imports = f"{ours}\nfrom {preset.__module__} import {preset.__name__}"
            return _Parent(preset.__name__, f"the preset {preset.__name__}", imports, folder, False)
    parent = load_experiment(resolve(str(base), folder))
    if not parent.path.stem.isidentifier() or keyword.iskeyword(parent.path.stem):
        raise UserError("this file's name cannot be imported", field=str(parent.path), fix="rename it to letters, digits and _")
    imports = f"from {parent.path.stem} import {parent.class_name}\n\n{ours}"
    return _Parent(parent.class_name, parent.id, imports, parent.path.parent, True)


def next_number(folder: Path) -> int:
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
