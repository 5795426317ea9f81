"""Forward and backward of one micro-batch, either op by op or as one captured CUDA graph. Knows no optimizer."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from ddpm_exp.data.conditions import Conditions
from ddpm_exp.data.source import Fetched, Source
from ddpm_exp.diffusion import draws
from ddpm_exp.diffusion.network import Condition
from ddpm_exp.diffusion.objective import Objective
from ddpm_exp.models.dropout import share_keys
from ddpm_exp.ranks.full_device import is_out_of_memory
from ddpm_exp.spec.errors import RunError
from ddpm_exp.spec.plan import Plan
from ddpm_exp.training.half_weights import HalfWeights
from ddpm_exp.training.phases import WHOLE, Stage
from ddpm_exp.training.precision import autocast, fixed_order, half_of
from ddpm_exp.training.sharding import is_spread


@dataclass
class MicroStep:
    """Adds the gradients of the micro-batch with the given ordinals to `.grad`; returns its share of the step's mean loss."""

    network: nn.Module
    objective: Objective
    source: Source
    conditions: Conditions
    plan: Plan
    seed: int
    device: torch.device
    stage: Stage = WHOLE

    def __post_init__(self) -> None:
        self._dropout = share_keys(self.network)
        half = half_of(self.plan.precision)
        # Recomputed blocks, compiled networks and spread ones take the weights from where they are.
        once = self.device.type == "cuda" and not self.plan.compile and not getattr(self.network, "checkpointing", False)
        once = once and not is_spread(self.network)
        self._half = HalfWeights(self.network, half) if half is not None and once else None

    def enter(self, stage: Stage) -> bool:
        """Train on the task of `stage` from now on; whether that is another one than before."""
        changed, self.stage = stage != self.stage, stage
        return changed

    def refresh(self) -> None:
        """Before the first micro-batch of a step: take over what the optimizer did to the weights."""
        if self._half is not None:
            self._half.refresh()

    def begin_again(self, plan: Plan) -> None:
        """Forget what a step left that was broken off, and take the rest sliced as `plan` says."""
        self.plan = plan
        if self._half is not None:
            self._half.forget()

    def __call__(self, ordinals: torch.Tensor, fetched: Fetched, scale: torch.Tensor) -> torch.Tensor:
        """`ordinals`: int64 [B] on the device; `fetched`: what `source` fetched for them; `scale`: the loss scale.

        The returned scalar is detached and not scaled.
        """
        batch = self.source.batch(fetched, ordinals)
        x0 = self.stage.shrink(batch.x0)
        noised = self.objective.noised(x0, self.seed, ordinals, timesteps=self.stage.timesteps)
        condition = self.conditions.train(batch, self.seed, ordinals)
        self._dropout.words = draws.integers(self.seed, "dropout", ordinals, 2**31).to(torch.int32)
        with fixed_order(strict=False):
            losses = self.objective.losses(self._ask, x0, noised, condition)
        loss = losses.sum() / self.plan.images_per_step
        with fixed_order(strict=True):
            torch.autograd.backward(loss * scale)
        if self._half is not None:
            self._half.collect()
        return loss.detach()

    def _ask(self, x: torch.Tensor, c_noise: torch.Tensor, condition: Condition) -> torch.Tensor:
        with autocast(self.device, self.plan.precision):
            return (self._half or self.network)(x, c_noise, condition)


class GraphedMicroStep:
    """The same, captured once as a CUDA graph and replayed: one launch instead of some two thousand.

    The first call runs op by op (libraries initialise themselves), the second captures.
    """

    def __init__(self, eager: MicroStep) -> None:
        self._eager = eager
        self._stream = torch.cuda.Stream(eager.device)  # type: ignore[no-untyped-call]
        self._graph: torch.cuda.CUDAGraph | None = None
        self._calls = 0

    def __call__(self, ordinals: torch.Tensor, fetched: Fetched, scale: torch.Tensor) -> torch.Tensor:
        """As `MicroStep`; the returned scalar is overwritten by the next call."""
        self._calls += 1
        if self._calls == 1:
            return self._on_own_stream(ordinals, fetched, scale)
        if self._graph is None:
            self._capture(ordinals, fetched, scale)
        self._ordinals.copy_(ordinals, non_blocking=True)
        for held, new in zip(self._fetched, fetched, strict=True):
            held.copy_(new, non_blocking=True)
        self._scale.copy_(scale, non_blocking=True)
        assert self._graph is not None
        self._graph.replay()
        return self._loss

    def enter(self, stage: Stage) -> bool:
        """As `MicroStep`; another task is another graph, and the one before gives its memory back."""
        changed = self._eager.enter(stage)
        if changed:
            self.release()
        return changed

    def release(self) -> None:
        """Give back what the graph holds; the next call but one captures another."""
        self._graph, self._calls = None, 0
        for held in ("_loss", "_ordinals", "_scale", "_fetched"):
            self.__dict__.pop(held, None)

    def _on_own_stream(self, ordinals: torch.Tensor, fetched: Fetched, scale: torch.Tensor) -> torch.Tensor:
        # Gradient accumulation remembers its stream; capture fails if that is the default one.
        current = torch.cuda.current_stream(self._eager.device)
        self._stream.wait_stream(current)
        with torch.cuda.stream(self._stream):
            loss = self._eager(ordinals, fetched, scale)
        current.wait_stream(self._stream)
        return loss

    def _capture(self, ordinals: torch.Tensor, fetched: Fetched, scale: torch.Tensor) -> None:
        self._ordinals, self._scale = ordinals.clone(), scale.clone()
        self._fetched = tuple(one.clone() for one in fetched)
        graph, current = torch.cuda.CUDAGraph(), torch.cuda.current_stream(self._eager.device)
        torch.cuda.synchronize(self._eager.device)
        try:
            # What other threads ask of the device meanwhile (NCCL's watchdog does) is no part of the capture.
            with torch.cuda.graph(graph, stream=self._stream, capture_error_mode="thread_local"):
                self._loss = self._eager(self._ordinals, self._fetched, self._scale)
        except RuntimeError as error:
            torch.cuda.set_stream(current)  # a capture that fails at its end leaves its own
            if is_out_of_memory(error):
                raise
            raise RunError(
                f"the step cannot be captured as a CUDA graph: {str(error).splitlines()[0]}",
                field="hardware.cuda_graph",
                value=True,
                fix="set hardware.cuda_graph to False; results are the same, small batches train slower",
            ) from error
        self._graph = graph
