"""`export`: a recorded run's network in a form that other programs read. Nothing in what it writes is executed when read."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from torch import Tensor, nn

from ddpm_exp.records.run_directory import RunDirectory
from ddpm_exp.spec.errors import UserError
from ddpm_exp.spec.identity import science
from ddpm_exp.workflow.load import load
from ddpm_exp.workflow.loaded_run import LoadedRun
from ddpm_exp.workflow.outputs import require_free, write_new

Form = Literal["diffusers", "safetensors", "onnx"]


@dataclass(frozen=True)
class Exported:
    """What was written."""

    path: Path
    """A file; for diffusers a folder."""

    form: Form
    files: tuple[str, ...]
    """Names, in a folder relative to it."""

    bytes: int
    """Of all files together."""

    averaged: bool
    """Whether the weights are the EMA's."""


def export(
    run: Path | str,
    form: Form,
    destination: Path | str,
    *,
    weights: Literal["ema", "raw"] | None = None,
    sigma_rel: float | None = None,
    force: bool = False,
) -> Exported:
    """Write the network of the run directory `run` to `destination`, whole or not at all.

    `diffusers`: a folder for `DDPMPipeline.from_pretrained` and `DDIMPipeline.from_pretrained`. `safetensors`: a file of the
    weights under our names, whose metadata say what network they are. `onnx`: a file of the network itself.

    `weights`, `sigma_rel`: see `load`. Raises UserError for what the form cannot hold, a missing package, and something at
    `destination` without `force`.
    """
    if form not in _WRITERS:
        raise UserError(f"a network is exported to {', '.join(get_args(Form))}", field="--to", value=form, fix="take one of these")
    loaded, target = load(run, weights=weights, sigma_rel=sigma_rel, device="cpu"), Path(destination).expanduser()
    _WRITERS[form](loaded, target, force)
    files = sorted(file for file in target.rglob("*") if file.is_file()) if target.is_dir() else [target]
    names = tuple(str(file.relative_to(target)) if target.is_dir() else file.name for file in files)
    return Exported(target, form, names, sum(file.stat().st_size for file in files), loaded.averaged)


def metadata(loaded: LoadedRun) -> dict[str, str]:
    """What a file of weights says of itself, as texts: JSON where it is more than a name.

    `experiment` is what `spec.restored.experiment_of` reads, its science alone: nothing of the machine that trained it.
    """
    manifest = RunDirectory.open(loaded.directory).manifest
    return {
        "format": "pt",
        "ddpm_exp": manifest.packages.get("ddpm-exp", ""),
        "experiment_id": manifest.experiment_id,
        "experiment": json.dumps(science(loaded.experiment, manifest.precision)),  # type: ignore[arg-type]
        "science_hash": manifest.science_hash,
        "seed": str(manifest.seed),
        "images_seen": str(loaded.images_seen),
        "weights": "ema" if loaded.averaged else "raw",
        "sigma_rel": json.dumps(loaded.sigma_rel),
        "facts": json.dumps(loaded.facts.to_json()),
        "codec": json.dumps(None if loaded.codec is None else loaded.codec.to_json()),
        "data_fingerprint": manifest.data_fingerprint,
        "packages": json.dumps(manifest.packages),
    }


def plain_weights(network: nn.Module) -> dict[str, Tensor]:
    """Contiguous copies on the CPU that share no memory: what safetensors takes."""
    return {name: tensor.detach().cpu().clone().contiguous() for name, tensor in network.state_dict().items()}


def _to_safetensors(loaded: LoadedRun, target: Path, force: bool) -> None:
    from safetensors.torch import save

    write_new(target, save(plain_weights(loaded.network), metadata(loaded)), force=force)


def _to_diffusers(loaded: LoadedRun, target: Path, force: bool) -> None:
    from ddpm_exp.workflow.diffusers_export import to_diffusers_folder

    to_diffusers_folder(loaded, target, force=force)


def _to_onnx(loaded: LoadedRun, target: Path, force: bool) -> None:
    from ddpm_exp.workflow.onnx_export import onnx_bytes

    require_free(target, force=force)  # told before the work, not after
    write_new(target, onnx_bytes(loaded, metadata(loaded)), force=force)


_WRITERS: dict[str, Callable[[LoadedRun, Path, bool], None]] = {
    "diffusers": _to_diffusers,
    "safetensors": _to_safetensors,
    "onnx": _to_onnx,
}
