"""Run directories as `run` leaves them behind, without the training: real files of networks with weights that were drawn."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ddpm_exp.checkpoints.store import Checkpoint, save
from ddpm_exp.data.datasets import load as load_data
from ddpm_exp.data.reference import reference_of
from ddpm_exp.records.manifest import Manifest, Units
from ddpm_exp.records.run_directory import RunDirectory
from ddpm_exp.spec.base import Role
from ddpm_exp.spec.condition import Unconditional
from ddpm_exp.spec.data import Digits, family_of
from ddpm_exp.spec.diffusion import Diffusion
from ddpm_exp.spec.experiment import Experiment
from ddpm_exp.spec.identity import flat, science_hash
from ddpm_exp.spec.model import UNet
from ddpm_exp.spec.sampling import Sampling
from ddpm_exp.workflow.network import network_of
from ddpm_exp.workflow.recorded import keep_data

SMALL = UNet(base_channels=8, multipliers=(1, 2), blocks_per_level=1, attention_resolutions=(), groups=4, time_embedding=16)
IMAGES_SEEN = 320


def small(**changes: Any) -> Experiment:
    """An experiment on 8x8 digits with a network of a few thousand weights."""
    given: dict[str, Any] = {
        "data": Digits(image_size=8, subset=20),
        "condition": Unconditional(),
        "diffusion": Diffusion(schedule="cosine", timesteps=100),
        "model": SMALL,
        "sampling": Sampling(steps=3),
    }
    return Experiment(**(given | changes))


def stirred(network: nn.Module, seed: int) -> nn.Module:
    """`network` with noise on all its weights, of which some begin at zero."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in network.parameters():
            weight += 0.1 * torch.randn(weight.shape, generator=generator)
    return network.eval().requires_grad_(False)


def record(root: Path, experiment: Experiment, *, ema: bool = True, data: bool = True, checkpoint: bool = True) -> Path:
    """A finished run of `experiment` under `root`; by choice without averages, without data.json or without checkpoint."""
    splits = load_data(experiment.data, experiment.condition)
    identity = science_hash(experiment, "fp32")
    manifest = Manifest(
        experiment="recorded",
        experiment_id="recorded",
        science_hash=identity,
        seed=0,
        config=flat(experiment, roles=frozenset({Role.SCIENCE, Role.EXECUTION})) | {"training.precision": "fp32"},
        units=Units(images_per_step=8, images_per_epoch=32, total_images=IMAGES_SEEN),
        packages={"ddpm-exp": "0.1.0"},
    )
    run = RunDirectory.create(root, "recorded", identity, 0, manifest)
    if data:
        keep_data(run, splits, reference_of(splits, family_of(experiment.data)))
    if checkpoint:
        torch.manual_seed(0)
        network = stirred(network_of(experiment, splits.facts), 1)
        tensors = {"network": network.state_dict()}
        if ema:
            tensors["ema"] = stirred(copy.deepcopy(network), 2).state_dict()
        save(run.checkpoints, Checkpoint(IMAGES_SEEN, tensors))
    run.set_status("finished", images_seen=IMAGES_SEEN)
    return run.path
