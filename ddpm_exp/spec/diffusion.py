"""The forward process and what the network predicts: schedule, prediction, weight, time density. No arithmetic."""

from __future__ import annotations

from typing import Annotated, Literal

from annotated_types import Ge, Gt, Le, Lt
from pydantic import model_validator

from ddpm_exp.spec.base import Spec, broken

DiscreteSchedule = Literal["linear", "scaled-linear", "cosine", "sigmoid"]
ContinuousSchedule = Literal["vp-linear", "vp-cosine", "rectified-flow", "ve"]
Schedule = Literal[DiscreteSchedule, ContinuousSchedule]

DISCRETE: tuple[Schedule, ...] = ("linear", "scaled-linear", "cosine", "sigmoid")
"""Schedules on times 0..T; the others run on real times in [0, 1]."""

ENDS_AT_NOISE: tuple[Schedule, ...] = ("vp-cosine", "rectified-flow")
"""Schedules whose last time is pure noise: alpha = 0."""

_BELONGS: dict[str, tuple[Schedule, ...]] = {
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


class Diffusion(Spec):
    """x_t = alpha_t x0 + sigma_t eps, on whole times 0..`timesteps` or on real times in [0, 1] (Ho et al. 2020, eq. 4)."""

    schedule: Schedule = "linear"
    """On whole times: `linear`, betas from `beta_start` to `beta_end` (Ho et al. 2020); `scaled-linear`, their square roots
    in equal steps (Rombach et al. 2022); `cosine`, Nichol & Dhariwal 2021, eq. 17, betas clipped at 0.999; `sigmoid`,
    Jabri et al. 2022, algorithm 1. On real times: `vp-linear`, the variance-preserving SDE (Song et al. 2021, eq. 33);
    `vp-cosine`, alpha = cos(pi t / 2); `rectified-flow`, alpha = 1 - t, sigma = t (Liu et al. 2022); `ve`, alpha = 1,
    sigma from `sigma_min` to `sigma_max` (Karras et al. 2022)."""

    timesteps: Annotated[int, Ge(2), Le(10_000)] = 1000
    """Number of noise levels T. Guide 000: 100 to 1000; guide 001: 1000 or more; guide 003: 250 to 4000."""

    beta_start: Annotated[float, Ge(1e-10), Lt(1)] = 1e-4
    """Per-step noise variance at the first time of the linear schedules."""

    beta_end: Annotated[float, Ge(1e-10), Lt(1)] = 0.02
    """Per-step noise variance at the last time of the linear schedules."""

    cosine_s: Annotated[float, Ge(0), Lt(1)] = 0.008
    """Offset s of the cosine schedule, which keeps the first steps from being too small."""

    sigmoid_start: Annotated[float, Ge(-20), Le(20)] = -3.0
    """Where the sigmoid is entered."""

    sigmoid_end: Annotated[float, Ge(-20), Le(20)] = 3.0
    """Where the sigmoid is left."""

    sigmoid_tau: Annotated[float, Ge(0.05), Le(10)] = 1.0
    """Temperature of the sigmoid."""

    beta_min: Annotated[float, Gt(0), Le(10)] = 0.1
    """Rate of noise at time 0 of `vp-linear`."""

    beta_max: Annotated[float, Gt(0), Le(100)] = 20.0
    """Rate of noise at time 1 of `vp-linear`."""

    sigma_min: Annotated[float, Gt(0), Lt(1)] = 0.002
    """Smallest noise of `ve`, in units of the data's range [-1, 1]."""

    sigma_max: Annotated[float, Gt(1), Le(10_000)] = 80.0
    """Largest noise of `ve`."""

    zero_terminal_snr: bool = False
    """Rescale the schedule so that the last time is pure noise (Lin et al. 2024, algorithm 1)."""

    prediction: Literal["eps", "x0", "v", "score", "velocity"] = "eps"
    """What the network's output means: the noise; the clean image; v = alpha eps - sigma x0; the score -eps / sigma; or
    the velocity dx/dt, which on `rectified-flow` is eps - x0."""

    preconditioning: Literal["none", "edm"] = "none"
    """`edm`: the network sees and returns values of unit variance at every noise level (Karras et al. 2022, eq. 7)."""

    sigma_data: Annotated[float, Gt(0), Le(10)] = 0.5
    """Standard deviation of the data, for EDM's preconditioning and weight; standardised tables have 1."""

    weight: Literal["simple", "elbo", "snr", "truncated-snr", "min-snr", "soft-min-snr", "p2", "edm"] = "simple"
    """Loss weight over time. `simple`: mean squared error of the prediction itself (Ho et al. 2020, eq. 14). The others are
    weights of the error of x0, whatever is predicted: `elbo`, the variational bound; `snr`; `truncated-snr`, max(SNR, 1)
    (Salimans & Ho 2022); `min-snr`, min(SNR, `snr_gamma`) (Hang et al. 2023); `soft-min-snr`, its smooth form; `p2`,
    SNR / (`p2_k` + SNR) ** `p2_gamma` (Choi et al. 2022); `edm` (Karras et al. 2022, table 1)."""

    snr_gamma: Annotated[float, Gt(0), Le(1000)] = 5.0
    """Where `min-snr` and `soft-min-snr` level off."""

    p2_gamma: Annotated[float, Ge(0), Le(5)] = 1.0
    """Exponent of `p2`."""

    p2_k: Annotated[float, Gt(0), Le(100)] = 1.0
    """Offset of `p2`."""

    time_density: Literal["uniform", "stratified", "logit-normal", "log-normal-sigma", "importance"] = "uniform"
    """How training draws times. `stratified`: uniform, one image of each step in each of `images_per_step` equal parts;
    `logit-normal`: sigmoid of a normal number (Esser et al. 2024); `log-normal-sigma`: ln(sigma / alpha) is normal (Karras
    et al. 2022); `importance`: in proportion to the root of the loss's second moment (Nichol & Dhariwal 2021, eq. 18)."""

    density_mean: Annotated[float, Ge(-10), Le(10)] | None = None
    """Mean of the normal number behind `logit-normal` (None: 0) and `log-normal-sigma` (None: -1.2)."""

    density_std: Annotated[float, Gt(0), Le(10)] | None = None
    """Its standard deviation (None: 1 and 1.2)."""

    learned_variance: bool = False
    """The network also predicts the variance of each reverse step, between the two bounds, trained by
    `variance_weight` times the variational bound (Nichol & Dhariwal 2021, eq. 15 and 16)."""

    variance_weight: Annotated[float, Gt(0), Le(1)] = 0.001
    """Share of the variational bound in the hybrid loss."""

    @property
    def discrete(self) -> bool:
        """Whether times are whole numbers 0..T."""
        return self.schedule in DISCRETE

    @property
    def ends_at_noise(self) -> bool:
        """Whether the last time is pure noise: alpha = 0."""
        return self.zero_terminal_snr or self.schedule in ENDS_AT_NOISE

    def has(self, field: str) -> bool:
        """Whether `field` means something on this schedule."""
        return self.schedule in _BELONGS.get(field, (self.schedule,))

    @model_validator(mode="after")
    def _rules(self) -> Diffusion:
        self._fields_belong()
        if self.beta_start > self.beta_end:
            raise broken(
                "beta_start must not exceed beta_end",
                field="beta_start",
                value=self.beta_start,
                fix=f"lower beta_start below {self.beta_end:g} or raise beta_end",
            )
        self._prediction_exists()
        self._density_exists()
        self._preconditioning_fits()
        return self

    def _fields_belong(self) -> None:
        for field, schedules in _BELONGS.items():
            default = type(self).model_fields[field].default
            if self.schedule not in schedules and getattr(self, field) != default:
                raise broken(
                    f"{field} belongs to {' and '.join(schedules)}, and means nothing on {self.schedule}",
                    field=field,
                    value=getattr(self, field),
                    fix=f"leave it out (its default is {default!r}), or choose such a schedule",
                )

    def _prediction_exists(self) -> None:
        if self.ends_at_noise and self.prediction in ("eps", "score"):
            what = "zero_terminal_snr" if self.zero_terminal_snr else "prediction"
            others = "'v', 'x0' or 'velocity'" if not self.discrete else "'v' or 'x0'"
            raise broken(
                f"at zero terminal SNR the last time is pure noise, from which a prediction of {self.prediction} cannot recover x0 "
                "(it divides by alpha = 0)",
                field=what,
                value=getattr(self, what),
                fix=f"set diffusion.prediction to {others}"
                + (", or zero_terminal_snr to False" if self.zero_terminal_snr else ", or choose another schedule"),
            )
        if self.discrete and self.prediction == "velocity":
            raise broken(
                f"the velocity is a derivative in time, and {self.schedule} has only whole times",
                field="prediction",
                value=self.prediction,
                fix="set diffusion.prediction to 'v', or diffusion.schedule to 'rectified-flow', 'vp-linear', 'vp-cosine' or 've'",
            )

    def _density_exists(self) -> None:
        if self.discrete and self.time_density in ("logit-normal", "log-normal-sigma"):
            raise broken(
                f"{self.time_density} draws real times, and {self.schedule} has only whole ones",
                field="time_density",
                value=self.time_density,
                fix="set diffusion.time_density to 'uniform', 'stratified' or 'importance', or choose a schedule on real times",
            )
        if not self.discrete and self.time_density == "importance":
            raise broken(
                f"importance sampling keeps the losses of each whole time, and {self.schedule} has real ones",
                field="time_density",
                value=self.time_density,
                fix="set diffusion.time_density to 'logit-normal' or 'stratified', or choose a schedule on whole times",
            )
        normal = self.time_density in ("logit-normal", "log-normal-sigma")
        for field in ("density_mean", "density_std"):
            if not normal and getattr(self, field) is not None:
                raise broken(
                    f"{field} belongs to logit-normal and log-normal-sigma, and means nothing for {self.time_density}",
                    field=field,
                    value=getattr(self, field),
                    fix="leave it out, or set diffusion.time_density to one of these",
                )

    def _preconditioning_fits(self) -> None:
        if self.preconditioning == "edm" and (self.schedule != "ve" or self.prediction != "x0"):
            raise broken(
                "EDM's preconditioning makes the network a denoiser, an estimate of x0, on the ve schedule",
                field="preconditioning",
                value=self.preconditioning,
                fix="set diffusion.schedule to 've' and diffusion.prediction to 'x0', or preconditioning to 'none'",
            )
        if self.weight == "edm" and self.preconditioning != "edm":
            raise broken(
                "EDM's weight undoes the scaling of its preconditioning and means nothing without it",
                field="weight",
                value=self.weight,
                fix="set diffusion.preconditioning to 'edm', or diffusion.weight to 'min-snr' or 'simple'",
            )
