"""Advice on the noise schedule and on what the network predicts."""

from __future__ import annotations

import math

from ddpm_exp.spec.advice.rule import Advice, Case, rule
from ddpm_exp.spec.data import Images
from ddpm_exp.spec.diffusion import Diffusion
from ddpm_exp.spec.schedule import alpha_bars, log_snr

USUAL_BETA_START, USUAL_BETA_END, USUAL_TIMESTEPS = 1e-4, 0.02, 1000

LARGEST_LAST_ALPHA_BAR = 0.01
"""Above this the last noisy image still shows a tenth of the clean one (sqrt(0.01)), while sampling starts from none of it.
1000 usual betas end at 4e-5, 500 at 0.006, 200 at 0.13."""


@rule(
    "fewer than 1000 timesteps on CIFAR-10, fewer than 250 elsewhere",
    reads=("diffusion.timesteps", "data.kind"),
    guides=("000", "001", "003"),
)
def few_timesteps(case: Case) -> Advice | None:
    count, on_cifar10 = case.experiment.diffusion.timesteps, case.experiment.data.kind == "cifar10"
    if count >= (1000 if on_cifar10 else 250):
        return None
    if count >= 250:
        other = "guide 000 calls 500 balanced, and guide 003 keeps 250 to 500 for quick experiments"
    elif count >= 100:
        other = "guide 003 starts at 250, guide 000 keeps 100 to 200 for prototypes and small memory"
    else:
        other = "that is below every range: guide 003 starts at 250, guide 000 at 100"
    head = f"CIFAR-10 needs 1000 timesteps or more for good quality (guide 001); {other}" if on_cifar10 else other
    guides = ("001", "000", "003") if on_cifar10 else ("003", "000")
    return Advice(
        "diffusion.timesteps", count, head, guides, "set diffusion.timesteps to 1000; sampling may still take 50 DDIM steps"
    )


@rule("more than 4000 timesteps", reads=("diffusion.timesteps",), guides=("000", "003"))
def many_timesteps(case: Case) -> Advice | None:
    count = case.experiment.diffusion.timesteps
    if count <= 4000:
        return None
    says = "guide 003 goes up to 4000 timesteps for high quality, guide 000 only to 1000"
    return Advice("diffusion.timesteps", count, says, ("003", "000"), "take 1000, or 2000 to 4000 for the last bit of quality")


@rule(
    "linear schedule with beta_start outside 1e-4 to 1e-3 (above, times 1000/T for short schedules)",
    reads=("diffusion.schedule", "diffusion.beta_start", "diffusion.timesteps"),
    guides=("000", "001"),
)
def beta_start_range(case: Case) -> Advice | None:
    diffusion = case.experiment.diffusion
    low, high = _range_for(diffusion, 1e-4, 1e-3)
    if diffusion.schedule != "linear" or low <= diffusion.beta_start <= high:
        return None
    guides: tuple[str, ...]
    if diffusion.beta_start < low:
        says, guides = "guide 001 found 1e-5 too conservative, guide 000 starts at 1e-4", ("001", "000")
    else:
        says, guides = "guide 000 ends at 1e-3: larger first steps skip details", ("000",)
    return Advice("diffusion.beta_start", diffusion.beta_start, says, guides, "set diffusion.beta_start to 1e-4")


@rule(
    "linear schedule with beta_end below 0.02 or above 0.05 (both times 1000/T where that widens the range)",
    reads=("diffusion.schedule", "diffusion.beta_end", "diffusion.timesteps"),
    guides=("000", "001"),
)
def beta_end_range(case: Case) -> Advice | None:
    diffusion = case.experiment.diffusion
    low, high = _range_for(diffusion, 0.01, 0.05)
    usual, _ = _range_for(diffusion, USUAL_BETA_END, high)
    end = diffusion.beta_end
    if diffusion.schedule != "linear" or usual <= end <= high:
        return None
    guides: tuple[str, ...]
    if end > high:
        says, guides = "above guide 000's range of 0.01 to 0.05: more noise at the end is harder to learn", ("000",)
    elif end < low:
        says, guides = (
            "below guide 000's range of 0.01 to 0.05, and guide 001 found even 0.012 to add too little noise",
            ("000", "001"),
        )
    else:
        says, guides = "guide 001 found 0.012 to add too little noise; guide 000 allows 0.01 as conservative", ("001", "000")
    return Advice("diffusion.beta_end", end, says, guides, "set diffusion.beta_end to 0.02")


def _range_for(diffusion: Diffusion, low: float, high: float) -> tuple[float, float]:
    """The guides' range, which they state for about 1000 timesteps, widened for betas that are scaled by 1000 / T."""
    scale = USUAL_TIMESTEPS / diffusion.timesteps
    return low * min(1.0, scale) * (1 - 1e-9), high * max(1.0, scale) * (1 + 1e-9)


@rule("linear schedule, of images", reads=("diffusion.schedule",), guides=("000", "001", "002", "003"))
def linear_schedule(case: Case) -> Advice | None:
    if case.experiment.diffusion.schedule != "linear" or not isinstance(case.experiment.data, Images):
        return None
    says = (
        "guides 002 and 003 find cosine almost always better; guides 000 and 001 keep linear as their standard "
        "and suggest cosine for better quality"
    )
    return Advice("diffusion.schedule", "linear", says, ("002", "003", "000", "001"), "set diffusion.schedule to 'cosine'")


@rule(
    "alpha_bar at the last time above 0.01",
    reads=("diffusion.schedule", "diffusion.timesteps", "diffusion.beta_start", "diffusion.beta_end"),
    guides=("000", "001", "Lin et al. 2024"),
)
def far_from_noise(case: Case) -> Advice | None:
    diffusion = case.experiment.diffusion
    last = alpha_bars(diffusion)[-1]
    if last <= LARGEST_LAST_ALPHA_BAR:
        return None
    says = (
        f"the schedule ends at alpha_bar = {last:.3g} (ln SNR = {log_snr(last):.2f}): its noisiest image still holds "
        f"{math.sqrt(last) * 100:.0f} % of the clean one's amplitude, but sampling starts from pure noise"
    )
    return Advice("diffusion.timesteps", diffusion.timesteps, says, ("000", "001", "Lin et al. 2024"), _reach_noise(diffusion))


def _reach_noise(diffusion: Diffusion) -> str:
    scale = USUAL_TIMESTEPS / diffusion.timesteps
    start, end = round(USUAL_BETA_START * scale, 6), round(USUAL_BETA_END * scale, 6)
    if end >= 1:
        return "set diffusion.schedule to 'cosine', or take more timesteps"
    reached = alpha_bars(diffusion.but(schedule="linear", beta_start=start, beta_end=end))[-1]
    return (
        f"set diffusion.beta_start to {start:g} and diffusion.beta_end to {end:g} (the usual betas x 1000 / T: ln SNR = "
        f"{log_snr(reached):.2f}), or diffusion.schedule to 'cosine'"
    )


@rule(
    "prediction of x0 without EDM's preconditioning", reads=("diffusion.prediction", "diffusion.preconditioning"), guides=("002",)
)
def x0_prediction(case: Case) -> Advice | None:
    diffusion = case.experiment.diffusion
    if diffusion.prediction != "x0" or diffusion.preconditioning == "edm":
        return None
    says = "predicting the clean image can be less stable than predicting the noise, the default choice"
    return Advice("diffusion.prediction", "x0", says, ("002",), "set diffusion.prediction to 'eps', or to 'v' at zero terminal SNR")


RULES = (few_timesteps, many_timesteps, beta_start_range, beta_end_range, linear_schedule, far_from_noise, x0_prediction)
