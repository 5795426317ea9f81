"""Rules across the parts of an experiment that make it impossible. What is merely unwise is in `advice`."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from ddpm_exp.spec.base import broken
from ddpm_exp.spec.condition import Several, parts_of
from ddpm_exp.spec.data import family_of, training_images
from ddpm_exp.spec.fits import FITS
from ddpm_exp.spec.hardware import find_gpu
from ddpm_exp.spec.phases import check_phases
from ddpm_exp.spec.schedule import alpha_bars, covered_log_snr

if TYPE_CHECKING:
    from ddpm_exp.spec.experiment import Experiment


MOST_TIMES_THE_ERROR = 1000.0
"""1 / alpha at the last time from which on an eps prediction may not go without bounds."""


def check_rules(experiment: Experiment) -> None:
    """Raise the first broken rule as a `PydanticCustomError` with field, value, rule and fix."""
    for rule in (*FITS, *_RULES):
        rule(experiment)


def _sampling_steps(e: Experiment) -> None:
    if e.diffusion.discrete and e.sampling.steps > e.diffusion.timesteps:
        raise broken(
            f"sampling cannot take more steps than the {e.diffusion.timesteps} timesteps of the diffusion",
            field="sampling.steps",
            value=e.sampling.steps,
            fix=f"take sampling.steps <= {e.diffusion.timesteps}",
        )


def _unbounded_x0(e: Experiment) -> None:
    sampling, diffusion = e.sampling, e.diffusion
    bounded = sampling.calibrate or sampling.clip_x0 or sampling.dynamic_threshold is not None
    if bounded or diffusion.prediction != "eps" or not diffusion.discrete or sampling.grid == "leading":
        return
    times = 1 / math.sqrt(max(alpha_bars(diffusion)[-1], 1e-30))
    if times >= MOST_TIMES_THE_ERROR:
        raise broken(
            f"at the noisiest time x0 is the network's error in eps times {times:.2g}, and nothing keeps it in bounds: guide "
            "002's preset for tables, drawn so, has a sliced Wasserstein distance of 1,349, where noise has 0.4",
            field="sampling.clip_x0",
            value=False,
            fix="set sampling.clip_x0 or sampling.calibrate to True, or sampling.grid to 'leading'",
        )


def _learned_variance(e: Experiment) -> None:
    if e.sampling.variance == "learned" and not e.diffusion.learned_variance:
        raise broken(
            "the network says a variance only where it learns one",
            field="sampling.variance",
            value="learned",
            fix="set diffusion.learned_variance to True, or sampling.variance to 'small' or 'large'",
        )


def _thresholds(e: Experiment) -> None:
    if family_of(e.data) == "image":
        return
    for field, present in (
        ("sampling.dynamic_threshold", e.sampling.dynamic_threshold is not None),
        ("evaluation.fid", e.evaluation.fid is not None),
        ("evaluation.fd", e.evaluation.fd is not None),
    ):
        if present:
            raise broken(
                f"this is for images, which live in [-1, 1], and {e.data.kind} holds none",
                field=field,
                value=True,
                fix="leave it out",
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


def _keep_best(e: Experiment) -> None:
    if e.training.keep_best and e.hardware.shard:
        raise broken(
            "of weights that are spread over devices, only the last checkpoints are kept",
            field="training.keep_best",
            value=True,
            fix="leave it out, or set hardware.shard to False",
        )


def _remedy(e: Experiment) -> None:
    if e.training.remedy == "rollback" and e.hardware.shard:
        raise broken(
            "weights that are spread over devices do not go back by themselves",
            field="training.remedy",
            value="rollback",
            fix="set it to 'stop'; the same command goes on from the last checkpoint",
        )


def _ema_snapshots(e: Experiment) -> None:
    if e.training.ema_snapshots is not None and e.hardware.shard:
        raise broken(
            "of weights that are spread over devices, no snapshots of averages are kept",
            field="training.ema_snapshots",
            value=e.training.ema_snapshots,
            fix="leave it out, or set hardware.shard to False",
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


def _devices(e: Experiment) -> None:
    devices, step = e.hardware.devices, e.training.images_per_step
    if step % devices:
        below, above = step // devices * devices, -(-step // devices) * devices
        sizes = f"{below} or {above}" if below else str(above)
        raise broken(
            f"each device trains on an equal share of the {step} images of a step",
            field="hardware.devices",
            value=devices,
            fix=f"take a divisor of {step}, or training.images_per_step = {sizes}, which is another experiment",
        )
    if e.hardware.shard and e.training.optimizer == "muon":
        raise broken(
            "Muon needs whole matrices, and with hardware.shard each device holds a part of every weight",
            field="hardware.shard",
            value=True,
            fix="set training.optimizer to 'adamw', or hardware.shard to False",
        )
    if e.hardware.shard and e.hardware.compile is True:
        raise broken(
            "a network that is spread over devices is not compiled",
            field="hardware.compile",
            value=True,
            fix="set hardware.compile or hardware.shard to False",
        )


def _micro_batch(e: Experiment) -> None:
    micro, share = e.hardware.micro_batch, e.training.images_per_step // e.hardware.devices
    if micro is not None and share % micro:
        each = "images_per_step" if e.hardware.devices == 1 else "a device's share of images_per_step"
        raise broken(
            f"micro-batches must add up to {each} = {share}",
            field="hardware.micro_batch",
            value=micro,
            fix="take a divisor of it, or None",
        )


def _guided(e: Experiment) -> None:
    guided, parts = e.sampling.guidance_scale != 1.0, parts_of(e.condition)
    if guided and e.sampling.guide is None:
        if not parts:
            raise broken(
                "guidance needs a condition",
                field="sampling.guidance_scale",
                value=e.sampling.guidance_scale,
                fix="set condition to ClassLabels() or Prompts(), or guidance_scale to 1; or name a run in sampling.guide",
            )
        hidden_alone = isinstance(e.condition, Several) and e.condition.dropout > 0
        if any(part.dropout == 0 for part in parts) and not hidden_alone:
            raise broken(
                "guidance needs an unconditional model, which training makes by hiding conditions",
                field="condition.dropout",
                value=0.0,
                fix="set condition.dropout to 0.1, or sampling.guidance_scale to 1",
            )
    if e.sampling.weights == "ema" and not e.training.averages:
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


def _likelihood(e: Experiment) -> None:
    if e.evaluation.likelihood and not e.diffusion.discrete:
        raise broken(
            f"bits per dimension are a bound that sums over whole times, and {e.diffusion.schedule} has real ones",
            field="evaluation.likelihood",
            value=e.evaluation.likelihood,
            fix="set evaluation.likelihood to 0, or diffusion.schedule to 'linear', 'scaled-linear', 'cosine' or 'sigmoid'",
        )


_RULES = (
    _sampling_steps,
    _unbounded_x0,
    _learned_variance,
    _thresholds,
    _subset,
    _keep_best,
    _remedy,
    _ema_snapshots,
    _precision,
    _devices,
    _micro_batch,
    _guided,
    _log_snr_grid,
    _likelihood,
    check_phases,
)
