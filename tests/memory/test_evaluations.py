"""The peaks of evaluations beside drawings: FID's network, bits per dimension, and what lies on the device for them."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from support.allocations import NOTHING, real_peak
from torch import nn

from ddpm_exp.diffusion.likelihood import bits_per_dimension
from ddpm_exp.diffusion.paths import build_path
from ddpm_exp.memory import evaluation_steps
from ddpm_exp.memory.allocator import MIB
from ddpm_exp.memory.estimate import budget, estimate, fid_batch, setting_of
from ddpm_exp.memory.evaluation_steps import inception, inception_trace, inception_weights, likelihood_trace
from ddpm_exp.memory.moments import Moments
from ddpm_exp.memory.plan import plan
from ddpm_exp.memory.replay import Replay
from ddpm_exp.memory.script import Script
from ddpm_exp.spec.condition import ClassLabels
from ddpm_exp.spec.data import Digits, ImageFolder
from ddpm_exp.spec.errors import UserError
from ddpm_exp.spec.evaluation import FID, Evaluation
from ddpm_exp.spec.experiment import Experiment
from ddpm_exp.spec.hardware import Hardware, find_gpu
from ddpm_exp.spec.model import UNet
from ddpm_exp.spec.sampling import Sampling
from ddpm_exp.spec.training import Training

TINY = UNet(base_channels=16, multipliers=(1, 2), blocks_per_level=1, attention_resolutions=(8,), time_embedding=32, groups=8)
H100, T4, CPU = find_gpu("H100"), find_gpu("T4"), find_gpu("cpu")


def experiment(**changes: Any) -> Experiment:
    return Experiment(data=Digits(), model=TINY, training=Training(images_per_step=64)).but(**changes)


def with_fid(**changes: Any) -> Experiment:
    return experiment(evaluation=Evaluation(fid=FID(images=100)), **changes)


def test_inception_s_trace_is_what_the_library_s_network_really_allocates() -> None:
    network = copy.deepcopy(inception()).to_empty(device="cpu")
    for tensor in (*network.parameters(), *network.buffers()):
        tensor.data.zero_()
    images = torch.zeros(3, 3, 32, 32, dtype=torch.uint8)
    with torch.no_grad():
        real = real_peak(lambda: network(images))
    found = Moments(lambda count: inception_trace((3, 32, 32), count, cuda=False)).peak(3)[1]
    assert sum(found.values()) == pytest.approx(real, rel=0.03)
    assert sum(inception_weights()) == pytest.approx(95.6e6, rel=0.01)


RECORDED = {8: 336, 16: 548, 32: 1408, 64: 2288}
"""MiB that torch 2.11 reserved on an H100 for features of so many images at once, two batches, in a process without a training."""


@pytest.mark.parametrize("images", RECORDED)
def test_fid_reserves_what_was_recorded(images: int) -> None:
    script = Script.of(lambda count: inception_trace((3, 32, 32), count, cuda=True))
    assert Replay(NOTHING).extract(script, images, inception_weights()).reserved == RECORDED[images] * MIB


@pytest.mark.parametrize("gpu", [H100, CPU], ids=lambda gpu: gpu.name)
def test_fid_is_a_peak_of_its_own_beside_what_training_keeps(gpu: Any) -> None:
    without, found = (estimate(e, gpu, "fp32", 16) for e in (experiment(), with_fid()))
    assert (without.fid_bytes, without.fid_batch) == (0, 0)
    assert (found.terms, found.sampling_bytes) == (without.terms, without.sampling_bytes)
    assert found.peak_bytes == found.fid_bytes > max(found.training_bytes, found.sampling_bytes)
    assert found.fid_batch == 64 and found.largest_term == "FID"
    wider = estimate(with_fid(model=TINY.but(base_channels=128)), gpu, "fp32", 16)
    assert wider.fid_bytes > found.fid_bytes


def test_fid_of_weights_that_are_spread_over_gpus_is_counted_too() -> None:
    spread = Hardware(devices=2, shard=True)
    without, found = (estimate(e, H100, "fp32", 16) for e in (experiment(hardware=spread), with_fid(hardware=spread)))
    assert without.fid_bytes == 0 and found.fid_bytes - without.terms["context"] > 844 * MIB + sum(inception_weights())


def test_where_memory_is_short_fewer_images_go_through_inception_and_a_plan_leaves_room_for_some() -> None:
    e = with_fid()
    needed = {usable: estimate(e, T4._replace(usable_bytes=usable * MIB), "fp32", 16) for usable in (16_000, 3_000, 1_500)}
    assert [found.fid_batch for found in needed.values()] == [64, 32, 8]
    assert all(found.fid_bytes <= budget(e, T4._replace(usable_bytes=usable * MIB)) for usable, found in needed.items())
    assert fid_batch(e, T4._replace(usable_bytes=3_000 * MIB), "fp32", 16) == 32
    tight = T4._replace(usable_bytes=estimate(e, T4, "fp32", 1).training_bytes + 200 * MIB)
    assert plan(experiment(), tight, device="cuda").micro_batch >= 1
    with pytest.raises(UserError, match="one image at a time needs") as caught:
        plan(e, tight, device="cuda")
    assert "evaluation.fid=none: micro-batch" in (caught.value.fix or "")


class _Echo(nn.Module):
    """Says what it sees."""

    def forward(self, x: torch.Tensor, *_: object) -> torch.Tensor:
        return x * 1.0


def test_bits_per_dimension_take_what_their_arithmetic_really_allocates(monkeypatch: pytest.MonkeyPatch) -> None:
    """Which is a dozen copies of the images in float64, whatever the network."""
    e = experiment()
    setting, path, numbers = setting_of(e, CPU, "fp32"), build_path(e.diffusion), torch.arange(64)
    monkeypatch.setattr(evaluation_steps, "meta_network", lambda setting: _Echo())

    def measured() -> None:
        x0 = torch.zeros(64, *setting.shape)
        bits_per_dimension(e.diffusion, path, _Echo(), x0, None, 0, numbers, terms=1, clip_x0=True)

    with torch.no_grad():
        real = real_peak(measured)
    found = Moments(lambda count: likelihood_trace(setting, e.diffusion, count)).peak(64)[1]
    assert sum(found.values()) == pytest.approx(real, rel=0.03)


@pytest.mark.parametrize("gpu", [H100, CPU], ids=lambda gpu: gpu.name)
def test_bits_per_dimension_are_counted_in_an_evaluation_s_peak(gpu: Any) -> None:
    def sampling(likelihood: int) -> int:
        data = ImageFolder(root="images", image_size=128, subset=64)
        e = experiment(data=data, model=TINY.but(attention_resolutions=()), evaluation=Evaluation(likelihood=likelihood))
        return estimate(e, gpu._replace(usable_bytes=400 * 1024**3), "bf16", 1).sampling_bytes

    assert sampling(0) <= sampling(16) < sampling(1_000) == sampling(2_000), "no more at once than are drawn"


def test_a_network_that_guides_lies_on_the_device_too() -> None:
    alone, guided = (
        estimate(experiment(model=TINY.but(base_channels=512), condition=ClassLabels(), sampling=sampling), H100, "fp32", 8)
        for sampling in (Sampling(guidance_scale=2.0), Sampling(guidance_scale=2.0, guide="runs/earlier"))
    )
    weights = alone.terms["weights"]
    assert guided.terms["ema"] - alone.terms["ema"] == weights
    assert guided.training_bytes - alone.training_bytes == pytest.approx(weights, rel=0.1), "in whole segments of the allocator"
