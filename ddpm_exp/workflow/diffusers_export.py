"""A run's network as a folder that diffusers' DDPMPipeline and DDIMPipeline load: written without diffusers, by its formats."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

from torch import Tensor

from ddpm_exp.models.diffusers_unet import to_diffusers
from ddpm_exp.models.unet import UNetNetwork
from ddpm_exp.spec.condition import Unconditional
from ddpm_exp.spec.diffusion import Diffusion
from ddpm_exp.spec.errors import UserError
from ddpm_exp.spec.experiment import Experiment
from ddpm_exp.spec.sampling import Sampling
from ddpm_exp.spec.schedule import alpha_bars
from ddpm_exp.workflow.diffusers_folder import CONFIG, WEIGHTS
from ddpm_exp.workflow.loaded_run import LoadedRun
from ddpm_exp.workflow.outputs import new_folder

INDEX = "model_index.json"

_VERSION = "0.33.0"
"""The oldest diffusers that is known to read these files."""

_PREDICTIONS = {"eps": "epsilon", "x0": "sample", "v": "v_prediction"}
_VARIANCES = {"small": "fixed_small", "large": "fixed_large", "learned": "learned_range"}
_COSINE_S = 0.008
"""The offset of `squaredcos_cap_v2`, which is not in its config."""

_NO_BOUND = 1e6
"""For `sample_max_value`: dynamic thresholding has no upper bound with us."""

_INSTEAD = "export --to safetensors or --to onnx, which hold every network"


def to_diffusers_folder(loaded: LoadedRun, target: Path, *, force: bool) -> None:
    """Write `model_index.json`, `unet/` and `scheduler/` to `target`. Raises UserError for what no such pipeline draws."""
    _require(loaded.experiment)
    config, weights = _unet(loaded)
    scheduler = scheduler_config(loaded.experiment.diffusion, loaded.experiment.sampling)
    from safetensors.torch import save

    with new_folder(target, force=force, ours=INDEX) as folder:
        index = {
            "_class_name": "DDPMPipeline",
            "_diffusers_version": _VERSION,
            "scheduler": ["diffusers", "DDPMScheduler"],
            "unet": ["diffusers", "UNet2DModel"],
        }
        _write(folder / INDEX, index)
        _write(folder / "unet" / CONFIG, {"_class_name": "UNet2DModel", "_diffusers_version": _VERSION, **config})
        _write(folder / "scheduler" / "scheduler_config.json", scheduler)
        (folder / "unet" / WEIGHTS).write_bytes(save(weights, {"format": "pt"}))


def scheduler_config(diffusion: Diffusion, sampling: Sampling) -> dict[str, Any]:
    """The config of the `DDPMScheduler` (and of the `DDIMScheduler` made from it) for this schedule on whole times.

    Both read the same betas, so x_t means the same. Theirs are float32: alphas may differ in the sixth digit.
    """
    grid = sampling.grid if sampling.grid in ("trailing", "leading", "linspace") else "trailing"
    thresholding = sampling.dynamic_threshold is not None
    return {
        "_class_name": "DDPMScheduler",
        "_diffusers_version": _VERSION,
        "num_train_timesteps": diffusion.timesteps,
        **_betas(diffusion),
        "prediction_type": _PREDICTIONS[diffusion.prediction],
        "variance_type": _VARIANCES[sampling.variance],
        "clip_sample": sampling.clip_x0 and not thresholding,
        "clip_sample_range": 1.0,
        "thresholding": thresholding,
        "dynamic_thresholding_ratio": sampling.dynamic_threshold if thresholding else 0.995,
        "sample_max_value": _NO_BOUND if thresholding else 1.0,
        "timestep_spacing": grid,
        "steps_offset": 0,
        "rescale_betas_zero_snr": diffusion.zero_terminal_snr,
    }


def _betas(diffusion: Diffusion) -> dict[str, Any]:
    """By name where diffusers has the schedule, else the betas one by one; before a rescaling to zero terminal SNR."""
    both: dict[str, Any] = {"beta_start": diffusion.beta_start, "beta_end": diffusion.beta_end, "trained_betas": None}
    if diffusion.schedule in ("linear", "scaled-linear"):
        return both | {"beta_schedule": diffusion.schedule.replace("-", "_")}
    if diffusion.schedule == "cosine" and diffusion.cosine_s == _COSINE_S:
        return both | {"beta_schedule": "squaredcos_cap_v2"}
    bars = (1.0, *alpha_bars(diffusion.but(zero_terminal_snr=False)))
    betas = [1.0 - after / before for before, after in pairwise(bars)]
    return both | {"beta_schedule": "linear", "trained_betas": betas}


def _require(experiment: Experiment) -> None:
    diffusion = experiment.diffusion
    if not isinstance(experiment.condition, Unconditional):
        raise _refused("condition", experiment.condition.kind, "its pipelines for UNet2DModel pass no condition to the network")
    if not diffusion.discrete:
        raise _refused("diffusion.schedule", diffusion.schedule, "its DDPM and DDIM schedulers have whole times only")
    if diffusion.prediction not in _PREDICTIONS:
        known = ", ".join(_PREDICTIONS)
        raise _refused("diffusion.prediction", diffusion.prediction, f"its schedulers know the predictions {known} alone")


def _unet(loaded: LoadedRun) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Config and weights. A learned variance is left out unless sampling asks for it: DDIM's scheduler cannot take it."""
    if not isinstance(loaded.network, UNetNetwork):
        kind = loaded.experiment.model.kind
        raise _refused("model.kind", kind, "its unconditional pipelines take a UNet2DModel alone")
    try:
        config, shared = to_diffusers(loaded.network)
    except UserError as error:
        raise UserError(error.rule, field=error.field, value=error.value, fix=_INSTEAD) from error
    weights = {name: tensor.detach().cpu().clone().contiguous() for name, tensor in shared.items()}
    if loaded.experiment.diffusion.learned_variance and loaded.experiment.sampling.variance != "learned":
        colours = loaded.facts.shape[0]
        config["out_channels"] = colours
        for name in ("conv_out.weight", "conv_out.bias"):
            weights[name] = weights[name][:colours].clone()
    return config, weights


def _write(file: Path, content: dict[str, Any]) -> None:
    file.parent.mkdir(exist_ok=True)
    file.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def _refused(field: str, value: object, why: str) -> UserError:
    return UserError(f"diffusers cannot hold this run: {why}", field=field, value=value, fix=_INSTEAD)
