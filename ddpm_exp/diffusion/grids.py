"""The levels that a sampler visits, from noise to data. Which of them is a matter of times alone, not of the sampler."""

from __future__ import annotations

import bisect
import math
from collections.abc import Iterable

from ddpm_exp.diffusion.levels import DATA, Level
from ddpm_exp.diffusion.paths import Path
from ddpm_exp.diffusion.step import ratio
from ddpm_exp.spec.errors import UserError

RHO = 7.0
"""Exponent of `karras` (Karras et al. 2022, eq. 5)."""

NOISIEST = 80.0
"""Largest sigma / alpha from which `karras` counts where data fade (Karras et al. 2022, table 1): beyond it, to pure noise,
the levels look the same, and the seventh root would spend most steps there."""


class Grid(list[Level]):
    """Levels from noise to data, and the path that they lie on."""

    def __init__(self, path: Path, levels: Iterable[Level]) -> None:
        super().__init__(levels)
        self.path = path


def levels(path: Path, steps: int, grid: str = "trailing") -> Grid:
    """`steps` + 1 levels: the path's noisiest first, each nearer the data than the one before, and the last of them `DATA`.

    - `trailing`: equal distances in time, counted from the noisiest (Lin et al. 2024, table 2). The default.
    - `leading`: equal distances, counted from `path.first`. The noisiest time is *not* among them, although a sampler
      starts from pure noise: the flaw that Lin et al. 2024 describe. It is here to be compared with.
    - `linspace`: equal distances from the noisiest to `path.first`.
    - `quadratic`: equal distances in the square root of time, between the same two (Song et al. 2021, appendix D.2).
    - `karras`: equal distances in (sigma / alpha)^(1 / 7), between the same two (Karras et al. 2022, eq. 5). Where the
      noisiest level is beyond sigma / alpha = 80 (at pure noise it is infinite), the distances are counted from 80, and
      that level stands in its place; not so on `ve`, where sigma is what it is.

    On whole times all are the nearest such times, moved apart where two would fall together. Raises UserError for more
    steps than whole times, and below 1.
    """
    if steps < 1 or (path.discrete and steps > path.timesteps):
        raise UserError(
            f"sampling takes between 1 and as many steps as the diffusion has timesteps, {path.timesteps}"
            if path.discrete
            else "sampling takes at least 1 step",
            field="sampling.steps",
            value=steps,
            fix=f"take sampling.steps <= {path.timesteps}" if path.discrete else "take sampling.steps = 50",
        )
    return Grid(path, [*(_whole if path.discrete else _real)(path, steps, grid), DATA])


def _whole(path: Path, steps: int, grid: str) -> list[Level]:
    last = path.timesteps
    if grid == "trailing":
        times = [(2 * last * left + steps) // (2 * steps) for left in range(steps, 0, -1)]
    elif grid == "leading":
        times = [1 + left * (last // steps) for left in range(steps - 1, -1, -1)]
    elif grid == "karras":
        ratios = [ratio(path.level(t)) for t in range(last + 1)]
        times = _apart([_nearest(ratios, wish) for wish in _karras(path, steps)], last)
    else:
        times = _apart([round(1 + (last - 1) * share) for share in _shares(steps, grid)], last)
    return [path.level(time) for time in times]


def _real(path: Path, steps: int, grid: str) -> list[Level]:
    if grid == "trailing":
        return [path.level(path.last * left / steps) for left in range(steps, 0, -1)]
    first, reach = path.first, path.last - path.first
    if grid == "leading":
        return [path.level(first + reach * left / steps) for left in range(steps - 1, -1, -1)]
    if grid == "karras":
        inner = [path.at_log_snr(-2.0 * math.log(wish)) for wish in _karras(path, steps)[1:-1]]
        return [path.level(path.last), *inner, path.level(first)][:steps]
    return [path.level(first + reach * share) for share in _shares(steps, grid)]


def _shares(steps: int, grid: str) -> list[float]:
    """`linspace` and `quadratic` from 1 down to 0; 1 alone for one step."""
    power = {"linspace": 1, "quadratic": 2}[grid]
    return [((steps - 1 - k) / (steps - 1)) ** power for k in range(steps)] if steps > 1 else [1.0]


def _karras(path: Path, steps: int) -> list[float]:
    """`steps` values of sigma / alpha with equal distances in their seventh root, both ends included."""
    noisiest, cleanest = path.level(path.last), path.level(path.first)
    high = ratio(noisiest) if noisiest.alpha == 1.0 else min(ratio(noisiest), NOISIEST)
    high, low = high ** (1 / RHO), ratio(cleanest) ** (1 / RHO)
    return [(low + (high - low) * share) ** RHO for share in _shares(steps, "linspace")]


def _nearest(ratios: list[float], wish: float) -> int:
    """The time in 1..T whose sigma / alpha is nearest to `wish` on a logarithmic scale."""
    above = min(max(bisect.bisect_left(ratios, wish), 1), len(ratios) - 1)
    if above == 1 or math.isinf(ratios[above]):
        return above if above == 1 else above - 1
    return above if ratios[above] * ratios[above - 1] <= wish**2 else above - 1


def _apart(times: list[int], last: int) -> list[int]:
    """Falling times, the first of them `last`, moved as little as it takes to differ and to stay in 1..`last`."""
    apart = [last]
    for time in times[1:]:
        apart.append(min(time, apart[-1] - 1))
    for place in range(1, len(apart) + 1):
        apart[-place] = max(apart[-place], place)
    return apart
