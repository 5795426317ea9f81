"""The learning rate at its milestones, as a function of images and of nothing else."""

from __future__ import annotations

import pytest
import torch
from support.tiny_training import TRAINING, tiny_trainer

from ddpm_exp.spec.training import Training
from ddpm_exp.training.rate import learning_rate


def rates(spec: Training, *images: int) -> list[float]:
    return [learning_rate(spec, seen, total_images=1000, warmup_images=100, cycle_images=200) for seen in images]


def test_warm_up_rises_in_a_line_and_ends_at_the_peak() -> None:
    for rate in ("constant", "cosine"):
        spec = Training(learning_rate=1e-3, rate=rate)
        assert rates(spec, 0, 25, 50, 99, 100) == pytest.approx([0, 2.5e-4, 5e-4, 9.9e-4, 1e-3])


def test_constant_stays_at_the_peak() -> None:
    assert rates(Training(learning_rate=1e-3), 100, 500, 1000) == [1e-3] * 3


def test_cosine_falls_from_the_end_of_warm_up_to_the_final_rate() -> None:
    spec = Training(learning_rate=1e-3, rate="cosine", final_rate=0.1)
    # A third of the way: 1/10 + 9/10 x (1 + cos 60 degrees) / 2.
    assert rates(spec, 100, 400, 550, 1000) == pytest.approx([1e-3, 7.75e-4, 5.5e-4, 1e-4])
    assert rates(spec.but(final_rate=0.0), 1000) == pytest.approx([0.0], abs=1e-18)


def test_linear_falls_in_a_line_to_the_final_rate() -> None:
    spec = Training(learning_rate=1e-3, rate="linear", final_rate=0.1)
    assert rates(spec, 100, 400, 550, 1000, 1100) == pytest.approx([1e-3, 7e-4, 5.5e-4, 1e-4, 1e-4])


def test_warm_restarts_begin_at_the_peak_again_and_cycles_grow() -> None:
    spec = Training(learning_rate=1e-3, rate="warm-restarts", final_rate=0.1)
    assert rates(spec, 100, 200, 299, 300, 400, 500) == pytest.approx([1e-3, 5.5e-4, 1e-4, 1e-3, 5.5e-4, 1e-3], abs=1e-6)
    # 200 images, then 400, then 800: the second cycle begins at 300, the third at 700.
    assert rates(spec.but(cycle_growth=2.0), 300, 500, 700, 1100) == pytest.approx([1e-3, 5.5e-4, 1e-3, 5.5e-4])


def test_warm_restarts_are_torchs() -> None:
    spec = Training(learning_rate=1e-3, rate="warm-restarts")
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1e-3)
    theirs = torch.optim.lr_scheduler.CosineAnnealingWarmRestarts(optimizer, T_0=20, T_mult=2)
    for step in range(150):
        ours = learning_rate(spec.but(cycle_growth=2.0), 10 * step, total_images=10**6, warmup_images=0, cycle_images=200)
        assert ours == pytest.approx(theirs.get_last_lr()[0], abs=1e-12)
        optimizer.step()
        theirs.step()


def test_steps_multiply_the_rate_at_the_end_of_each_cycle() -> None:
    spec = Training(learning_rate=1e-3, rate="step", step_factor=0.5)
    assert rates(spec, 100, 299, 300, 499, 500) == pytest.approx([1e-3, 1e-3, 5e-4, 5e-4, 2.5e-4])


def test_inverse_sqrt_halves_with_four_times_the_images() -> None:
    spec = Training(learning_rate=1e-3, rate="inverse-sqrt", warmup="100 images")
    assert rates(spec, 50, 100, 400, 900) == pytest.approx([5e-4, 1e-3, 5e-4, 1e-3 / 3])


def test_one_cycle_starts_at_a_25th_and_peaks_at_30_percent_whatever_the_warm_up() -> None:
    spec = Training(learning_rate=1e-3, rate="one-cycle", final_rate=0.01)
    assert rates(spec, 0, 150, 300, 650, 1000) == pytest.approx([4e-5, 5.2e-4, 1e-3, 5.05e-4, 1e-5])
    for seen in (0, 50, 300, 900):
        assert learning_rate(spec, seen, total_images=1000, warmup_images=0) == rates(spec, seen)[0]


def test_without_warm_up_the_first_step_has_the_peak() -> None:
    assert learning_rate(Training(learning_rate=1e-3), 0, total_images=10, warmup_images=0) == 1e-3


def test_a_trainer_uses_the_rate_of_the_images_seen_before_the_step_however_it_is_sliced() -> None:
    spec = TRAINING.but(rate="cosine")
    expected = [learning_rate(spec, seen, total_images=80, warmup_images=24) for seen in range(0, 80, 8)]
    for micro_batch in (8, 2):
        trainer, used = tiny_trainer(spec, micro_batch=micro_batch, total_images=80, warmup_images=24), []
        for _ in range(10):
            trainer.step()
            used.append(trainer.optimizer.param_groups[0]["lr"])
        assert used == expected


def test_larger_steps_pass_through_the_same_rates() -> None:
    small, large = (
        tiny_trainer(TRAINING.but(rate="cosine", images_per_step=images), total_images=80, warmup_images=16) for images in (8, 16)
    )
    for images in (0, 16, 32, 64):
        small.images_seen = large.images_seen = images
        assert small.rate() == large.rate()
