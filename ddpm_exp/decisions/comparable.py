"""Whether two arms may be compared at all: same images, same measurement, and losses only of one kind."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ddpm_exp.decisions.arm import EVALUATED, Arm, seeds_in_words
from ddpm_exp.records.evaluations import EVALUATIONS, Evaluated, EvaluationsLog, unequal
from ddpm_exp.spec.base import EXECUTION, Role, Spec
from ddpm_exp.spec.data import CIFAR10, Digits, FashionMNIST, ImageFolder, Shards
from ddpm_exp.spec.decision import Criterion
from ddpm_exp.spec.diffusion import Diffusion
from ddpm_exp.spec.errors import UserError
from ddpm_exp.spec.evaluation import FD, FID, Evaluation
from ddpm_exp.spec.identity import flat
from ddpm_exp.spec.vectors import Gaussians, Points, Sequences, Table

_DATA: dict[str, type[Spec]] = {
    "digits": Digits,
    "fashion-mnist": FashionMNIST,
    "cifar10": CIFAR10,
    "folder": ImageFolder,
    "shards": Shards,
    "table": Table,
    "sequences": Sequences,
    "points": Points,
    "gaussians": Gaussians,
}

_WHEN_NOT_WHAT = ("evaluation.every",)
"""How often is evaluated changes no value: arms are compared at the same amount of training."""

_LOSSES = ("train/loss", "val/loss")


def require_comparable(variant: Arm, baseline: Arm) -> None:
    """Raise UserError, naming each differing key with both values, unless both arms saw and measured the same images."""
    differing = differences(variant, baseline)
    if differing:
        listed = "; ".join(f"{key}: {ours!r} in {variant.name}, {theirs!r} in {baseline.name}" for key, ours, theirs in differing)
        raise UserError(
            f"arms are compared on the same data and the same evaluation settings; these differ: {listed}",
            field=f"{variant.name} against {baseline.name}",
            fix="give both experiments the same data and evaluation, and run what changed again",
        )


def differences(variant: Arm, baseline: Arm) -> list[tuple[str, Any, Any]]:
    """(key, variant's value, baseline's value) of everything that makes a comparison meaningless; empty where an arm has no run."""
    if not variant.runs or not baseline.runs:
        return []
    ours, theirs = _settings(variant), _settings(baseline)
    found = [
        (key, ours.get(key), theirs.get(key)) for key in sorted(ours.keys() | theirs.keys()) if ours.get(key) != theirs.get(key)
    ]
    prints = [sorted({run.data_fingerprint for run in arm.runs if run.data_fingerprint}) for arm in (variant, baseline)]
    if all(prints) and (prints[0] != prints[1] or len(prints[0]) > 1):
        found.append(("data fingerprint", ", ".join(prints[0]), ", ".join(prints[1])))
    noises = [sorted({run.evaluation_noise for run in arm.counted.values()}) for arm in (variant, baseline)]
    if all(noises) and (noises[0] != noises[1] or len(noises[0]) > 1):
        found.append(("evaluation noise", ", ".join(noises[0]), ", ".join(noises[1])))
    return found + _measured_unlike(variant, baseline)


def _measured_unlike(variant: Arm, baseline: Arm) -> list[tuple[str, Any, Any]]:
    """What differs in how the runs that count measured the same metric at their end: number of samples, weights of the extractor,
    reals. How they drew is what an experiment may change."""
    first: dict[str, Evaluated] = {}
    found: dict[str, tuple[str, Any, Any]] = {}
    for run in (*variant.counted.values(), *baseline.counted.values()):
        for one in EvaluationsLog(run.path / EVALUATIONS).read():
            for metric in one.values if one.by == "run" else ():
                for key, ours, theirs in unequal(first.setdefault(metric, one), one):
                    found.setdefault(f"{metric}, {key}", (f"{metric}, {key}", ours, theirs))
    return sorted(found.values())


def require_one_noise(arm: Arm) -> None:
    """Raise UserError where `arm` mixes runs evaluated with the noise of their own seed and with the one that all had once."""
    old = [run.seed for run in arm.counted.values() if run.evaluation_noise == "shared"]
    if old and len(old) < len(arm.counted):
        raise UserError(
            f"{seeds_in_words(old)} were evaluated with the noise that every seed had once, the others with their own seed's; "
            "one mean does not hold both",
            field=arm.name,
            fix="run these seeds again with --seed N --fresh; a run with its own noise then counts in place of the old one",
        )


def shared_noise(arm: Arm, criteria: Sequence[Criterion]) -> list[str]:
    """A sentence if `arm` was evaluated with one noise for all seeds and claims other than between arms are among `criteria`."""
    touched = [c for c in criteria if c.metric.startswith(EVALUATED) and (c.value is not None or c.against != "baseline")]
    if not touched or not any(run.evaluation_noise == "shared" for run in arm.counted.values()):
        return []
    return [
        f"{arm.experiment_id} was evaluated with the same noise in every seed, as runs once were: claims against a number, noise "
        "or the untrained network may hold or fail by its luck, which no interval over seeds knows of; between arms it cancels"
    ]


def different_losses(variant: Arm, baseline: Arm) -> list[tuple[str, Any, Any]]:
    """(key, variant's value, baseline's value) under `diffusion`: any of them moves the loss without moving quality."""
    if not variant.config or not baseline.config:
        return []
    ours, theirs = ({**_defaults("diffusion", Diffusion), **arm.config} for arm in (variant, baseline))
    keys = sorted(key for key in {**ours, **theirs} if key.startswith("diffusion."))
    return [(key, ours.get(key), theirs.get(key)) for key in keys if ours.get(key) != theirs.get(key)]


def refuse_losses(metric: str, variant: Arm, baseline: Arm) -> None:
    """Raise UserError where `metric` is a training or held-out loss and the arms' losses do not mean the same."""
    differing = different_losses(variant, baseline) if metric in _LOSSES else []
    if differing:
        listed = "; ".join(f"{key}: {ours!r} against {theirs!r}" for key, ours, theirs in differing)
        raise UserError(
            f"losses compare only within one schedule, prediction and weight; these differ: {listed}",
            field=metric,
            fix="write the criterion on val/denoising, which is measured on one grid of noise levels in every arm",
        )


def early_ends(arm: Arm) -> list[str]:
    """A sentence if runs of `arm` that count ended before their time: its values at the end are then of less training."""
    ended = [run for run in arm.counted.values() if run.stopped_early]
    if not ended:
        return []
    which = ", ".join(f"seed {run.seed} after {run.images_seen:,} of {run.units['total_images']:,} images" for run in ended)
    return [
        f"{arm.experiment_id} stopped early ({which}): its values at the end are those of its last evaluation, and are compared "
        "with values after another amount of training"
    ]


def _settings(arm: Arm) -> dict[str, Any]:
    """The arm's data and evaluation keys that decide what is measured."""
    sections: dict[str, type[Spec]] = {"evaluation": Evaluation, "evaluation.fid": FID, "evaluation.fd": FD}
    kind = _DATA.get(str(arm.config.get("data.kind")))
    if kind is not None:
        sections["data"] = kind
    settings: dict[str, Any] = {}
    for name, piece in sections.items():
        if any(key.startswith(f"{name}.") for key in arm.config):
            settings |= _defaults(name, piece)
    for key, value in arm.config.items():
        section, _, field = key.rpartition(".")
        if key.split(".")[0] not in ("data", "evaluation") or key in _WHEN_NOT_WHAT:
            continue
        owner = sections.get(section)
        if owner is not None and field in owner.model_fields and owner.role_of(field) is EXECUTION:
            continue
        settings[key] = value
    return settings


def _defaults(section: str, owner: type[Spec]) -> dict[str, Any]:
    """What an arm that was run before a field existed has for it: a later field's default is what was done before."""
    blank = owner.model_construct(**{name: None for name, field in owner.model_fields.items() if field.is_required()})
    found = flat(blank, f"{section}.", frozenset({Role.SCIENCE}))
    return {key: value for key, value in found.items() if key not in _WHEN_NOT_WHAT}
