"""One optimizer step: forward and backward of its micro-batches, clip, update, average. Nothing of when."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

from ddpm_exp.ranks.full_device import is_out_of_memory, release, said_by
from ddpm_exp.ranks.ranks import SINGLE, Ranks
from ddpm_exp.spec.training import Training
from ddpm_exp.training.ema import Ema, decay, power_decay, power_exponent
from ddpm_exp.training.gradients import Gradients
from ddpm_exp.training.micro_step import GraphedMicroStep, MicroStep
from ddpm_exp.training.optimizer import build_optimizer
from ddpm_exp.training.out_of_memory import Halved, NoRoomError
from ddpm_exp.training.phases import Stages, stage_at
from ddpm_exp.training.posthoc import TRACKED
from ddpm_exp.training.precision import LossScale
from ddpm_exp.training.rate import learning_rate
from ddpm_exp.training.sharding import SpreadGradients, is_spread
from ddpm_exp.training.statistics import Statistics


@dataclass(frozen=True)
class Length:
    """The run's milestones in images, converted once from the spec."""

    total_images: int
    warmup_images: int
    ema_half_life_images: int | None
    cycle_images: int = 0
    """The first cycle of a rate that has cycles."""

    stages: Stages = ()
    """The phases before the whole task."""


class Trainer:
    """The state of one training: weights, optimizer, average, loss scale, images seen; and the step that advances it.

    Each random draw is keyed by (seed, purpose, ordinal of the image in the run), so the step's result does not depend
    on how often the training was interrupted, nor on how it is sliced: over micro-batches, nor over the processes of `ranks`,
    of which each trains on its share of a step and which all end it with the same weights.
    """

    def __init__(
        self,
        micro_step: MicroStep,
        *,
        training: Training,
        length: Length,
        cuda_graph: bool,
        ranks: Ranks = SINGLE,
        average: nn.Module | None = None,
    ) -> None:
        """`average`: the network that the averages go to; None: a copy of the network."""
        if micro_step.plan.devices != ranks.size:
            raise ValueError(f"a plan for {micro_step.plan.devices} devices, and {ranks.size} processes")
        self.network: nn.Module = micro_step.network
        self.length, self.ranks = length, ranks
        self.images_seen = 0
        self.rollbacks = 0
        """How often the run has gone back to a checkpoint; each time has halved the rate from there on."""
        self.on_halved: Callable[[Halved], None] | None = None
        """Told when memory ran out within a step, before that is taken again with half as many images at once. None: the error is
        left to the caller, who tries what fits."""
        self._spec, self._plan, self._device = training, micro_step.plan, micro_step.device
        self.source = micro_step.source
        self.objective = micro_step.objective
        self.eager = micro_step
        self.spread = is_spread(self.network)
        captured = cuda_graph and self._device.type == "cuda" and not self.spread
        self._micro_step = GraphedMicroStep(micro_step) if captured else micro_step
        learning = [weight for weight in self.network.parameters() if weight.requires_grad]
        self.gradients = SpreadGradients(self.network, ranks) if self.spread else Gradients(learning)
        self.optimizer = build_optimizer(training, self.network, self._plan.precision)
        self.ema = Ema(self.network, average) if training.averages else None
        self.tracked = {str(width): Ema(self.network) for width in TRACKED} if training.ema_snapshots is not None else {}
        self._tracked_gamma = {width: power_exponent(float(width)) for width in self.tracked}
        self._gamma = None if training.ema_sigma_rel is None else power_exponent(training.ema_sigma_rel)
        self.loss_scale = LossScale(self._device, self._plan.precision)
        self.statistics = Statistics(self._device)

    @property
    def micro_batch(self) -> int:
        """Images at once; less than was planned if memory ran out."""
        return self._plan.micro_batch

    @property
    def compiles(self) -> bool:
        """Whether the first step compiles the network."""
        return self._plan.compile

    def rate(self) -> float:
        """The learning rate of the next step."""
        length = self.length
        scheduled = learning_rate(
            self._spec,
            self.images_seen,
            total_images=length.total_images,
            warmup_images=length.warmup_images,
            cycle_images=length.cycle_images,
        )
        return scheduled * 0.5**self.rollbacks

    def step(self, rate: float | None = None) -> None:
        """Train on the next `images_per_step` images, at `rate` or else at the schedule's. Never waits for the device."""
        self.network.train()
        self._micro_step.enter(stage_at(self.length.stages, self.images_seen))
        self.eager.refresh()
        while isinstance(loss := self._accumulated(), str):
            self._halve(loss)
        self.ranks.sum(*self.gradients.own, loss, *self.objective.observed())
        self._update_if_there_is_room(loss, self.rate() if rate is None else rate)
        self.objective.end_step()
        self.images_seen += self._plan.images_per_step
        if self.ema is not None:
            self.ema.update(self._keep())
        for width, average in self.tracked.items():
            gamma = self._tracked_gamma[width]
            average.update(power_decay(images_per_step=self._plan.images_per_step, images_seen=self.images_seen, gamma=gamma))

    def _accumulated(self) -> torch.Tensor | str:
        """Add the gradients of a whole step; its mean loss. Where memory runs out, what the device said of it: then nothing has
        happened that beginning the step again would not undo, and no frame holds on to a part of it."""
        try:
            return self._add_gradients()
        except RuntimeError as error:
            if self.on_halved is None or not is_out_of_memory(error):
                raise
            return said_by(error)

    def _add_gradients(self) -> torch.Tensor:
        self.gradients.zero()
        loss = torch.zeros((), device=self._device)
        micro, share = self._plan.micro_batch, self._plan.images_per_step // self._plan.devices
        start = self.images_seen + self.ranks.rank * share
        for first in range(start, start + share, micro):
            self.gradients.expect(last=first + micro >= start + share)
            fetched = self.source.fetch(torch.arange(first, first + micro))
            loss += self._micro_step(torch.arange(first, first + micro, device=self._device), fetched, self.loss_scale.scale)
        return loss

    def _halve(self, said: str) -> None:
        """Make do with less memory: half the images at once, twice as often, the same step. Raises NoRoomError for one image, and
        where weights are spread over processes, which wait for each other within the step."""
        share = self._plan.images_per_step // self._plan.devices
        # The largest part of the step that is at most half: 3 after 6, but also after 7.
        micro = max((size for size in range(1, self._plan.micro_batch // 2 + 1) if share % size == 0), default=0)
        if not micro:
            raise NoRoomError(
                f"a step has no room on the device even with one image at once, after {self.images_seen:,} images: {said}",
                field="hardware.micro_batch",
                value=self._plan.micro_batch,
                fix="free memory that other programs hold, and give the same command again: it goes on from the last checkpoint",
            )
        if self.spread:
            raise NoRoomError(
                f"a step has no room on one of the devices, after {self.images_seen:,} images: {said}",
                field="hardware.micro_batch",
                value=self._plan.micro_batch,
                fix=f"give the same command again with hardware.micro_batch = {micro}: it goes on from the last checkpoint",
            )
        self._plan = self._plan.but(micro_batch=micro, accumulation=share // micro)
        self.eager.begin_again(self._plan)
        if isinstance(self._micro_step, GraphedMicroStep):
            self._micro_step.release()
        release(self._device)
        assert self.on_halved is not None
        self.on_halved(Halved(self.images_seen, micro, share // micro, self._plan.gpu, self._plan.devices, said))

    def _keep(self) -> float:
        """Share of the old average that the step which just ended keeps."""
        step, seen = self._plan.images_per_step, self.images_seen
        if self._gamma is not None:
            return power_decay(images_per_step=step, images_seen=seen, gamma=self._gamma)
        half_life = self.length.ema_half_life_images
        assert half_life is not None  # there is an average, and it is not a power function
        return decay(images_per_step=step, images_seen=seen, half_life_images=half_life, ramp=self._spec.ema_ramp)

    def _update_if_there_is_room(self, loss: torch.Tensor, rate: float) -> None:
        """`_update`; half an update cannot be begun again. Raises NoRoomError where memory runs out in it."""
        try:
            self._update(loss, rate)
        except RuntimeError as error:
            if self.on_halved is None or not is_out_of_memory(error):
                raise
            raise NoRoomError(
                f"the optimizer's update has no room on the device after {self.images_seen:,} images: {said_by(error)}",
                field="hardware.micro_batch",
                value=self._plan.micro_batch,
                fix="give the same command again, with a smaller hardware.micro_batch: it goes on from the last checkpoint",
            ) from error

    def _update(self, loss: torch.Tensor, rate: float) -> None:
        """Unscale, clip and apply the gradient, or skip the step on the device if anything is not finite."""
        if self.loss_scale.adapts:  # otherwise the scale is 1, and this a pass over all gradients for nothing
            self.gradients.multiply(1.0 / self.loss_scale.scale)
        norm = self.gradients.norm()
        bad = 1.0 - (torch.isfinite(norm) & torch.isfinite(loss)).float()
        if self._spec.gradient_clip is not None:
            self.gradients.multiply((self._spec.gradient_clip / (norm + 1e-6)).clamp(max=1.0))
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        # The optimizer reads this attribute (as GradScaler sets it) and leaves weights and moments alone where it is 1.
        self.optimizer.found_inf = bad  # type: ignore[attr-defined]
        self.optimizer.step()
        self.loss_scale.update(bad)
        self.statistics.add(loss, norm, bad)
