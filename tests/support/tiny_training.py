"""A training on digits that is small enough for a test: real data, a real network of some thousand weights, the CPU."""

from __future__ import annotations

import copy
from functools import lru_cache
from typing import Any

import torch
from torch import nn

from ddpm_exp.data.batches import Batches
from ddpm_exp.data.conditions import Conditions, build_conditions
from ddpm_exp.data.datasets import load
from ddpm_exp.data.examples import Splits
from ddpm_exp.diffusion import draws
from ddpm_exp.diffusion.objective import Objective
from ddpm_exp.diffusion.paths import build_path
from ddpm_exp.evaluation.drawing import Artist
from ddpm_exp.models.build import build_network
from ddpm_exp.models.inputs import ConditionInput
from ddpm_exp.ranks.ranks import SINGLE, Ranks
from ddpm_exp.spec.condition import ClassLabels, Condition
from ddpm_exp.spec.data import Digits, Shape
from ddpm_exp.spec.diffusion import Diffusion
from ddpm_exp.spec.model import UNet
from ddpm_exp.spec.plan import Plan
from ddpm_exp.spec.sampling import Sampling
from ddpm_exp.spec.training import Precision, Training
from ddpm_exp.training.micro_step import MicroStep
from ddpm_exp.training.precision import autocast
from ddpm_exp.training.sharding import spread
from ddpm_exp.training.trainer import Length, Trainer

CPU = torch.device("cpu")
TINY = UNet(
    base_channels=8, multipliers=(1,), blocks_per_level=1, attention_resolutions=(), dropout=0.0, time_embedding=16, groups=4
)
TRAINING = Training(images_per_step=8, duration="100 steps", learning_rate=1e-3, ema_half_life="64 images", ema_ramp=None)


@lru_cache(maxsize=4)
def digits(subset: int | None = None) -> Splits:
    """scikit-learn's digits."""
    return load(Digits(subset=subset))


def digit_conditions(condition: Condition | None = None) -> Conditions:
    """Classes of digits unless `condition` says otherwise."""
    return build_conditions(condition or ClassLabels(), digits().facts, draws.uniform)


def tiny_network(model: UNet = TINY, conditions: Conditions | None = None, seed: int = 0) -> nn.Module:
    """Fresh weights of `seed`."""
    torch.manual_seed(seed)
    inputs = tuple(ConditionInput(**part) for part in (conditions or digit_conditions()).inputs)
    return build_network(model, inputs, Shape(1, 8, 8), timesteps=1000)


def lively_network(model: UNet = TINY, conditions: Conditions | None = None) -> nn.Module:
    """Weights as after some training, when none is zero any more: time, condition and every block matter."""
    network = tiny_network(model, conditions)
    with torch.no_grad():
        for weight in network.parameters():
            weight.normal_(std=0.3)
    return network


def tiny_trainer(
    training: Training = TRAINING,
    *,
    dropout: float = 0.0,
    micro_batch: int | None = None,
    precision: Precision = "fp32",
    subset: int | None = None,
    total_images: int = 800,
    warmup_images: int = 0,
    diffusion: Diffusion | None = None,
    ranks: Ranks = SINGLE,
    shard: bool = False,
    memory_format: torch.memory_format = torch.contiguous_format,
) -> Trainer:
    """A trainer before its first step; equal arguments give equal trainers."""
    splits, conditions, diffusion = digits(subset), digit_conditions(), diffusion or Diffusion()
    share = training.images_per_step // ranks.size
    micro = micro_batch or share
    plan = Plan(
        gpu="cpu",
        device="cpu",
        precision=precision,
        images_per_step=training.images_per_step,
        micro_batch=micro,
        accumulation=share // micro,
        devices=ranks.size,
        usable_bytes=2**30,
        peak_bytes=2**20,
        uncertainty=0.1,
        source="estimated",
    )
    network, average = tiny_network(TINY.but(dropout=dropout), conditions).to(memory_format=memory_format), None
    if shard:
        average = copy.deepcopy(network)
        for part in (network, average):
            spread(part, CPU, ranks)
    micro_step = MicroStep(
        network=network,
        objective=Objective(diffusion, build_path(diffusion), images_per_step=training.images_per_step, device=CPU),
        source=Batches(splits.train, seed=0, flip=False, device=CPU, draw=draws.uniform),
        conditions=conditions,
        plan=plan,
        seed=0,
        device=CPU,
    )
    half_life = None if training.ema_half_life is None else training.images(training.ema_half_life, 1438)
    length = Length(total_images=total_images, warmup_images=warmup_images, ema_half_life_images=half_life)
    return Trainer(micro_step, training=training, length=length, cuda_graph=False, ranks=ranks, average=average)


def tiny_artist(**changes: Any) -> Artist:
    """Draws 8x8 images in two steps, without guidance, with `changes` to the artist's fields."""
    diffusion = changes.pop("diffusion", Diffusion())
    fields: dict[str, Any] = {
        "sampling": Sampling(steps=2),
        "diffusion": diffusion,
        "path": build_path(diffusion),
        "conditions": digit_conditions(),
        "shape": Shape(1, 8, 8),
        "device": CPU,
        "autocast": lambda: autocast(CPU, "fp32"),
        "seed": 0,
        "batch": 64,
    }
    return Artist(**(fields | changes))


def copied(value: Any) -> Any:
    """A state as it is now: its dicts and lists with every tensor cloned."""
    if isinstance(value, torch.Tensor):
        return value.detach().clone()
    if isinstance(value, dict):
        return {key: copied(item) for key, item in value.items()}
    return [copied(item) for item in value] if isinstance(value, list | tuple) else value


def identical(first: Any, second: Any) -> bool:
    """Whether two states agree bit for bit (NaN differs from everything)."""
    if isinstance(first, torch.Tensor):
        return first.dtype == second.dtype and torch.equal(first, second)
    if isinstance(first, dict):
        return first.keys() == second.keys() and all(identical(first[key], second[key]) for key in first)
    if isinstance(first, list | tuple):
        return len(first) == len(second) and all(map(identical, first, second))
    return bool(first == second)


class Inputs:
    """What a network is given in each forward pass, as it happens: [(x, c_noise, condition)]."""

    def __init__(self, network: nn.Module) -> None:
        self.seen: list[tuple[torch.Tensor, ...]] = []
        network.register_forward_pre_hook(lambda module, given: self.seen.append(copied(given)))

    def together(self) -> list[torch.Tensor]:
        """x, c_noise and condition of all passes, one after the other."""
        return [torch.cat([_tensor(part) for part in parts]) for parts in zip(*self.seen, strict=True)]


def _tensor(part: torch.Tensor | dict[str, torch.Tensor]) -> torch.Tensor:
    """A condition of a single part as its tensor."""
    return part if isinstance(part, torch.Tensor) else next(iter(part.values()))
