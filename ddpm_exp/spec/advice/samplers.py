"""Advice on samplers that are known to lose on some kind of data: what benchmarks/family_sampling.py measured."""

from __future__ import annotations

from ddpm_exp.spec.advice.rule import Advice, Case, rule
from ddpm_exp.spec.data import Family, family_of
from ddpm_exp.spec.sampling import Sampler

MEASURED_CALLS = 25
"""Network calls at which the factors below were measured; of more than twice as many they say nothing."""

MEASURED_CHURN = 40.0
"""`sampling.churn` of `edm-stochastic`: less of it loses less."""

LOSES: dict[tuple[Family, str], dict[Sampler, float]] = {
    ("vector", "eps"): {"ddpm": 1.4},
    ("vector", "v"): {"ddpm": 1.4},
    ("sequence", "eps"): {"ddpm": 1.6},
    ("sequence", "v"): {"ddpm": 1.5},
    ("sequence", "x0"): {"ddpm": 1.4},
    ("sequence", "velocity"): {"ddpm": 1.6},
    ("points", "eps"): {"ddpm": 2.9, "edm-stochastic": 2.0, "dpm++3m-sde": 1.8, "ddim": 1.6},
    ("points", "v"): {"ddpm": 1.7},
    ("points", "x0"): {"edm-stochastic": 4.3, "ddpm": 2.6, "ddim": 1.5, "dpm++3m-sde": 1.3},
}
"""(family, prediction) to samplers, and how many times as far from the data as the best of them they drew, on the mean of schedules
and seeds: those beyond 1.3."""

BEST: dict[tuple[Family, str], Sampler] = {
    ("vector", "eps"): "edm-stochastic",
    ("vector", "v"): "euler",
    ("sequence", "eps"): "unipc",
    ("sequence", "v"): "heun",
    ("sequence", "x0"): "heun",
    ("sequence", "velocity"): "unipc",
    ("points", "eps"): "heun",
    ("points", "v"): "dpm++2m",
    ("points", "x0"): "unipc",
}
"""The one that drew nearest, where others lose."""

WORDS: dict[Family, str] = {"image": "8x8 digits", "vector": "the wine table", "sequence": "waves", "points": "outlines"}

WITHOUT_NOISE: tuple[Sampler, ...] = ("ddim", "euler", "heun", "dpm++2m", "unipc")
"""Samplers that add none of their own (`ddim` at `eta` 0)."""

SOURCE = "docs/sampling.md"


@rule(
    "a sampler that drew over 1.3 times as far from this kind of data as the best, in 50 network calls or fewer",
    reads=("sampling.sampler", "sampling.steps", "data", "diffusion.prediction"),
    guides=(SOURCE,),
)
def losing_sampler(case: Case) -> Advice | None:
    sampling, family = case.experiment.sampling, family_of(case.experiment.data)
    key = family, case.experiment.diffusion.prediction
    factor = LOSES.get(key, {}).get(sampling.sampler)
    if factor is None or sampling.network_calls > 2 * MEASURED_CALLS:
        return None
    if sampling.sampler == "edm-stochastic" and sampling.churn < MEASURED_CHURN:
        return None
    best = BEST[key]
    says = (
        f"of {WORDS[family]}, with {key[1]} prediction and {MEASURED_CALLS} network calls, it drew {factor:.1f} times as far from "
        f"the data as {best} did"
    )
    return Advice("sampling.sampler", sampling.sampler, says, (SOURCE,), f"set sampling.sampler to '{best}'")


@rule(
    "a sampler without noise of its own, of an eps prediction that is not calibrated",
    reads=("sampling.calibrate", "sampling.sampler", "sampling.eta", "diffusion.prediction"),
    guides=(SOURCE,),
)
def not_calibrated(case: Case) -> Advice | None:
    sampling = case.experiment.sampling
    if sampling.calibrate or case.experiment.diffusion.prediction != "eps":
        return None
    if sampling.sampler not in WITHOUT_NOISE or sampling.eta > 0:
        return None
    says = (
        "what the network says at high noise is handed on to the sample: 8x8 digits drawn so after a short training were 4 to 7 "
        "times as far from the data"
    )
    return Advice("sampling.calibrate", False, says, (SOURCE,), "set sampling.calibrate to True")


RULES = (losing_sampler, not_calibrated)
