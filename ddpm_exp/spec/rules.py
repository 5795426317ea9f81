"""Rules across the parts of an experiment that make it impossible. What is merely unwise is in `advice`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ddpm_exp.spec.base import broken
from ddpm_exp.spec.data import training_images
from ddpm_exp.spec.hardware import find_gpu
from ddpm_exp.spec.schedule import covered_log_snr

if TYPE_CHECKING:
    from ddpm_exp.spec.experiment import Experiment


def check_rules(experiment: Experiment) -> None:
    """Raise the first broken rule as a `PydanticCustomError` with field, value, rule and fix."""
    for rule in (_sampling_steps, _subset, _image_size, _attention, _precision, _micro_batch, _conditioned, _log_snr_grid):
        rule(experiment)


def _sampling_steps(e: Experiment) -> None:
    if e.sampling.steps > e.diffusion.timesteps:
        raise broken(
            f"sampling cannot take more steps than the {e.diffusion.timesteps} timesteps of the diffusion",
            field="sampling.steps",
            value=e.sampling.steps,
            fix=f"take sampling.steps <= {e.diffusion.timesteps}",
        )
    if e.sampling.sampler == "ddpm" and e.sampling.eta != 0:
        raise broken(
            "eta belongs to DDIM; the ancestral sampler's noise is sampling.variance",
            field="sampling.eta",
            value=e.sampling.eta,
            fix="remove eta, or set sampling.sampler to 'ddim'",
        )


def _subset(e: Experiment) -> None:
    everything = training_images(e.data.but(subset=None))
    if e.data.subset is not None and everything is not None and e.data.subset > everything:
        raise broken(
            f"{e.data.kind} has {everything} training images",
            field="data.subset",
            value=e.data.subset,
            fix=f"take at most {everything}, or None for all",
        )


def _image_size(e: Experiment) -> None:
    size, factor = e.data.image_size, 2**e.model.downsamplings
    if size % factor or size // factor < 2:
        raise broken(
            f"the image is halved {e.model.downsamplings} times (one less than model.multipliers has entries), so its side must "
            f"divide by {factor} and stay at least 2 pixels; {e.data.kind} is {size} pixels",
            field="model.multipliers",
            value=e.model.multipliers,
            fix="take fewer multipliers or another data.image_size",
        )


def _attention(e: Experiment) -> None:
    sides = [e.data.image_size // 2**level for level in range(e.model.downsamplings + 1)]
    for resolution in e.model.attention_resolutions:
        if resolution not in sides:
            raise broken(
                f"attention is at a resolution that the network passes through: {', '.join(map(str, sides))}",
                field="model.attention_resolutions",
                value=resolution,
                fix="choose among these, or () for attention in the middle only",
            )


def _precision(e: Experiment) -> None:
    if e.hardware.gpu is None or e.training.precision == "auto":
        return
    gpu = find_gpu(e.hardware.gpu)
    if e.training.precision not in gpu.precisions:
        raise broken(
            f"{gpu.name} has no {e.training.precision} in hardware (it has {', '.join(gpu.precisions)})",
            field="training.precision",
            value=e.training.precision,
            fix=f"set training.precision to 'auto' or '{gpu.best_precision}'",
        )


def _micro_batch(e: Experiment) -> None:
    micro = e.hardware.micro_batch
    if micro is not None and e.training.images_per_step % micro:
        raise broken(
            f"micro-batches must add up to images_per_step = {e.training.images_per_step}",
            field="hardware.micro_batch",
            value=micro,
            fix="take a divisor of it, or None",
        )


def _conditioned(e: Experiment) -> None:
    guided = e.sampling.guidance_scale != 1.0
    if guided and e.condition.kind == "none":
        raise broken(
            "guidance needs a condition",
            field="sampling.guidance_scale",
            value=e.sampling.guidance_scale,
            fix="set condition to ClassLabels() or Prompts(), or guidance_scale to 1",
        )
    if guided and e.condition.kind != "none" and e.condition.dropout == 0:
        raise broken(
            "guidance needs an unconditional model, which training makes by hiding conditions",
            field="condition.dropout",
            value=0.0,
            fix="set condition.dropout to 0.1, or sampling.guidance_scale to 1",
        )
    if e.sampling.weights == "ema" and e.training.ema_half_life is None:
        raise broken(
            "sampling from averaged weights needs EMA",
            field="sampling.weights",
            value="ema",
            fix="set training.ema_half_life, or sampling.weights to 'raw'",
        )


def _log_snr_grid(e: Experiment) -> None:
    low, high = covered_log_snr(e.diffusion)
    for field in ("log_snr", "reconstruction_log_snr"):
        for level in getattr(e.evaluation, field):
            if not low <= level <= high:
                raise broken(
                    f"the schedule covers log-SNR {low:.2f} to {high:.2f} only, so held-out images cannot be measured at {level:g}",
                    field=f"evaluation.{field}",
                    value=level,
                    fix="leave this level out in every arm, or change the schedule (betas scaled by 1000 / timesteps reach noise)",
                )
