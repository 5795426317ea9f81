"""The forward process and what the network predicts: schedule, prediction, weight, time density. No arithmetic."""

from __future__ import annotations

from typing import Annotated, Literal

from annotated_types import Ge, Gt, Le, Lt
from pydantic import model_validator

from ddpm_exp.spec.base import Spec
from ddpm_exp.spec.diffusion_rules import BELONGS, DISCRETE, ENDS_AT_NOISE, check_diffusion

DiscreteSchedule = Literal["linear", "scaled-linear", "cosine", "sigmoid"]
ContinuousSchedule = Literal["vp-linear", "vp-cosine", "rectified-flow", "ve"]
Schedule = Literal[DiscreteSchedule, ContinuousSchedule]


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

    beta_min: Annotated[float, Ge(1e-4), Le(10)] = 0.1
    """Rate of noise at time 0 of `vp-linear`."""

    beta_max: Annotated[float, Gt(0), Le(100)] = 20.0
    """Rate of noise at time 1 of `vp-linear`."""

    sigma_min: Annotated[float, Ge(1e-5), Lt(1)] = 0.002
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

    sigma_data: Annotated[float, Ge(1e-3), Le(10)] = 0.5
    """Standard deviation of the data, for EDM's preconditioning and weight, and for the scale of the network's input on
    `ve`; standardised tables have 1."""

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
        return self.schedule in BELONGS.get(field, (self.schedule,))

    @model_validator(mode="after")
    def _rules(self) -> Diffusion:
        check_diffusion(self)
        return self
