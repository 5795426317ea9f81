"""Guidance: a prediction pushed away from a second, less informed one. Knows levels, and no sampler.

All predictions are affine in x0 at given x, with coefficients that no condition touches: guiding one is guiding all.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from ddpm_exp.diffusion.levels import Level
from ddpm_exp.diffusion.network import Condition, Output
from ddpm_exp.diffusion.predictions import full_precision, per_example
from ddpm_exp.diffusion.step import ratio
from ddpm_exp.spec.sampling import Sampling

Ask = Callable[[Tensor, Level, Condition], Output]
"""(x [B, *shape], level, condition) -> the network's prediction of x's shape."""


class Guided(NamedTuple):
    """A guided prediction, and the conditional one where they differ."""

    output: Output
    conditional: Tensor | None = None


Guide = Callable[[Tensor, Level], Guided]
"""(x [B, *shape], level) -> guided prediction."""


def guided(ask: Ask, sampling: Sampling, condition: Condition, null: Condition, guide: Ask | None = None) -> Guide:
    """`ask` pushed by `sampling.guidance_scale` w: away + w (towards - away), in the space of the prediction.

    `towards` is the answer under `condition`; `away` the one under `null`, the condition that says nothing, for which the
    batch is doubled and asked once; or, with a `guide`, that network's answer under the same condition (Karras et al.
    2024), a second call. w = 1 is `towards` itself and w = 0 `away`, each at the price of one evaluation. (Ho & Salimans
    2022, eq. 6, write w + 1 for our w.) Outside `sampling.guidance_interval` of sigma / alpha, both ends of which belong
    to it, the answer is `towards` (Kynkaanniemi et al. 2024). A learned variance is `towards`' own, save at w = 0.
    Raises ValueError where w is not 1 and there is neither a guide nor a pair of conditions.
    """
    scale = sampling.guidance_scale
    if scale != 1.0 and guide is None:
        if null is None:
            raise ValueError(f"guidance_scale = {scale} needs a null condition or a guide; only 1 does without")
        if condition is None:
            raise ValueError("guidance needs the condition to guide towards, or a guide")

    def answer(x: Tensor, level: Level) -> Guided:
        if scale == 1.0 or not _within(sampling.guidance_interval, level):
            return Guided(ask(x, level, condition))
        if scale == 0.0:
            return Guided(ask(x, level, null) if guide is None else guide(x, level, condition))
        if guide is None:
            both = ask(torch.cat([x, x]), level, _joined(condition or {}, null or {}))
            towards, away = full_precision(both.value).chunk(2)
            variance = None if both.variance is None else both.variance.chunk(2)[0]
        else:
            (towards, variance), (away, _) = ask(x, level, condition), guide(x, level, condition)
            towards, away = full_precision(towards), full_precision(away)
        return Guided(Output(away + scale * (towards - away), variance), towards)

    return answer


def rescaled(x0: Tensor, conditional: Tensor, share: float) -> Tensor:
    """The guided `x0` with its standard deviation moved by `share` of the way to that of the `conditional` x0, per example.

    Lin et al. 2024, eq. 15 and 16. Both [B, *shape]. Examples of one element, and constant ones, have no deviation and stay.
    """
    if share == 0.0:
        return x0
    wanted, found = (_deviation(example) for example in (conditional, x0))
    factor = torch.where((found > 0) & (wanted > 0), wanted / found, 1.0)
    return per_example(share * factor + (1.0 - share), x0) * x0


def _deviation(x0: Tensor) -> Tensor:
    return x0.flatten(1).std(dim=1, correction=0)


def _within(interval: tuple[float, float] | None, level: Level) -> bool:
    return interval is None or interval[0] <= ratio(level) <= interval[1]


def _joined(condition: Mapping[str, Tensor], null: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Both conditions as one batch. Raises ValueError where they differ in parts."""
    if condition.keys() != null.keys():
        raise ValueError(f"the condition has {sorted(condition)} and the null condition {sorted(null)}")
    return {kind: torch.cat([part, null[kind]]) for kind, part in condition.items()}
