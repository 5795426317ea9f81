"""What combinations of a `Diffusion`'s fields mean something, and give finite losses at both ends of the path."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from ddpm_exp.spec.base import broken, require_belonging
from ddpm_exp.spec.schedule import alpha_bars

if TYPE_CHECKING:
    from ddpm_exp.spec.diffusion import Diffusion

DISCRETE: tuple[str, ...] = ("linear", "scaled-linear", "cosine", "sigmoid")
"""Schedules on times 0..T; the others run on real times in [0, 1]."""

ENDS_AT_NOISE: tuple[str, ...] = ("vp-cosine", "rectified-flow")
"""Schedules whose last time is pure noise: alpha = 0."""

BELONGS: dict[str, tuple[str, ...]] = {
    "timesteps": DISCRETE,
    "beta_start": ("linear", "scaled-linear"),
    "beta_end": ("linear", "scaled-linear"),
    "cosine_s": ("cosine",),
    "sigmoid_start": ("sigmoid",),
    "sigmoid_end": ("sigmoid",),
    "sigmoid_tau": ("sigmoid",),
    "beta_min": ("vp-linear",),
    "beta_max": ("vp-linear",),
    "sigma_min": ("ve",),
    "sigma_max": ("ve",),
    "zero_terminal_snr": DISCRETE,
    "learned_variance": DISCRETE,
}
"""Schedules that a field means something for; elsewhere it must stay at its default."""

_SERVES: dict[str, tuple[str, tuple[object, ...]]] = {
    "snr_gamma": ("weight", ("min-snr", "soft-min-snr")),
    "p2_gamma": ("weight", ("p2",)),
    "p2_k": ("weight", ("p2",)),
    "density_mean": ("time_density", ("logit-normal", "log-normal-sigma")),
    "density_std": ("time_density", ("logit-normal", "log-normal-sigma")),
    "variance_weight": ("learned_variance", (True,)),
    "sigma_data": ("schedule", ("ve",)),
}
"""Fields that another field gives a meaning to, and its values that do; otherwise they must stay at their default."""

_CLEAREST = 0.9e-10
"""Smallest variance of the noise at time 1, just below the smallest beta: float64 knows six digits of it."""

_NOISIEST = 1e-30
"""Smallest alpha-bar: below it, dividing by alpha and squaring leaves the range of float32."""


def check_diffusion(d: Diffusion) -> None:
    """Raise the first broken rule as a `PydanticCustomError` with field, value, rule and fix."""
    require_belonging(d, d.schedule, BELONGS, kind="schedule")
    _fields_serve(d)
    for first, last in (("beta_start", "beta_end"), ("beta_min", "beta_max")):
        if getattr(d, first) > getattr(d, last):
            raise broken(
                f"{first} must not exceed {last}",
                field=first,
                value=getattr(d, first),
                fix=f"lower {first} below {getattr(d, last):g} or raise {last}",
            )
    if d.sigmoid_start >= d.sigmoid_end:
        raise broken(
            "the sigmoid runs upwards, from sigmoid_start to sigmoid_end",
            field="sigmoid_start",
            value=d.sigmoid_start,
            fix=f"lower sigmoid_start below {d.sigmoid_end:g} or raise sigmoid_end",
        )
    _levels_are_told_apart(d)
    _prediction_exists(d)
    _density_exists(d)
    _preconditioning_fits(d)


def _fields_serve(d: Diffusion) -> None:
    for field, (giver, values) in _SERVES.items():
        default = type(d).model_fields[field].default
        if getattr(d, giver) not in values and getattr(d, field) != default:
            named = " or ".join(repr(value) for value in values)
            raise broken(
                f"{field} belongs to {giver} = {named}, and means nothing for {getattr(d, giver)!r}",
                field=field,
                value=getattr(d, field),
                fix=f"leave it out (its default is {default!r}), or set diffusion.{giver} to {named}",
            )


def _levels_are_told_apart(d: Diffusion) -> None:
    """Whole times are distinct levels of noise, from one above rounding to one that still holds a trace of the data."""
    if not d.discrete:
        return
    bars = alpha_bars(d)
    sigmoid = d.schedule == "sigmoid"
    if 1.0 - bars[0] < _CLEAREST:
        first = "sigmoid_start" if sigmoid else "cosine_s" if d.schedule == "cosine" else "beta_start"
        raise broken(
            f"the first time has less noise ({1.0 - bars[0]:.1e} in variance) than float64 tells from none",
            field=first,
            value=getattr(d, first),
            fix="raise sigmoid_start or sigmoid_tau" if sigmoid else f"raise {first} or take fewer timesteps",
        )
    if any(later >= before for before, later in itertools.pairwise(bars)):
        last = "sigmoid_end" if sigmoid else "beta_end"
        raise broken(
            "each time must hold more noise than the one before, and the last of these are the same to rounding",
            field=last,
            value=getattr(d, last),
            fix=f"lower {last}" + (" or raise sigmoid_tau" if sigmoid else " or take fewer timesteps"),
        )
    if not d.zero_terminal_snr and bars[-1] < _NOISIEST:
        raise broken(
            f"the last time's alpha-bar, {bars[-1]:.1e}, is below {_NOISIEST:g}, too little signal for float32",
            field="beta_end",
            value=d.beta_end,
            fix=f"lower beta_end (scaled by 1000 / timesteps it is {20 / d.timesteps:.2g}), or take fewer timesteps",
        )


def _prediction_exists(d: Diffusion) -> None:
    if d.ends_at_noise and d.prediction in ("eps", "score"):
        what = "zero_terminal_snr" if d.zero_terminal_snr else "prediction"
        others = "'v', 'x0' or 'velocity'" if not d.discrete else "'v' or 'x0'"
        raise broken(
            f"at zero terminal SNR the last time is pure noise, from which a prediction of {d.prediction} cannot recover x0 "
            "(it divides by alpha = 0)",
            field=what,
            value=getattr(d, what),
            fix=f"set diffusion.prediction to {others}"
            + (", or zero_terminal_snr to False" if d.zero_terminal_snr else ", or choose another schedule"),
        )
    if d.discrete and d.prediction == "velocity":
        raise broken(
            f"the velocity is a derivative in time, and {d.schedule} has only whole times",
            field="prediction",
            value=d.prediction,
            fix="set diffusion.prediction to 'v', or diffusion.schedule to 'rectified-flow', 'vp-linear', 'vp-cosine' or 've'",
        )


def _density_exists(d: Diffusion) -> None:
    if d.discrete and d.time_density in ("logit-normal", "log-normal-sigma"):
        raise broken(
            f"{d.time_density} draws real times, and {d.schedule} has only whole ones",
            field="time_density",
            value=d.time_density,
            fix="set diffusion.time_density to 'uniform', 'stratified' or 'importance', or choose a schedule on real times",
        )
    if not d.discrete and d.time_density == "importance":
        raise broken(
            f"importance sampling keeps the losses of each whole time, and {d.schedule} has real ones",
            field="time_density",
            value=d.time_density,
            fix="set diffusion.time_density to 'logit-normal' or 'stratified', or choose a schedule on whole times",
        )


def _preconditioning_fits(d: Diffusion) -> None:
    if d.preconditioning == "edm" and (d.schedule != "ve" or d.prediction != "x0"):
        raise broken(
            "EDM's preconditioning makes the network a denoiser, an estimate of x0, on the ve schedule",
            field="preconditioning",
            value=d.preconditioning,
            fix="set diffusion.schedule to 've' and diffusion.prediction to 'x0', or preconditioning to 'none'",
        )
    if d.weight == "edm" and d.preconditioning != "edm":
        raise broken(
            "EDM's weight undoes the scaling of its preconditioning and means nothing without it",
            field="weight",
            value=d.weight,
            fix="set diffusion.preconditioning to 'edm', or diffusion.weight to 'min-snr' or 'simple'",
        )
