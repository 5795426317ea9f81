"""The largest micro-batch that an estimate says fits, found with few estimates. Knows nothing of plans or remedies."""

from __future__ import annotations

from bisect import bisect_left
from functools import lru_cache
from typing import NamedTuple

from ddpm_exp.memory.estimate import budget, estimate, meta_network_of
from ddpm_exp.memory.terms import Estimate
from ddpm_exp.spec.experiment import Experiment
from ddpm_exp.spec.hardware import Gpu
from ddpm_exp.spec.training import Precision
from ddpm_exp.training.optimizer import state_bytes


class Fitting(NamedTuple):
    """A micro-batch that fits, and what it needs."""

    micro_batch: int
    expected: Estimate


def micro_batches(experiment: Experiment) -> list[int]:
    """Every micro-batch that divides a device's share of the step, largest first."""
    share = experiment.training.images_per_step // experiment.hardware.devices
    return [micro for micro in range(share, 0, -1) if share % micro == 0]


def largest_fitting(experiment: Experiment, gpu: Gpu, precision: Precision) -> Fitting | None:
    """The largest of `micro_batches` whose peak leaves `hardware.headroom` free; None where not even one image does.

    Peaks grow with the micro-batch, so halving the list takes at most 2 + log2 of its length estimates. The largest is tried
    first, since most experiments fit whole, and then the smallest, since of those that do not, some never do. Where what
    is kept all the time is too much already, nothing is traced.
    """
    limit = budget(experiment, gpu)
    if _always_kept(experiment) > limit:
        return None
    found: dict[int, Estimate] = {}

    def fits(micro: int) -> bool:
        found[micro] = estimate(experiment, gpu, precision, micro)
        return found[micro].peak_bytes <= limit

    choices = micro_batches(experiment)
    if fits(choices[0]):
        return Fitting(choices[0], found[choices[0]])
    if len(choices) == 1 or not fits(choices[-1]):
        return None
    first = bisect_left(choices, True, lo=1, hi=len(choices) - 1, key=fits)
    return Fitting(choices[first], found[choices[first]])


@lru_cache(maxsize=64)
def _always_kept(experiment: Experiment) -> int:
    """Bytes of weights, their gradients and what the optimizer keeps, on each device: a part of every peak."""
    network = meta_network_of(experiment)
    weights = sum(weight.numel() * weight.element_size() for weight in network.parameters())
    everywhere = 2 * weights + state_bytes(experiment.training.optimizer, network)
    return everywhere // experiment.hardware.devices if experiment.hardware.shard else everywhere
