"""A process is replayed in its order: whose workspaces stay where, what the optimizer takes, which copies a step makes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from support.allocations import NOTHING
from torch import nn

from ddpm_exp.memory import replayed
from ddpm_exp.memory.allocator import MIB
from ddpm_exp.memory.estimate import setting_of
from ddpm_exp.memory.replay import Replay
from ddpm_exp.memory.replayed import Evaluating, peaks
from ddpm_exp.memory.script import DEATH, Script
from ddpm_exp.memory.step import training_trace
from ddpm_exp.memory.trace import Recorder, Trace
from ddpm_exp.memory.update import update_events
from ddpm_exp.spec.data import CIFAR10, Digits
from ddpm_exp.spec.experiment import Experiment
from ddpm_exp.spec.hardware import find_gpu
from ddpm_exp.spec.model import UNet


def script(events: list[tuple[int, int]], libraries: dict[int, list[tuple[str, str]]] | None = None) -> Script:
    found = tuple((tensor, size, 0) for tensor, size in events)
    return Script(found, (), {}, {}, libraries or {})


def test_a_workspace_of_autograd_s_thread_holds_the_segment_that_it_was_cut_from() -> None:
    step = [(0, 100 * MIB), (0, DEATH), (1, 4 * MIB), (1, DEATH)]
    alone = Replay(NOTHING).train(script(step), 1).reserved
    forward, backward = ("program", "cublas"), ("autograd", "cublas")
    first = Replay(NOTHING).train(script(step, {0: [forward]}), 1).reserved
    both = Replay(NOTHING).train(script(step, {0: [forward], 2: [backward]}), 1).reserved
    assert first - alone == 32 * MIB, "a segment of its own, which stays when the rest goes back"
    assert both - first == 100 * MIB, "the captured step reserves anew what the workspace holds"


def test_between_powers_of_two_a_process_is_replayed_too_and_never_needs_less() -> None:
    model = UNet(base_channels=16, multipliers=(1, 2), blocks_per_level=1, attention_resolutions=(), time_embedding=32, groups=8)
    setting = setting_of(Experiment(data=Digits(), model=model), find_gpu("H100"), "bf16")
    found = [peaks(setting, NOTHING, images, Evaluating(setting, 16, 1)) for images in range(2048, 4097, 128)]
    assert found == sorted(found)
    middle, ends = found[8], (found[0], found[16])
    alone = Replay(NOTHING).train(Script.of(lambda images: training_trace(setting, images)), 3072).reserved
    assert middle.training == min(max(alone, *(each.training for each in found[:8])), ends[1].training)


def test_with_checkpointing_the_worst_order_of_segments_counts_where_a_step_is_captured() -> None:
    model = UNet(base_channels=32, multipliers=(1, 2), attention_resolutions=(), time_embedding=32, groups=8, checkpointing=True)
    setting = setting_of(Experiment(data=CIFAR10(), model=model), find_gpu("H100"), "bf16")
    for captured in (True, False):
        process = replace(NOTHING, captured=captured)
        found = [peaks(setting, process, images, Evaluating(setting, 64, 1)).training for images in (64, 128, 256, 512)]
        step = Script.of(lambda images: training_trace(setting, images))
        known = [Replay(process).train(step, images).reserved for images in (64, 128, 256, 512)]
        worst = [Replay(process, "parts first").train(step, images).reserved for images in (64, 128, 256, 512)]
        assert all(each >= least for each, least in zip(found, worst if captured else known, strict=True))


def test_a_drawing_after_another_is_as_in_a_fresh_process() -> None:
    """Drawings of several sizes go on from the same training, which is replayed once."""
    model = UNet(base_channels=16, multipliers=(1, 2), blocks_per_level=1, attention_resolutions=(), time_embedding=32, groups=8)
    setting = setting_of(Experiment(data=Digits(), model=model), find_gpu("H100"), "bf16")
    for captured in (True, False):
        process = replace(NOTHING, captured=captured, weights=(3 * MIB, 1000), relaid=(True, False), half=(2 * MIB, 0))
        found = {drawn: peaks(setting, process, 32, Evaluating(setting, drawn, 2)) for drawn in (256, 16, 64, 1)}
        for drawn in (1, 64, 16, 256):
            replayed._trained.cache_clear()
            replayed._at.cache_clear()
            replayed._rising.cache_clear()
            assert peaks(setting, process, 32, Evaluating(setting, drawn, 2)) == found[drawn]


def test_the_optimizer_s_step_follows_each_step_and_its_moments_come_once() -> None:
    update = ((0, 64 * MIB), (1, 64 * MIB), (0, DEATH), (1, DEATH))
    process = replace(NOTHING, moments=(40 * MIB, 40 * MIB), update=update)
    step = script([(0, 20 * MIB), (0, DEATH)])
    assert Replay(process).train(step, 1).allocated == (80 + 128) * MIB
    assert Replay(replace(process, captured=False)).train(step, 1).reserved == (20 + 80 + 128) * MIB
    captured = Replay(process).train(step, 1).reserved
    assert captured == (20 + 80 + 128) * MIB, "what the first step left went back before the capture"


def test_muon_s_step_is_recorded_and_gives_back_all_it_takes() -> None:
    model = UNet(base_channels=16, multipliers=(1, 2), blocks_per_level=1, attention_resolutions=(), time_embedding=32, groups=8)
    setting = setting_of(Experiment(data=Digits(), model=model), find_gpu("H100"), "bf16")
    assert update_events(setting, "adamw") == ()
    living: dict[int, int] = {}
    highest = 0
    for tensor, size in update_events(setting, "muon"):
        if size == DEATH:
            del living[tensor]
        else:
            living[tensor] = size
        highest = max(highest, sum(living.values()))
    assert not living
    largest = max(weight for weight in (4 * 32 * 32 * 9,))
    assert highest > 5 * largest, "gradient, momentum before and after, update and its step"


def recorded(work: Any, weight: torch.Tensor, **more: Any) -> Trace:
    weight.grad = None
    recorder = Recorder((weight,), channels_last=False, workspaces=False, **more)
    with recorder:
        recorder.phase("forward")
        loss = work(weight)
        recorder.phase("backward")
        loss.backward()
    return recorder.trace


def born(trace: Trace, size: int) -> int:
    return sum(1 for _, each in trace.events[trace.starts["backward"] :] if each == size)


def test_a_gradient_that_is_part_of_another_is_not_added_to_in_place() -> None:
    weight = torch.empty(1000, 4, device="meta", requires_grad=True)

    other = torch.empty(1000, 4, device="meta")

    def joined(weight: torch.Tensor) -> torch.Tensor:
        x = weight * 2
        return (x * 4).sum() + (torch.cat([x, other], dim=1) * 5).sum()

    assert born(recorded(joined, weight), 16_000) == 3, "of x * 4, of their sum, and of weight * 2"


def test_layer_norm_copies_a_gradient_with_gaps() -> None:
    from ddpm_exp.memory.step import _dense_copy

    norm = nn.LayerNorm(4, device="meta")
    weight = torch.empty(1000, 4, device="meta", requires_grad=True)

    def whole(weight: torch.Tensor) -> torch.Tensor:
        return (norm(weight * 2) * 3).sum()

    def part(weight: torch.Tensor) -> torch.Tensor:
        return (torch.cat([norm(weight * 2), weight * 2], dim=1) * 3).sum()

    for work, copies in ((whole, 0), (part, 1)):
        plain, with_copies = recorded(work, weight), recorded(work, weight, copied_after=_dense_copy)
        assert born(with_copies, 16_000) - born(plain, 16_000) == copies
