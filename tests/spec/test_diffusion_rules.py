"""What a `Diffusion` may combine: each impossible pair is refused by field, value, rule and fix, and its neighbour is not."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
from pydantic import ValidationError

from ddpm_exp.spec.diffusion import Diffusion
from ddpm_exp.spec.diffusion_rules import BELONGS
from ddpm_exp.spec.schedule import alpha_bars, covered_log_snr

FLOW = Diffusion(schedule="rectified-flow", prediction="velocity")
EDM = Diffusion(schedule="ve", prediction="x0", preconditioning="edm")

BROKEN: list[tuple[str, Callable[[], object], Callable[[], object]]] = [
    (
        "beta_min",
        lambda: Diffusion(schedule="vp-linear", beta_min=5, beta_max=4),
        lambda: Diffusion(schedule="vp-linear", beta_min=4),
    ),
    (
        "sigmoid_start",
        lambda: Diffusion(schedule="sigmoid", sigmoid_start=3.0),
        lambda: Diffusion(schedule="sigmoid", sigmoid_start=2.0),
    ),
    (
        "sigmoid_start",
        lambda: Diffusion(schedule="sigmoid", sigmoid_start=-20.0, sigmoid_end=0.0, sigmoid_tau=0.5),
        lambda: Diffusion(schedule="sigmoid", sigmoid_start=-5.0, sigmoid_end=0.0, sigmoid_tau=0.5),
    ),
    (
        "sigmoid_end",
        lambda: Diffusion(schedule="sigmoid", sigmoid_end=20.0),
        lambda: Diffusion(schedule="sigmoid", sigmoid_end=8.0),
    ),
    (
        "sigmoid_end",
        lambda: Diffusion(schedule="sigmoid", sigmoid_start=5.0, sigmoid_end=20.0, sigmoid_tau=0.05),
        lambda: Diffusion(schedule="sigmoid", sigmoid_start=0.0, sigmoid_end=3.0, sigmoid_tau=0.5),
    ),
    ("beta_end", lambda: Diffusion(timesteps=10_000), lambda: Diffusion(timesteps=10_000, beta_end=0.002)),
    (
        "beta_end",
        lambda: Diffusion(beta_end=0.9, beta_start=0.8, zero_terminal_snr=True, prediction="v"),
        lambda: Diffusion(zero_terminal_snr=True, prediction="v"),
    ),
    ("prediction", lambda: FLOW.but(prediction="eps"), lambda: Diffusion(schedule="vp-linear", prediction="eps")),
    ("prediction", lambda: Diffusion(prediction="velocity"), lambda: Diffusion(schedule="vp-linear", prediction="velocity")),
    ("time_density", lambda: Diffusion(time_density="logit-normal"), lambda: FLOW.but(time_density="logit-normal")),
    ("time_density", lambda: FLOW.but(time_density="importance"), lambda: Diffusion(time_density="importance")),
    ("density_mean", lambda: Diffusion(density_mean=1.0), lambda: FLOW.but(time_density="logit-normal", density_mean=1.0)),
    ("density_std", lambda: FLOW.but(density_std=2.0), lambda: FLOW.but(time_density="log-normal-sigma", density_std=2.0)),
    ("preconditioning", lambda: EDM.but(prediction="eps"), lambda: EDM.but(prediction="eps", preconditioning="none")),
    ("preconditioning", lambda: Diffusion(preconditioning="edm", prediction="x0"), lambda: EDM),
    ("weight", lambda: EDM.but(preconditioning="none", weight="edm"), lambda: EDM.but(weight="edm")),
    ("learned_variance", lambda: FLOW.but(learned_variance=True), lambda: Diffusion(learned_variance=True)),
    ("learned_variance", lambda: EDM.but(learned_variance=True), lambda: EDM),
    ("variance_weight", lambda: Diffusion(variance_weight=0.01), lambda: Diffusion(learned_variance=True, variance_weight=0.01)),
    ("snr_gamma", lambda: Diffusion(snr_gamma=1.0), lambda: Diffusion(weight="soft-min-snr", snr_gamma=1.0)),
    ("p2_gamma", lambda: Diffusion(weight="min-snr", p2_gamma=0.5), lambda: Diffusion(weight="p2", p2_gamma=0.5)),
    ("p2_k", lambda: Diffusion(p2_k=2.0), lambda: Diffusion(weight="p2", p2_k=2.0)),
    ("sigma_data", lambda: Diffusion(sigma_data=1.0), lambda: EDM.but(sigma_data=1.0)),
    ("timesteps", lambda: FLOW.but(timesteps=500), lambda: Diffusion(timesteps=500)),
    ("zero_terminal_snr", lambda: FLOW.but(zero_terminal_snr=True), lambda: Diffusion(zero_terminal_snr=True, prediction="x0")),
]


@pytest.mark.parametrize(("field", "wrong", "right"), BROKEN, ids=[f"{field}-{n}" for n, (field, _, _) in enumerate(BROKEN)])
def test_the_impossible_is_refused_and_its_neighbour_is_not(
    field: str, wrong: Callable[[], object], right: Callable[[], object]
) -> None:
    with pytest.raises(ValidationError) as caught:
        wrong()
    (error,) = caught.value.errors()
    assert error["type"] == "rule"
    assert error["ctx"]["field"] == field
    assert error["ctx"]["fix"] and error["ctx"]["rule"]
    assert error["ctx"]["fix"] in error["msg"]
    right()


@pytest.mark.parametrize("field", BELONGS)
def test_a_schedule_has_the_fields_that_mean_something_on_it(field: str) -> None:
    for schedule in ("linear", "cosine", "vp-linear", "ve"):
        spec = Diffusion(schedule=schedule, prediction="x0")
        assert spec.has(field) == (schedule in BELONGS[field])
    assert spec.has("prediction")


@pytest.mark.parametrize("weight", ["simple", "elbo", "snr", "truncated-snr", "min-snr", "soft-min-snr", "p2"])
def test_every_weight_goes_with_paths_that_end_at_noise(weight: str) -> None:
    assert FLOW.but(weight=weight).ends_at_noise
    assert Diffusion(prediction="v", zero_terminal_snr=True, weight=weight).ends_at_noise


@pytest.mark.parametrize(
    ("spec", "low", "high"),
    [
        (FLOW, -math.inf, 2 * math.log(999)),
        (Diffusion(schedule="vp-cosine", prediction="v"), -math.inf, -2 * math.log(math.tan(math.pi / 2000))),
        (Diffusion(schedule="ve", prediction="x0"), -2 * math.log(80), -2 * math.log(0.002)),
        (Diffusion(schedule="vp-linear"), -math.log(math.expm1(10.05)), 13.8145),
        (
            Diffusion(schedule="scaled-linear", beta_end=0.012, beta_start=0.00085),
            math.log(0.00466 / 0.99534),
            math.log(1 / 0.00085 - 1),
        ),
        (Diffusion(schedule="sigmoid"), math.log(1e-9), 8.1105),
    ],
    ids=lambda value: value.schedule if isinstance(value, Diffusion) else "",
)
def test_each_schedule_covers_its_log_snrs(spec: Diffusion, low: float, high: float) -> None:
    assert covered_log_snr(spec) == pytest.approx((low, high), rel=1e-4)


def test_a_schedule_on_real_times_has_no_list_of_levels() -> None:
    with pytest.raises(ValueError, match="no whole times"):
        alpha_bars(FLOW)
