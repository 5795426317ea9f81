"""One optimizer step: draws, forward, backward, clip, update, average. Everything a step needs and nothing of when."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import torch
from torch import nn

from ddpm_exp.data.batches import Batches
from ddpm_exp.data.conditions import Conditions
from ddpm_exp.diffusion import draws
from ddpm_exp.diffusion.loss import per_image_loss
from ddpm_exp.diffusion.noising import add_noise
from ddpm_exp.diffusion.paths import DiscretePath
from ddpm_exp.spec.diffusion import Diffusion
from ddpm_exp.spec.plan import Plan
from ddpm_exp.spec.training import Training
from ddpm_exp.training.ema import Ema, decay
from ddpm_exp.training.precision import LossScale, autocast
from ddpm_exp.training.rate import learning_rate
from ddpm_exp.training.statistics import Statistics


@dataclass(frozen=True)
class Length:
    """The run's milestones in images, converted once from the spec."""

    total_images: int
    warmup_images: int
    ema_half_life_images: int | None


class Trainer:
    """The state of one training: weights, optimizer, average, loss scale, images seen; and the step that advances it.

    Each random draw is keyed by (seed, purpose, ordinal of the image in the run), so the step's result does not depend
    on how many times the training was interrupted. Network dropout is keyed by the first ordinal of each micro-batch.
    """

    def __init__(
        self,
        network: nn.Module,
        *,
        training: Training,
        diffusion: Diffusion,
        path: DiscretePath,
        batches: Batches,
        conditions: Conditions,
        plan: Plan,
        length: Length,
        seed: int,
        device: torch.device,
    ) -> None:
        self.network = network
        self.length = length
        self.images_seen = 0
        self._spec, self._diffusion, self._path = training, diffusion, path
        self._batches, self._conditions = batches, conditions
        self._plan, self._seed, self._device = plan, seed, device
        self._parameters = [weight for weight in network.parameters() if weight.requires_grad]
        self.optimizer = torch.optim.AdamW(
            self._parameters,
            lr=training.learning_rate,
            betas=training.betas,
            weight_decay=training.weight_decay,
            fused=True,
        )
        self.ema = Ema(network) if training.ema_half_life is not None else None
        self.loss_scale = LossScale(device, plan.precision)
        self.statistics = Statistics(device)

    def rate(self) -> float:
        """The learning rate of the next step."""
        return learning_rate(
            self._spec, self.images_seen, total_images=self.length.total_images, warmup_images=self.length.warmup_images
        )

    def step(self) -> None:
        """Train on the next `images_per_step` images. Never waits for the device."""
        self.network.train()
        self.optimizer.zero_grad(set_to_none=True)
        loss = torch.zeros((), device=self._device)
        micro = self._plan.micro_batch
        for first in range(self.images_seen, self.images_seen + self._plan.images_per_step, micro):
            loss += self._micro_step(torch.arange(first, first + micro))
        self._update(loss)
        self.images_seen += self._plan.images_per_step
        if self.ema is not None and self.length.ema_half_life_images is not None:
            self.ema.update(
                decay(
                    images_per_step=self._plan.images_per_step,
                    images_seen=self.images_seen,
                    half_life_images=self.length.ema_half_life_images,
                    ramp=self._spec.ema_ramp,
                )
            )

    def _micro_step(self, ordinals: torch.Tensor) -> torch.Tensor:
        """Forward and backward of one micro-batch; returns its share of the step's mean loss, detached."""
        x0, labels = self._batches.batch(ordinals)
        torch.manual_seed(_dropout_key(self._seed, int(ordinals[0])))
        ordinals = ordinals.to(self._device)
        t = draws.integers(self._seed, "time", ordinals, self._path.timesteps) + 1
        eps = draws.normal(self._seed, "noise", ordinals, tuple(x0.shape[1:]))
        condition = self._conditions.train(labels, self._seed, ordinals)
        alpha, sigma = self._path.at(t)
        x = add_noise(x0, eps, alpha, sigma)
        with autocast(self._device, self._plan.precision):
            output = self.network(x, self._path.c_noise(t), condition)
        losses = per_image_loss(self._diffusion, output.float(), x0, eps, alpha, sigma)
        loss = losses.sum() / self._plan.images_per_step
        torch.autograd.backward(loss * self.loss_scale.scale)
        return loss.detach()

    def _update(self, loss: torch.Tensor) -> None:
        """Unscale, clip and apply the gradient, or skip the step on the device if anything is not finite."""
        gradients = [weight.grad for weight in self._parameters if weight.grad is not None]
        torch._foreach_mul_(gradients, 1.0 / self.loss_scale.scale)
        norm = torch.nn.utils.get_total_norm(gradients)
        bad = 1.0 - (torch.isfinite(norm) & torch.isfinite(loss)).float()
        if self._spec.gradient_clip is not None:
            torch._foreach_mul_(gradients, (self._spec.gradient_clip / (norm + 1e-6)).clamp(max=1.0))
        for group in self.optimizer.param_groups:
            group["lr"] = self.rate()
        # The fused optimizer reads this attribute (as GradScaler sets it) and leaves weights and moments alone where it is 1.
        self.optimizer.found_inf = bad  # type: ignore[attr-defined]
        self.optimizer.step()
        self.loss_scale.update(bad)
        self.statistics.add(loss, norm, bad)


def _dropout_key(seed: int, ordinal: int) -> int:
    """A 63-bit seed for the network's own dropout in the micro-batch that begins at `ordinal`."""
    digest = hashlib.blake2b(f"dropout/{seed}/{ordinal}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1
