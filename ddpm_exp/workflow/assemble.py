"""Builds the runtime of one run: network, trainer and evaluator, from what was prepared."""

from __future__ import annotations

import copy
import hashlib
import warnings
from collections.abc import Callable
from dataclasses import dataclass

import torch

from ddpm_exp.data.batches import Batches
from ddpm_exp.data.examples import Facts
from ddpm_exp.data.loader import Loaded, Slice
from ddpm_exp.data.reference import reference_of
from ddpm_exp.data.source import Source
from ddpm_exp.diffusion import draws
from ddpm_exp.diffusion.objective import Objective
from ddpm_exp.diffusion.paths import build_path
from ddpm_exp.evaluation.drawing import Artist
from ddpm_exp.evaluation.evaluator import Evaluator
from ddpm_exp.memory.estimate import sampling_batch
from ddpm_exp.ranks.ranks import SINGLE, Ranks
from ddpm_exp.spec.data import Images, family_of
from ddpm_exp.spec.experiment import Experiment
from ddpm_exp.training.micro_step import MicroStep
from ddpm_exp.training.phases import stages_of
from ddpm_exp.training.precision import autocast, half_of, set_arithmetic
from ddpm_exp.training.sharding import spread
from ddpm_exp.training.trainer import Length, Trainer
from ddpm_exp.workflow.network import conditions_of, network_of, placed
from ddpm_exp.workflow.prepare import Prepared
from ddpm_exp.workflow.starting import guide_of, start_from


@dataclass(frozen=True)
class Runtime:
    """Everything that computes."""

    trainer: Trainer
    evaluator: Evaluator
    artist: Artist
    parameters: int
    """Learnt numbers in the network, the condition's encoder included."""

    def averaged(self) -> torch.nn.Module:
        """The network that draws and is measured: averaged weights if there are any, else the last ones."""
        ema = self.trainer.ema
        if self.artist.sampling.weights == "ema" and ema is not None:
            return ema.network
        return self.trainer.network


def assemble(
    prepared: Prepared,
    seed: int,
    *,
    initial: bool = True,
    should_stop: Callable[[], bool] = lambda: False,
    note: Callable[[str], None] = lambda text: None,
    ranks: Ranks = SINGLE,
) -> Runtime:
    """The runtime at the first step. Initial weights depend on the seed alone, not on the device.

    `initial`: whether they are wanted as `training.init_from` says; False where others replace them at once, as on resuming.
    """
    experiment, plan, splits = prepared.experiment, prepared.plan, prepared.splits
    device = torch.device(prepared.machine.device)
    set_arithmetic(tf32=experiment.training.tf32, deterministic=experiment.hardware.deterministic)
    conditions = conditions_of(experiment, splits.facts)
    shard = experiment.hardware.shard
    network = placed(build(experiment, splits.facts, seed, initial=initial), experiment, device, spread=shard)
    parameters = sum(weight.numel() for weight in network.parameters())
    average = _spread(network, experiment, device, ranks) if shard else None
    if plan.compile:
        warnings.filterwarnings("ignore", message="TensorFloat32 tensor cores")  # training.tf32 has said it
        network.compile()
    path = build_path(experiment.diffusion, device)
    objective = Objective(experiment.diffusion, path, images_per_step=plan.images_per_step, device=device)
    micro_step = MicroStep(
        network=network,
        objective=objective,
        source=_source(prepared, seed, ranks),
        conditions=conditions,
        plan=plan,
        seed=seed,
        device=device,
    )
    trainer = Trainer(
        micro_step,
        training=experiment.training,
        length=_length(prepared),
        cuda_graph=experiment.hardware.cuda_graph,
        ranks=ranks,
        average=average,
    )
    artist = Artist(
        sampling=experiment.sampling,
        diffusion=experiment.diffusion,
        path=path,
        conditions=conditions,
        shape=splits.facts.shape,
        device=device,
        autocast=lambda: autocast(device, plan.precision),
        seed=seed,
        half=half_of(plan.precision),
        capture=experiment.hardware.cuda_graph and not shard,
        should_stop=should_stop,
        batch=int(-ranks.largest(-_drawn_together(prepared))),
        family=family_of(experiment.data),
        reference=reference_of(splits, family_of(experiment.data)),
        guide=guide_of(experiment, splits.facts, device),
        ranks=ranks,
    )
    evaluator = Evaluator(experiment.evaluation, splits, artist, experiment.condition, family=family_of(experiment.data), note=note)
    return Runtime(trainer, evaluator, artist, parameters)


def build(experiment: Experiment, facts: Facts, seed: int, *, initial: bool = True) -> torch.nn.Module:
    """The experiment's network on the CPU, with the weights of `seed`; with `initial`, those that `training.init_from` names."""
    torch.manual_seed(_initial_seed(seed))
    network = network_of(experiment, facts)
    if initial and experiment.training.init_from is not None:
        start_from(network, experiment.model, experiment.training.init_from, experiment.training.init_weights)
    return network


def _spread(network: torch.nn.Module, experiment: Experiment, device: torch.device, ranks: Ranks) -> torch.nn.Module | None:
    """Spread `network` over the devices, and its average, which is returned, if there is to be one."""
    average = copy.deepcopy(network) if experiment.training.averages else None
    spread(network, device, ranks)
    if average is not None:
        spread(average, device, ranks)
    return average


def _drawn_together(prepared: Prepared) -> int:
    """Images that evaluation sends through the network at once: what the planned GPU holds; on the CPU at least 64."""
    plan = prepared.plan
    if prepared.machine.device == "cpu":
        return max(plan.micro_batch, 64)
    return sampling_batch(prepared.experiment, prepared.machine.gpu, plan.precision, plan.micro_batch)


def _initial_seed(seed: int) -> int:
    return int.from_bytes(hashlib.blake2b(f"weights/{seed}".encode(), digest_size=8).digest(), "little") >> 1


def _source(prepared: Prepared, seed: int, ranks: Ranks) -> Source:
    """Where the training examples come from, as the data's size decided."""
    experiment, plan, splits = prepared.experiment, prepared.plan, prepared.splits
    flip = isinstance(experiment.data, Images) and experiment.data.flip
    device = torch.device(prepared.machine.device)
    if splits.stored is None:
        return Batches(splits.train, seed=seed, flip=flip, device=device, draw=draws.uniform)
    share = plan.images_per_step // plan.devices
    part = Slice(plan.images_per_step, share, ranks.rank * share)
    return Loaded(splits.stored, seed, flip, device, draws.uniform, part=part, workers=experiment.hardware.workers)


def _length(prepared: Prepared) -> Length:
    training, epoch = prepared.experiment.training, prepared.units.images_per_epoch
    return Length(
        total_images=prepared.units.total_images,
        warmup_images=training.images(training.warmup, epoch),
        ema_half_life_images=None if training.ema_half_life is None else training.images(training.ema_half_life, epoch),
        cycle_images=training.images(training.cycle, epoch),
        stages=stages_of(training, epoch),
    )
