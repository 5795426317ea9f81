"""Weights from elsewhere: those that a training starts from, and the network that guides another. Trains nothing."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from ddpm_exp.checkpoints import sharded
from ddpm_exp.checkpoints.store import load
from ddpm_exp.data.examples import Facts
from ddpm_exp.records.run_directory import MANIFEST
from ddpm_exp.spec.errors import UserError
from ddpm_exp.spec.experiment import Experiment
from ddpm_exp.spec.model import Model
from ddpm_exp.workflow import diffusers_folder
from ddpm_exp.workflow.network import conditions_of
from ddpm_exp.workflow.recorded import Recorded

FIELD = "training.init_from"

_ONLY_IN_TRAINING = {"dropout", "initialization", "zero_init", "checkpointing"}
"""Fields of networks that change nothing of what trained weights compute."""

_ONLY_LOSS = {"weight", "snr_gamma", "p2_gamma", "p2_k", "time_density", "density_mean", "density_std", "variance_weight"}
"""Fields of `Diffusion` that change nothing of what a trained network is asked or answers."""

_SHOWN = 5


class Found(NamedTuple):
    """Weights that were found for a network, and the network that they were trained as."""

    tensors: Mapping[str, Tensor]
    """By our names."""

    model: Model
    missing: tuple[str, ...] = ()
    """Names for which there was nothing, where that is known already."""

    unexpected: tuple[str, ...] = ()
    """Names in the source for which we have none."""


def start_from(network: nn.Module, model: Model, source: str, weights: Literal["ema", "raw"] = "ema") -> None:
    """Give `network`, built from `model`, the weights of `source`: a folder of a diffusers UNet2DModel, or of a pipeline with
    one, or a run directory, or a checkpoint in one. `weights`: of a run, the average if it has one, or the last ones.

    Raises UserError unless every weight is there in its shape and the source's network computes the same from them.
    """
    found = _find(Path(source).expanduser(), source, weights)
    _refuse_misfits(network, found, source)
    _refuse_other_function(model, found.model, source)
    network.load_state_dict(dict(found.tensors))


def guide_of(experiment: Experiment, facts: Facts, device: torch.device) -> nn.Module | None:
    """The network of the run `sampling.guide`, on `device`, frozen; None if the experiment names none.

    Its averaged weights, if it has any. Raises UserError if it draws other data, is told another condition, or was trained on
    another diffusion: its answers would mean something else.
    """
    source = experiment.sampling.guide
    if source is None:
        return None
    guide = Recorded(Path(source).expanduser())
    theirs = guide.experiment
    _must_agree("data", facts.to_json(), guide.facts.to_json(), source)
    inputs = [conditions_of(one, of).inputs for one, of in ((experiment, facts), (theirs, guide.facts))]
    _must_agree("condition", {"parts": inputs[0]}, {"parts": inputs[1]}, source)
    _must_agree(
        "diffusion", experiment.diffusion.model_dump(exclude=_ONLY_LOSS), theirs.diffusion.model_dump(exclude=_ONLY_LOSS), source
    )
    return guide.network(guide.weights()).to(device)


def _must_agree(what: str, ours: Mapping[str, object], theirs: Mapping[str, object], source: str) -> None:
    differing = [name for name in ours if ours[name] != theirs.get(name)]
    if differing:
        name = differing[0]
        raise UserError(
            f"a guide has the same {what} as the network that it guides, but {name} is {ours[name]!r} here "
            f"and {theirs.get(name)!r} there",
            field="sampling.guide",
            value=source,
            fix=f"name a run with the same {what}, or leave sampling.guide out",
        )


def _find(folder: Path, source: str, weights: Literal["ema", "raw"]) -> Found:
    if (folder / MANIFEST).is_file():
        run = Recorded(folder)
        return Found(run.weights(averaged=weights == "ema").tensors, run.experiment.model)
    if folder.suffix in (".pt", sharded.ENDING):
        return _of_checkpoint(folder, source, weights)
    if weights == "raw":
        raise UserError(
            "weights are chosen from those of a run, and this is none",
            field="training.init_weights",
            value=weights,
            fix="leave it out, or name the directory of a run or one of its checkpoints",
        )
    place = diffusers_folder.find(folder)
    if place is None:
        raise UserError(
            "there are no weights here: neither the directory of a run (manifest.json), nor a folder of a diffusers UNet2DModel "
            "(config.json), nor one of a pipeline (unet/config.json)"
            if folder.is_dir()
            else "there is no such folder",
            field=FIELD,
            value=source,
            fix="name such a folder; `ddpm-exp runs` lists the runs on this disk",
        )
    read = diffusers_folder.read(place, FIELD)
    return Found(read.weights, read.model, read.missing, read.unexpected)


def _of_checkpoint(file: Path, source: str, weights: Literal["ema", "raw"]) -> Found:
    """A checkpoint says nothing of its network: the manifest of the run that it lies in does."""
    run = file.parent.parent
    if not (run / MANIFEST).is_file():
        raise UserError(
            "a checkpoint is read together with the run that it is of (RUN/checkpoints/NUMBER.pt beside RUN/manifest.json)",
            field=FIELD,
            value=source,
            fix="name it where it was written, or put the run's manifest.json where it belongs",
        )
    tensors = load(file).tensors
    named = "ema" if weights == "ema" and "ema" in tensors else "network"
    if named not in tensors:
        raise UserError(
            "this holds snapshots of averages, and no checkpoint",
            field=FIELD,
            value=source,
            fix="name the run, or a file of its folder checkpoints",
        )
    return Found(tensors[named], Recorded(run).experiment.model)


def _refuse_misfits(network: nn.Module, found: Found, source: str) -> None:
    """Raises UserError, with a report, unless every weight is there in its shape and none is left over."""
    ours = network.state_dict()
    missing = [name for name in ours if name not in found.tensors]
    unexpected = [*(name for name in found.tensors if name not in ours), *found.unexpected]
    differing = [
        f"{name}: {_sizes(theirs)} there, {_sizes(ours[name])} here"
        for name, theirs in found.tensors.items()
        if name in ours and theirs.shape != ours[name].shape
    ]
    if not (missing or unexpected or differing):
        return
    parts = (("missing there", missing), ("unexpected there", unexpected), ("of another shape", differing))
    report = "".join(f"\n  {_listed(what, names)}" for what, names in parts if names)
    raise UserError(
        f"its weights are not those of this network, of which {len(ours)} are needed{report}",
        field=FIELD,
        value=source,
        fix="describe the network that the weights were trained as in `model` and `condition`, or choose other weights",
    )


def _listed(what: str, names: list[str]) -> str:
    more = f", and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f"{len(names)} {what}: {', '.join(names[:_SHOWN])}{more}"


def _refuse_other_function(ours: Model, theirs: Model, source: str) -> None:
    """Weights of the same shapes may still compute something else, with other heads or groups: nothing else would tell."""
    if type(ours) is not type(theirs):
        raise UserError(
            f"its weights are a {type(theirs).__name__}'s, and this network is a {type(ours).__name__}",
            field=FIELD,
            value=source,
            fix=f"take model = {type(theirs).__name__}(...), or other weights",
        )
    for name in type(theirs).model_fields:
        here, there = getattr(ours, name), getattr(theirs, name)
        if name not in _ONLY_IN_TRAINING and here != there:
            raise UserError(
                f"the weights fit, but were trained with model.{name} = {there!r}, and this network has {here!r}",
                field=FIELD,
                value=source,
                fix=f"set model.{name} = {there!r}, or choose other weights",
            )


def _sizes(tensor: Tensor) -> str:
    return "x".join(map(str, tensor.shape)) or "one number"
