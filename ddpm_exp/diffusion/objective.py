"""The training objective: what a step draws, and the weighted loss of each example. Knows no optimizer and no data set."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from ddpm_exp.diffusion import draws
from ddpm_exp.diffusion.importance import Importance
from ddpm_exp.diffusion.levels import Coefficients
from ddpm_exp.diffusion.loss import squared_error
from ddpm_exp.diffusion.network import Condition, Network, Output, asked
from ddpm_exp.diffusion.noising import add_noise
from ddpm_exp.diffusion.paths import Path
from ddpm_exp.diffusion.predictions import to_x0
from ddpm_exp.diffusion.times import draw_times
from ddpm_exp.diffusion.variance import StepTable, bound, log_variance
from ddpm_exp.diffusion.weights import build_weight
from ddpm_exp.spec.diffusion import Diffusion


class Noised(NamedTuple):
    """Examples at drawn times: x = alpha x0 + sigma eps."""

    x: Tensor
    """float32 [B, ...]."""
    eps: Tensor
    t: Tensor
    """int64 [B] in 1..T, or float32 [B]."""
    at: Coefficients
    c_noise: Tensor
    importance: Tensor | None = None
    """1 / (T p(t)), float32 [B], where times are not drawn uniformly but their loss is to be as if they were; else None."""
    ordinals: Tensor | None = None
    """int64 [B] where the losses are to be remembered for the density of later steps; else None."""


class Objective:
    """Draws times and noise, and measures a network's loss. Holds tables, and the state of importance sampling."""

    def __init__(self, spec: Diffusion, path: Path, *, images_per_step: int, device: torch.device | str) -> None:
        self.spec, self.path, self.images_per_step = spec, path, images_per_step
        self._weight = build_weight(spec, path, device)
        self._steps = StepTable(path, torch.device(device)) if spec.learned_variance else None
        self._importance = Importance(path.timesteps, images_per_step, device) if spec.time_density == "importance" else None

    def noised(self, x0: Tensor, seed: int, ordinals: Tensor, *, prefix: str = "", timesteps: int | None = None) -> Noised:
        """x0 [B, ...] with the noise and the times that belong to `ordinals`, int64 [B] on x0's device.

        The draws' purposes are `prefix` + "time" and `prefix` + "noise". With a prefix the draw is not training's: times
        come from the density that training starts with, and losses are not remembered. `timesteps`: see `draw_times`.
        """
        eps = draws.normal(seed, prefix + "noise", ordinals, tuple(x0.shape[1:]))
        if self._importance is not None and not prefix:
            t, importance = self._importance.draw(seed, "time", ordinals)
            return self.noised_at(x0, eps, t)._replace(importance=importance, ordinals=ordinals)
        t = draw_times(self.spec, self.path, self.images_per_step, seed, prefix + "time", ordinals, timesteps)
        return self.noised_at(x0, eps, t)

    def noised_at(self, x0: Tensor, eps: Tensor, t: Tensor) -> Noised:
        """x0 with this noise at these times."""
        at = self.path.at(t)
        return Noised(add_noise(x0, eps, at), eps, t, at, self.path.c_noise(t))

    def losses(self, network: Network, x0: Tensor, noised: Noised, condition: Condition) -> Tensor:
        """Float32 [B]: the mean over each example's elements of the weighted squared error of `spec.prediction`.

        With a learned variance, plus `variance_weight` T times the term of the variational bound in bits per element, which
        moves the variance alone (Nichol & Dhariwal 2021, eq. 16). With importance sampling, divided by T p(t).
        """
        output = asked(self.spec, network, noised.x, noised.at, noised.c_noise, condition)
        losses = squared_error(self.spec.prediction, output.value, x0, noised.eps, noised.at)
        if self._weight is not None:
            losses = losses * self._weight(noised.t)
        if self._steps is not None:
            losses = losses + self.spec.variance_weight * self.path.timesteps * self._bound(self._steps, output, x0, noised)
        if noised.importance is None:
            return losses
        if self._importance is not None and noised.ordinals is not None:
            self._importance.observe(noised.ordinals, noised.t, losses)
        return losses * noised.importance

    def _bound(self, table: StepTable, output: Output, x0: Tensor, noised: Noised) -> Tensor:
        assert output.variance is not None
        estimate = to_x0(self.spec.prediction, output.value.detach(), noised.x, noised.at)
        steps = table.at(noised.t)
        return bound(steps, noised.t, x0, estimate, log_variance(output.variance, steps.log_small, steps.log_large))

    def observed(self) -> list[Tensor]:
        """What this process's examples of the step showed, 0 for all others': to be summed over processes before `end_step`."""
        return [] if self._importance is None else self._importance.observed()

    def end_step(self) -> None:
        """Let the next step draw by what this step's examples showed. Never waits for the device; can be captured."""
        if self._importance is not None:
            self._importance.end_step()

    def state(self) -> dict[str, Tensor]:
        """What a checkpoint needs to go on from between two steps; empty unless importance sampling is on."""
        return {} if self._importance is None else self._importance.state()

    def restore(self, state: dict[str, Tensor]) -> None:
        """Go on from a `state`."""
        if self._importance is not None:
            self._importance.restore(state)
