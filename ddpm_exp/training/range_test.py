"""The learning-rate range test: steps at a growing rate, and what their losses say. Prints and draws nothing, loads no torch."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from ddpm_exp.spec.errors import UserError

if TYPE_CHECKING:
    from ddpm_exp.training.trainer import Trainer

FEWEST_STEPS = 10
DIVERGENCE = 4.0
"""The test ends when the running mean of the loss exceeds this many times its best."""

_HALVINGS = 17
"""Steps that fp16's loss scale, which begins at 2**16, may skip until it fits the gradients."""

End = Literal["complete", "diverged", "not finite", "stopped"]


@dataclass(frozen=True)
class RangeTest:
    """One loss per rate, as far as the test came."""

    rates: tuple[float, ...]
    losses: tuple[float, ...]
    """All finite, of the batch that the step at this rate trained on, before its update."""

    planned: int
    """Steps that were asked for."""

    end: End


def geometric(first: float, last: float, steps: int) -> tuple[float, ...]:
    """`steps` rates from `first` to `last`, each the same factor above the one before. Raises UserError for what is no range."""
    if steps < FEWEST_STEPS:
        raise UserError(
            f"a range test takes at least {FEWEST_STEPS} steps", field="--steps", value=steps, fix="leave it out for 200 steps"
        )
    for name, rate in (("--from", first), ("--to", last)):
        if not (math.isfinite(rate) and 0 < rate <= 1):
            raise UserError("a learning rate is above 0 and at most 1", field=name, value=rate, fix="leave it out for the default")
    if first >= last:
        raise UserError(f"the rate grows, so --from is below --to ({last:g})", field="--from", value=first, fix="exchange the two")
    factor = math.log(last / first) / (steps - 1)
    return (first, *(first * math.exp(factor * step) for step in range(1, steps - 1)), last)


def memory(steps: int) -> float:
    """Share of a smoothed loss that the next step keeps: a tenth of the range in each direction at 0.9 for 200 steps.

    Smith's and others' 0.98 averages 50 steps. Of 200 over five decades those are more than one, by which a running mean lags.
    """
    return max(0.5, 1 - 20 / steps)


def range_test(
    trainer: Trainer,
    rates: Sequence[float],
    *,
    should_stop: Callable[[], bool] = lambda: False,
    on_step: Callable[[float, float], None] = lambda rate, loss: None,
) -> RangeTest:
    """One step of `trainer` at each of `rates`, rising (Smith 2017, section 3.3), until the loss diverges or is not finite.

    Divergence: the bias-corrected running mean, once it spans enough steps, exceeds `DIVERGENCE` times its best. Reads each loss,
    so it waits for the device at every step. `on_step(rate, loss)` is called after each, then `should_stop()`.
    """
    keep, mean, best = memory(len(rates)), 0.0, math.inf
    settled = round(1 / (1 - keep))
    losses: list[float] = []
    end: End = "complete"
    for rate in rates:
        loss = _loss_of_step(trainer, rate)
        if not math.isfinite(loss):
            end = "not finite"
            break
        losses.append(loss)
        on_step(rate, loss)
        mean = keep * mean + (1 - keep) * loss
        running = mean / (1 - keep ** len(losses))
        if len(losses) >= settled:
            best = min(best, running)
            if best > 0 and running > DIVERGENCE * best:
                end = "diverged"
                break
        if should_stop() and len(losses) < len(rates):
            end = "stopped"
            break
    return RangeTest(tuple(rates[: len(losses)]), tuple(losses), len(rates), end)


def _loss_of_step(trainer: Trainer, rate: float) -> float:
    """The loss of one step at `rate`; NaN where it or its gradient is not finite, in fp16 at the smallest loss scale too."""
    for _ in range(_HALVINGS if trainer.loss_scale.adapts else 1):
        trainer.step(rate)
        values, _ = trainer.statistics.read()
        if "train/loss" in values:
            return values["train/loss"]
    return math.nan
