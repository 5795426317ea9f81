"""Amounts of training and the schedules' numbers, against closed forms."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from ddpm_exp.spec.diffusion import Diffusion
from ddpm_exp.spec.progress import Amount, to_images
from ddpm_exp.spec.schedule import alpha_bars, covered_log_snr, log_snr
from ddpm_exp.spec.training import Training

AMOUNT: TypeAdapter[str] = TypeAdapter(Amount)


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("50 epochs", "50 epochs"),
        ("1 epoch", "1 epochs"),
        (" 5_000steps ", "5000 steps"),
        ("0.5 epochs", "0.5 epochs"),
        ("2.50 epochs", "2.5 epochs"),
        ("0 images", "0 images"),
        ("2000000 images", "2000000 images"),
        ("0.000001 epochs", "0.000001 epochs"),
    ],
)
def test_an_amount_has_one_spelling(text, canonical):
    assert AMOUNT.validate_python(text) == canonical


@pytest.mark.parametrize("text", ["50", "epochs", "-1 epochs", "1e3 images", "5 hours", "1,000 images", "9" * 400 + " images", ""])
def test_what_is_no_amount_is_refused(text):
    with pytest.raises(ValidationError, match="an amount of training is"):
        AMOUNT.validate_python(text)


@given(st.decimals(0, 10**14, allow_nan=False, places=6), st.sampled_from(["images", "steps", "epochs"]))
def test_the_canonical_spelling_reads_back_as_itself(number, unit):
    canonical = AMOUNT.validate_python(f"{number:f} {unit}")
    assert AMOUNT.validate_python(canonical) == canonical


@given(st.integers(0, 10**6), st.integers(1, 512), st.integers(1, 10**5))
def test_amounts_convert_to_whole_steps_that_cover_them(count, step, epoch):
    for unit, factor in (("images", 1), ("steps", step), ("epochs", epoch)):
        images = to_images(f"{count} {unit}", images_per_step=step, images_per_epoch=epoch)
        assert images % step == 0
        assert count * factor <= images < count * factor + step


def test_steps_convert_exactly_and_zero_stays_zero():
    assert to_images("5000 steps", images_per_step=128, images_per_epoch=999) == 640_000
    assert to_images("0 epochs", images_per_step=128, images_per_epoch=999) == 0
    assert Training(images_per_step=8).images("1 epochs", 2048) == 2048


@pytest.mark.parametrize("field", ["duration", "ema_half_life", "checkpoint_every", "log_every"])
def test_an_amount_that_must_not_be_zero_is_refused_at_zero(field):
    with pytest.raises(ValidationError, match="more than 0"):
        Training(**{field: "0 epochs"})


def test_the_linear_schedule_has_its_published_ends():
    bars = alpha_bars(Diffusion())
    assert len(bars) == 1000
    assert bars[0] == pytest.approx(0.9999, abs=1e-15)
    assert bars[999] == pytest.approx(4.035830e-5, rel=1e-6)


def test_the_cosine_schedule_clips_exactly_one_beta():
    bars = alpha_bars(Diffusion(schedule="cosine"))
    betas = [1 - bar / before for before, bar in zip((1.0, *bars), bars, strict=False)]
    assert [k for k, beta in enumerate(betas) if beta > 0.999 - 1e-9] == [999]
    assert bars[998] == pytest.approx(2.4288e-6, rel=1e-4)
    assert bars[999] == pytest.approx(2.4288e-9, rel=1e-4)


@pytest.mark.parametrize("schedule", ["linear", "cosine"])
def test_zero_terminal_snr_moves_the_end_to_noise_and_keeps_the_start(schedule):
    plain = alpha_bars(Diffusion(schedule=schedule))
    bars = alpha_bars(Diffusion(schedule=schedule, zero_terminal_snr=True, prediction="v"))
    assert bars[-1] == 0.0
    assert bars[0] == pytest.approx(plain[0], rel=1e-12)
    assert covered_log_snr(Diffusion(schedule=schedule, zero_terminal_snr=True, prediction="v"))[0] == -math.inf
    middle = (math.sqrt(plain[500]) - math.sqrt(plain[-1])) * math.sqrt(plain[0]) / (math.sqrt(plain[0]) - math.sqrt(plain[-1]))
    assert bars[500] == pytest.approx(middle**2, rel=1e-12)


@given(
    st.sampled_from(["linear", "scaled-linear", "cosine"]),
    st.integers(2, 300),
    st.floats(1e-10, 0.19),
    st.floats(1e-10, 0.19),
    st.floats(0, 0.99),
    st.booleans(),
)
def test_every_schedule_falls_from_data_to_noise(schedule, timesteps, one, other, s, zero):
    spec = Diffusion(
        schedule=schedule,
        timesteps=timesteps,
        **({"cosine_s": s} if schedule == "cosine" else {"beta_start": min(one, other), "beta_end": max(one, other)}),
        zero_terminal_snr=zero,
        prediction="v",
    )
    bars = alpha_bars(spec)
    assert all(0 <= later < before < 1 for before, later in pairwise(bars))
    low, high = covered_log_snr(spec)
    assert low < high < math.inf


def test_log_snr_is_the_logarithm_of_the_ratio():
    assert log_snr(0.5) == 0.0
    assert log_snr(0.9) == pytest.approx(math.log(9))
    assert log_snr(0.0) == -math.inf


def test_short_linear_schedules_end_far_from_noise():
    assert alpha_bars(Diffusion(timesteps=200))[-1] == pytest.approx(0.13, abs=0.005)
    assert alpha_bars(Diffusion(timesteps=100))[-1] == pytest.approx(0.36, abs=0.005)
