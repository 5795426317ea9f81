"""Probing an experiment on the GPU that is here: its real steps are tried, and what they took is kept for the next time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch

from ddpm_exp.memory.limit import CONTEXT_BYTES
from ddpm_exp.memory.probe import Probed, Trial, allowed, probe, sliced
from ddpm_exp.memory.rows import Speed
from ddpm_exp.memory.search import Attempt, Caps, Found
from ddpm_exp.memory.terms import in_words
from ddpm_exp.spec.plan import Plan
from ddpm_exp.workflow import kept_speeds
from ddpm_exp.workflow.assemble import assemble
from ddpm_exp.workflow.display import Display
from ddpm_exp.workflow.kept_probes import keep, key_of, recall
from ddpm_exp.workflow.prepare import Prepared

COMPILED = Caps(attempts=3)
"""Of a probe that was asked for, where each attempt compiles the network anew, which takes a minute or more."""

ONE = Caps(attempts=1)
"""Of a run in that case, and of one that is to show only that everything works: the estimate's micro-batch, if it fits."""


@dataclass(frozen=True)
class Measured:
    """A plan by real steps on this GPU, now or before."""

    probed: Probed
    before: bool
    """Whether the steps were made in an earlier probe, of which the answer was kept."""

    @property
    def plan(self) -> Plan:
        """The experiment's plan with the measured micro-batch."""
        return self.probed.plan

    @property
    def chosen(self) -> Attempt:
        """The attempt at the chosen micro-batch."""
        assert self.probed.found.chosen is not None
        return self.probed.found.chosen

    @property
    def images_per_second(self) -> float:
        """Of all devices together."""
        return (self.chosen.images_per_second or 0.0) * self.plan.devices


def measure(
    prepared: Prepared, display: Display, *, given: int | None = None, cached: bool = True, asked: bool = False
) -> Measured | None:
    """The plan with a micro-batch found by real steps. None where nothing can be tried: on a CPU, and for weights that are spread
    over several devices. `given`: a micro-batch to keep to if it fits (that of a run which is resumed). `asked`: whether the
    probe is what was asked for, or only comes before a run.

    A kept answer is taken without trying anything: its key holds all that decides it but what other programs hold of the
    GPU, and that is asked for. Where less is free than the answer needs, it is probed again. What was measured anew is kept,
    its speed for `check` too.
    """
    if prepared.machine.device != "cuda" or prepared.experiment.hardware.shard:
        return None
    thorough = COMPILED if prepared.plan.compile else Caps()
    caps = ONE if _is_small(prepared) or (prepared.plan.compile and not asked) else thorough
    if given is None and cached:
        kept = (recall(key_of(prepared, each), display.note) for each in dict.fromkeys((thorough, caps)))
        before = next((found for found in kept if found is not None), None)
        if before is not None and before.chosen is not None and _room_for(before.chosen.peak_bytes or 0, display):
            return Measured(_as_before(prepared, before), before=True)
    display.phase(f"probing memory and speed on {prepared.machine.gpu.name}")
    probed = probe(
        prepared.experiment,
        prepared.plan,
        torch.device("cuda"),
        trials_of(prepared),
        emulated=prepared.machine.limit_bytes,
        given=given,
        caps=caps,
    )
    assert probed is not None and probed.found.chosen is not None
    if given is None:
        keep(key_of(prepared, caps), probed.found)
        keep_speed(prepared, probed.found.chosen)
    return Measured(probed, before=False)


def keep_speed(prepared: Prepared, chosen: Attempt) -> None:
    """Keep for `check` how fast the chosen attempt was, but for that of an emulated card or of an experiment made small: it says
    nothing about a run on the card of that name."""
    if prepared.machine.limit_bytes is None and not _is_small(prepared) and chosen.images_per_second and chosen.peak_bytes:
        speed = Speed(chosen.micro_batch, chosen.images_per_second, chosen.peak_bytes)
        kept_speeds.keep(prepared.experiment, prepared.plan, speed)


def _is_small(prepared: Prepared) -> bool:
    return prepared.loaded.name.endswith("-smoke")


def trials_of(prepared: Prepared) -> Callable[[int], Trial]:
    """Micro-batch to a training of its own, as the run would be: one device's share of each step, and a batch of sampling."""
    share = own_share(prepared.plan)

    def trial(micro_batch: int) -> Trial:
        plan = share.but(micro_batch=micro_batch, accumulation=share.images_per_step // micro_batch)
        runtime = assemble(replace(prepared.whole_task, plan=plan), seed=0, initial=False)

        def draw() -> None:
            numbers = torch.arange(runtime.artist.batch)
            one_step = replace(runtime.artist, sampling=runtime.artist.sampling.but(steps=1))
            asked = prepared.splits.train.batch(numbers % len(prepared.splits.train))
            one_step.draw(runtime.averaged(), asked, numbers, held_out=False)

        return Trial(runtime.trainer.step, draw)

    return trial


def own_share(plan: Plan) -> Plan:
    """The plan of a process that trains on its part of a step alone."""
    return plan.but(images_per_step=plan.images_per_step // plan.devices, devices=1, micro_batch=plan.micro_batch)


def in_one_line(measured: Measured) -> str:
    """What a run says of its probe."""
    plan, chosen = measured.plan, measured.chosen
    head = "probed before on this GPU" if measured.before else "probed"
    speed, peak = chosen.images_per_second or 0.0, in_words(plan.peak_bytes)
    return f"{head}: micro-batch {plan.micro_batch}, {speed:,.0f} images/s, {peak} at the peak ({measured.probed.found.why})"


def _as_before(prepared: Prepared, found: Found) -> Probed:
    assert found.chosen is not None
    plan = sliced(prepared.plan, found.chosen.micro_batch, found.chosen.peak_bytes or 0)
    return Probed(plan, found, allowed(prepared.experiment, prepared.plan))


def _room_for(peak_bytes: int, display: Display) -> bool:
    """Whether so much of the GPU is free now, but for the context, which may be there already."""
    torch.cuda.empty_cache()
    free = torch.cuda.mem_get_info()[0]
    if free >= peak_bytes - CONTEXT_BYTES:
        return True
    display.note(
        f"probed before on this GPU, but of the {in_words(peak_bytes)} needed {in_words(free)} are free now; probing again"
    )
    return False
