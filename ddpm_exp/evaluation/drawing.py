"""Drawing samples from a network with noise keyed by the run's seed: the same in every arm and at every moment of training."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple

import torch
from torch import nn

from ddpm_exp.data.conditions import Conditions
from ddpm_exp.data.examples import Batch
from ddpm_exp.data.reference import Reference
from ddpm_exp.diffusion import draws
from ddpm_exp.diffusion.bands import Bands
from ddpm_exp.diffusion.calibration import Calibration, calibrate
from ddpm_exp.diffusion.denoiser import IMAGES, Range, denoiser
from ddpm_exp.diffusion.grids import levels
from ddpm_exp.diffusion.network import Condition, Network
from ddpm_exp.diffusion.paths import Path
from ddpm_exp.diffusion.samplers import sample
from ddpm_exp.diffusion.step import Denoise
from ddpm_exp.evaluation.captured import Captured
from ddpm_exp.evaluation.room import Room
from ddpm_exp.ranks.ranks import SINGLE, Ranks
from ddpm_exp.ranks.shares import Shares
from ddpm_exp.spec.data import Family
from ddpm_exp.spec.diffusion import Diffusion
from ddpm_exp.spec.sampling import Sampling

CALIBRATED_TOGETHER = 64
"""Reference examples that go through the network at once where there is room: drawings of all sizes then calibrate alike."""


class Ready(NamedTuple):
    """A network as it draws, and what its predictions are worth."""

    network: nn.Module
    calibration: Calibration | None = None


class Stopped(Exception):  # noqa: N818 - a wish, not an error
    """Evaluation was asked to stop between two batches; nothing of it is kept."""


@dataclass(frozen=True)
class Artist:
    """Everything needed to draw samples but the network and what to draw."""

    sampling: Sampling
    diffusion: Diffusion
    path: Path
    conditions: Conditions
    shape: tuple[int, ...]
    device: torch.device
    autocast: Callable[[], torch.autocast]
    seed: int
    """Of every draw in evaluation: the run's training seed. Arms stay paired seed by seed, and the spread over seeds holds the luck
    of the noise as well as the training's; with one noise for all seeds, no interval over seeds would know of it."""

    should_stop: Callable[[], bool] = lambda: False
    batch: int = 128
    """Samples drawn together."""

    family: Family = "image"
    reference: Reference | None = None
    """The training data's mean, range and some examples; without it nothing is calibrated, and only images are clipped."""

    half: torch.dtype | None = None
    """The 16-bit type of `autocast`, if it casts."""

    capture: bool = False
    """Whether evaluations may be captured as CUDA graphs."""

    guide: nn.Module | None = None
    """The network that guides in place of the unconditional one (`sampling.guide`)."""

    ranks: Ranks = SINGLE
    """The processes that share the work of an evaluation; all call the same methods with the same arguments."""

    room: Room = field(default_factory=Room)
    """Where it is kept that memory ran out, and fewer than `batch` go at once; shared by all copies of this artist."""

    @torch.no_grad()
    def draw(self, network: nn.Module, asked: Batch, noises: torch.Tensor, *, held_out: bool) -> torch.Tensor:
        """Samples as the network sees them, [N, *shape] fp32 on the CPU, conditioned as the N examples `asked` are.

        Sample k starts from number `noises[k]` of the noises of `seed`: equal numbers mean equal noise and equal wording around the
        class. With `held_out`, prompts use wording that training never saw. Raises `Stopped` if asked to stop between batches.
        The first of several processes gets all samples, each other one those that it drew.
        """
        ready = self.ready(network.eval())

        def drawn(part: slice) -> torch.Tensor:
            self.heed_stop()
            condition = self.conditions.fixed(part_of(asked, part), self.device, held_out=held_out, turns=noises[part])
            return self.draw_batch(ready, condition, noises[part], self.seed).cpu()

        shares = Shares.of(len(noises), self.batch, self.ranks)
        return shares.collect(self.draw_each(shares, drawn, ready))

    def draw_each(self, shares: Shares, drawn: Callable[[slice], torch.Tensor], ready: Ready) -> list[torch.Tensor]:
        """What `drawn` draws with `ready` in each of this process's batches; see `Room.each`."""
        try:
            return self._each(shares, drawn, ready.network)
        finally:
            if _give_back(ready.network):
                torch.cuda.empty_cache()  # else what the graphs held stays beside all that comes until the next drawing

    def _each(self, shares: Shares, work: Callable[[slice], torch.Tensor], network: nn.Module) -> list[torch.Tensor]:
        return self.room.each(shares, work, "drawing samples", self.device, partial(_give_back, network))

    def heed_stop(self) -> None:
        """Raise `Stopped` in every process if any was asked to stop."""
        if self.ranks.any(self.should_stop()):
            raise Stopped

    @torch.no_grad()
    def draw_batch(self, ready: Ready, condition: Condition, noises: torch.Tensor, seed: int) -> torch.Tensor:
        """[B, *shape] on the device, for conditions that are there already and noise numbers int64 [B]."""
        ordinals = noises.to(self.device)
        denoise = self.denoise(ready, condition, len(noises))
        start = self.path.prior_std * draws.normal(seed, "sample/start", ordinals, self.shape)

        def noise(step: int) -> torch.Tensor:
            return draws.normal(seed, f"sample/step {step}", ordinals, self.shape)

        return sample(self.sampling, levels(self.path, self.sampling.steps, self.sampling.grid), denoise, start, noise)

    @property
    def clamp(self) -> bool:
        """Whether examples are images, in [-1, 1]."""
        return self.family == "image"

    def fast(self, network: nn.Module) -> nn.Module:
        """A copy of `network` that says the same sooner, for many calls; itself where graphs cannot be captured."""
        if not self.capture or self.device.type != "cuda" or isinstance(network, Captured):
            return network
        return self.room.once(lambda: Captured(network, self.half), "a copy of the network to draw with", self.device)

    def ready(self, network: nn.Module) -> Ready:
        """`network`, in evaluation mode, as it draws: `fast`, and calibrated by the reference's examples if so asked."""
        network = self.fast(network)
        reference = self.reference
        if reference is None or not self.sampling.calibrate:
            return Ready(network)
        examples, device = reference.examples, self.device
        shares = Shares(len(examples.x0), min(len(examples.x0), CALIBRATED_TOGETHER, self.batch))
        found = calibrate(
            self.diffusion,
            self.path,
            self.asking(network),
            examples.x0.to(device),
            self.conditions.fixed(examples, device),
            reference.mean.to(device),
            Bands(self.shape, self.family, device),
            lambda work: self._each(shares, work, network),
            sparing=self.family != "image",  # measured: benchmarks/family_sampling.py
        )
        _give_back(network)  # a graph for so few examples would only lie beside that of the drawing
        return Ready(network, found)

    @property
    def within(self) -> Range | None:
        """Where clean examples lie."""
        if self.family == "image":
            return IMAGES
        return None if self.reference is None else Range(self.reference.low.to(self.device), self.reference.high.to(self.device))

    def denoise(self, ready: Ready, condition: Condition, n: int) -> Denoise:
        """The network as a sampler asks it, about `n` examples of this condition; guided as `sampling` says."""
        return denoiser(
            self.diffusion,
            self.sampling,
            self.asking(ready.network),
            condition=condition,
            null=self.conditions.null(n, self.device),
            guide=None if self.guide is None else self.asking(self.guide),
            within=self.within,
            calibration=ready.calibration,
        )

    def asking(self, network: nn.Module) -> Network:
        """`network` under this run's autocast, its outputs in fp32."""

        def forward(x: torch.Tensor, c_noise: torch.Tensor, condition: Condition) -> torch.Tensor:
            with self.autocast():
                return network(x, c_noise, condition).float()  # type: ignore[no-any-return]

        return forward


def _give_back(network: nn.Module) -> bool:
    return network.release() if isinstance(network, Captured) else False


def part_of(batch: Batch, part: slice, device: torch.device | None = None) -> Batch:
    """Some examples of a batch, on `device` if one is named."""

    def some(values: torch.Tensor) -> torch.Tensor:
        return values[part] if device is None else values[part].to(device)

    labels, values = batch.labels, batch.values
    return Batch(some(batch.x0), None if labels is None else some(labels), None if values is None else some(values))
