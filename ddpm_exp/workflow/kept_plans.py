"""What takes torch and seconds to find out about an experiment without a GPU, kept for the next `check` of the same."""

from __future__ import annotations

import hashlib
import json
import os
import platform
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import psutil
from pydantic import TypeAdapter, ValidationError

from ddpm_exp.data.image_files import image_files
from ddpm_exp.data.shard_files import is_plain_here
from ddpm_exp.data.shard_names import is_remote, shards_of
from ddpm_exp.data.table_files import version_of as version_of_file
from ddpm_exp.memory.rows import PlanRow
from ddpm_exp.records.cache import Kept, source_digest, version_of
from ddpm_exp.spec.data import Data, ImageFolder, Shards
from ddpm_exp.spec.errors import UserError
from ddpm_exp.spec.experiment import Experiment
from ddpm_exp.spec.hardware import Gpu, catalogue
from ddpm_exp.spec.identity import flat
from ddpm_exp.spec.vectors import Table

KEPT = Kept("plans")

_PACKAGES = ("torch", "torchvision", "triton", "numpy", "scipy", "pandas", "pyarrow", "scikit-learn", "pydantic", "transformers")
"""Those that networks, tables and encoders are made with."""

_VARIABLES = ("PYTORCH_CUDA_ALLOC_CONF", "PYTORCH_ALLOC_CONF", "PYTORCH_NO_CUDA_MEMORY_CACHING", "CUBLAS_WORKSPACE_CONFIG")
"""Of the environment: settings of torch that change what a step takes."""


@dataclass(frozen=True)
class Sized:
    """A plan, or the reason against it, for each GPU that was asked for, and what is found on the way."""

    plans: list[PlanRow]

    parameters: int | None
    """Numbers that the network learns (see `parameter_count`)."""

    places: tuple[str, ...]
    """Where images would be (see `places_of`)."""


_FORM = TypeAdapter(Sized)


def sized(experiment: Experiment, gpus: Sequence[Gpu], *, use_kept: bool = True) -> Sized:
    """Size the experiment for each of `gpus`, in their order, or take what was kept from the last time that nothing was
    different. Without `use_kept` it is computed and kept anew. On a hit, torch is not imported. Touches no device."""
    question = what_decides(experiment, gpus)
    if use_kept and (answer := KEPT.find(question)) is not None:
        with suppress(ValidationError):  # not of this form: computed and kept anew
            return _FORM.validate_json(json.dumps(answer))
    found = _sized(experiment, gpus)
    with suppress(ValueError):  # a reason that would come back in other words is found anew each time
        KEPT.keep(question, _FORM.dump_python(found, mode="json"))
    return found


def _sized(experiment: Experiment, gpus: Sequence[Gpu]) -> Sized:
    from ddpm_exp.memory.plan import plan_table
    from ddpm_exp.memory.timing import timing
    from ddpm_exp.workflow.data_places import places_of
    from ddpm_exp.workflow.parameters import parameter_count

    rows = [
        row if row.plan is None else replace(row, timing=timing(experiment, row.gpu, row.plan))
        for row in plan_table(experiment, gpus)
    ]
    return Sized(rows, parameter_count(experiment), places_of(experiment, gpus))


def what_decides(experiment: Experiment, gpus: Sequence[Gpu]) -> Any:
    """Everything that the answer depends on, as JSON: values, GPUs, this package's sources, versions, settings of torch, and
    of data on this machine what changes when it does."""
    facts = {
        "experiment": flat(experiment),
        "gpus": gpus,
        "catalogue": catalogue(),  # remedies name the next larger GPU
        "sources": source_digest(),
        "versions": {"python": platform.python_version(), **{name: version_of(name) for name in _PACKAGES}},
        "torch build": torch_build(),
        "variables": {name: os.environ.get(name) for name in _VARIABLES},
        "data": facts_of(experiment.data),
    }
    return json.loads(json.dumps(facts))


@cache
def torch_build() -> str | None:
    """Digest of the file in which torch says which build it is: a version alone does not tell CPU from CUDA."""
    spec = find_spec("torch")
    file = Path(spec.origin).with_name("version.py") if spec and spec.origin else None
    return hashlib.sha256(file.read_bytes()).hexdigest() if file and file.is_file() else None


def facts_of(data: Data) -> Any:
    """Of data in files what changes when they do, in JSON's types; None of others."""
    if isinstance(data, Table):
        return [_place(data.source), version_of_file(data.source)]
    if isinstance(data, ImageFolder):
        root = Path(data.root).expanduser()
        names = "\n".join(image_files(root)) if root.is_dir() else None
        return [_place(data.root), None if names is None else hashlib.sha256(names.encode()).hexdigest(), _host_bytes()]
    if isinstance(data, Shards):
        return [[_shards(pattern, data.cache) for pattern in (data.train, data.held_out)], _host_bytes()]
    return None


def _shards(pattern: str | None, folder: str | None) -> Any:
    if pattern is None:
        return None
    try:
        shards = shards_of(pattern, "data.train")
    except UserError:
        return ["not here", str(Path.cwd())]
    return [[_place(shard), is_plain_here(shard, folder), [] if is_remote(shard) else version_of_file(shard)] for shard in shards]


def _place(path: str) -> list[str]:
    """The path, and the folder that it is seen from, which messages name."""
    return [path, str(Path.cwd())]


def _host_bytes() -> int:
    return int(psutil.virtual_memory().total)
