"""Sums over the steps since the last log, kept on the device and read by the host once per log interval."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from ddpm_exp.training.clock import Moment

_LOSS, _NORM, _GOOD, _BAD, _RUN, _LONGEST, _BAD_LOSS = range(7)


@dataclass(frozen=True)
class BadSteps:
    """The steps since the last log of which something was not finite."""

    longest: int
    """Of them in a row, those before the last log included."""

    by_loss: int
    """Of all since then, those whose loss itself was not finite."""

    by_gradient: int
    """Those whose loss was finite, and the gradient alone was not."""


class Taken:
    """Sums of steps that the device may yet have to do, on their way to the host."""

    def __init__(self, sums: torch.Tensor) -> None:
        self._sums = sums.to("cpu", non_blocking=True)
        self._there = Moment(sums.device)

    def read(self) -> tuple[dict[str, float], BadSteps]:
        """Means over the steps, for the log, and what the bad ones were. Waits until the device has done them.

        Without a single finite step there are no means.
        """
        self._there.wait()
        loss, norm, good, bad, _, longest, by_loss = self._sums.tolist()
        values = {"train/bad_steps": bad}
        if good:
            values |= {"train/loss": loss / good, "train/gradient_norm": norm / good}
        return values, BadSteps(int(longest), int(by_loss), int(bad - by_loss))


class Statistics:
    """Mean loss and gradient norm over finite steps, the number of bad ones, and the longest run of bad ones."""

    def __init__(self, device: torch.device) -> None:
        self._sums = torch.zeros(_BAD_LOSS + 1, device=device, dtype=torch.float64)

    def add(self, loss: torch.Tensor, norm: torch.Tensor, bad: torch.Tensor) -> None:
        """Account for one step: its loss, gradient norm, and 1.0 if either was not finite. Scalars on the device."""
        sums = self._sums
        good = 1.0 - bad
        run = (sums[_RUN] + 1.0) * bad
        self._sums = torch.stack(
            [
                sums[_LOSS] + torch.where(bad > 0, 0.0, loss.double()),
                sums[_NORM] + torch.where(bad > 0, 0.0, norm.double()),
                sums[_GOOD] + good,
                sums[_BAD] + bad,
                run,
                torch.maximum(sums[_LONGEST], run),
                sums[_BAD_LOSS] + (~torch.isfinite(loss)).double(),
            ]
        )

    def take(self) -> Taken:
        """What there is since the last call, to be read; starts anew. Never waits for the device."""
        sums = self._sums
        self._sums = torch.zeros_like(sums)
        self._sums[_RUN] = sums[_RUN]
        return Taken(sums)

    def read(self) -> tuple[dict[str, float], BadSteps]:
        """`take`, and `Taken.read` at once."""
        return self.take().read()

    def state(self) -> dict[str, Any]:
        """Tensors for a checkpoint."""
        return {"sums": self._sums.clone()}

    def restore(self, state: dict[str, Any]) -> None:
        """Take over what `state` returned."""
        sums = state["sums"].to(self._sums.device)
        # Checkpoints from before this was counted hold one number less.
        self._sums = torch.cat([sums, sums.new_zeros(_BAD_LOSS + 1 - len(sums))])


def bad_at_the_end(state: dict[str, Any]) -> bool:
    """Whether the last step before `state` was taken was a bad one."""
    return float(state["sums"][_RUN]) > 0
