"""A new experiment file: the next number, a subclass of an existing experiment, and a decision to fill in. Overwrites nothing."""

from __future__ import annotations

import datetime
import json
import keyword
import re
from pathlib import Path

from ddpm_exp.loading.lineage import id_of
from ddpm_exp.loading.loaded import load_experiment
from ddpm_exp.spec.errors import UserError

_STUB = '''"""{identity}: {heading}."""

from {stem} import {parent}

from ddpm_exp import Alternative, Consequences, Decision, metric

base = {parent}()


class {name}({parent}):
    """Identical to {parent_id} except for what the decision changes."""

    # Write only what changes, as a changed copy of the baseline's piece:
    # training = base.training.but(learning_rate={learning_rate:g})

    decision = Decision(
        title={title},
        status="proposed",
        date="{today}",
        context="Which problem makes a decision necessary, with its numbers?",
        chosen="What is done, and why this among the alternatives?",
        alternatives=(
            Alternative(
                title="Stay with {parent_id}",
                description="What would be done instead?",
                outcome="rejected",
                reason="Why is it not chosen?",
            ),
        ),
        consequences=Consequences(
            positive=("What becomes better?",),
            negative=("What becomes worse?",),
            risks=("What could go wrong?",),
            mitigations=("What is done against it?",),
        ),
        seeds=(0, 1, 2),
        accept_when=(
            metric("val/denoising").falls(by="5%", confidence=0.95),
            metric("val/reconstruction").no_worse(by="5%"),
        ),
        reject_when=(metric("val/denoising").rises(by="5%"),),
    )
'''


def next_number(folder: Path) -> int:
    """One more than the highest number of an adr_NNNN.py in `folder`; 1 in an empty or missing one."""
    numbers = [int(found[1]) for file in folder.glob("adr_*.py") if (found := re.match(r"adr_(\d+)", file.stem))]
    return max(numbers, default=0) + 1


def new_experiment(title: str, source: Path, folder: Path) -> Path:
    """Write `folder`/adr_NNNN.py, a subclass of the experiment in `source` that loads as it stands, and return its path.

    Raises `UserError` for an empty title, for a source that does not load, lies in another folder or has a name that
    Python cannot import, and if the file exists.
    """
    if not title.strip():
        raise UserError("a decision has a title", field="title", value=title, fix='write it like "Halve the learning rate"')
    parent = load_experiment(source)
    if source.resolve().parent != folder.resolve():
        raise UserError(
            "experiments import each other from one folder",
            field=str(source),
            fix=f"copy it into {folder}, or start from one there",
        )
    if not source.stem.isidentifier() or keyword.iskeyword(source.stem):
        raise UserError("this file's name cannot be imported", field=str(source), fix="rename it to letters, digits and _")
    file = folder / f"adr_{next_number(folder):04d}.py"
    text = _STUB.format(
        identity=id_of(file),
        heading=" ".join(title.split()).rstrip(".").replace("\\", "").replace('"', "'"),
        stem=source.stem,
        parent=parent.class_name,
        parent_id=parent.id,
        name=_class_name(title, parent.class_name, file),
        title=json.dumps(title, ensure_ascii=False),
        learning_rate=parent.experiment.training.learning_rate / 2,
        today=datetime.date.today().isoformat(),
    )
    try:
        with file.open("x", encoding="utf-8") as out:
            out.write(text)
    except FileExistsError as error:
        raise UserError("exists already and is not overwritten", field=str(file), fix="run the command again") from error
    return file


def _class_name(title: str, parent: str, file: Path) -> str:
    """The title's words in capitals as a Python name; with the file's number where that is none or is taken."""
    words = re.findall(r"[A-Za-z0-9]+", title)
    name = "".join(word[0].upper() + word[1:] for word in words)
    number = id_of(file).replace("-", "").capitalize()
    taken = {parent, "Alternative", "Consequences", "Decision"}
    return f"{number}{name}" if not name.isidentifier() or keyword.iskeyword(name) or name in taken else name
