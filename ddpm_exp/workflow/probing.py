"""Probing an experiment on the GPU that is here: its real steps are tried, and what they took is kept for the next time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch

from ddpm_exp.loading.loaded import Loaded
from ddpm_exp.memory.limit import CONTEXT_BYTES
from ddpm_exp.memory.probe import Probed, Trial, allowed, probe, sliced
from ddpm_exp.memory.rows import Timing
from ddpm_exp.memory.search import Attempt, Caps, Found
from ddpm_exp.memory.terms import in_words
from ddpm_exp.memory.timing import timing
from ddpm_exp.spec.errors import UserError
from ddpm_exp.spec.plan import Plan
from ddpm_exp.workflow.assemble import assemble
from ddpm_exp.workflow.display import Display
from ddpm_exp.workflow.kept_probes import keep, key_of, recall
from ddpm_exp.workflow.options import RunOptions
from ddpm_exp.workflow.prepare import Prepared, find_machine, prepare
from ddpm_exp.workflow.smoke import smoke

COMPILED = Caps(attempts=3)
"""Of a probe that was asked for, where each attempt compiles the network anew, which takes a minute or more."""

ONE = Caps(attempts=1)
"""Of a run in that case, and of one that is to show only that everything works: the estimate's micro-batch, if it fits."""

BAND = (0.50, 0.75)
"""Guide 000: "use 50-75 %" of the batch size at which memory runs out; here of the memory itself, by which results are placed."""


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
    GPU, and that is asked for. Where less is free than the answer needs, it is probed again.
    """
    if prepared.machine.device != "cuda" or prepared.experiment.hardware.shard:
        return None
    thorough = COMPILED if prepared.plan.compile else Caps()
    caps = ONE if prepared.loaded.name.endswith("-smoke") or (prepared.plan.compile and not asked) else thorough
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
    return Measured(probed, before=False)


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


def band_in_words(peak_bytes: int, usable_bytes: int) -> str:
    """Where a peak lies in guide 000's band."""
    share = peak_bytes / usable_bytes
    low, high = BAND
    place = "below" if share < low else "within" if share <= high else "above"
    return f"{share:.0%} of the memory, {place} guide 000's band of {low:.0%} to {high:.0%}"


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


@dataclass(frozen=True)
class ProbeReport:
    """What `ddpm-exp probe` found."""

    experiment_id: str
    measured: Measured
    estimated: Plan
    """The plan that the search began with: predicted, not measured."""

    usable_bytes: int
    emulated: bool
    """Whether the process was held to a smaller card's memory."""

    seconds: float
    """The whole search, compilation included; of a kept answer, what it took then."""

    images_per_epoch: int
    total_images: int
    timing: Timing | None = None
    """Of the whole run at the measured rate, with evaluations as they are estimated; None of an emulated card and with `smoke`."""

    @property
    def starting_seconds(self) -> float:
        """Of these, in which kernels or networks were compiled and libraries started."""
        found = self.measured.probed.found
        return sum(one.seconds for one in found.attempts) - found.seconds

    @property
    def epoch_seconds(self) -> float:
        """Of training alone, at the measured rate."""
        return self.images_per_epoch / max(1e-9, self.measured.images_per_second)

    def to_json(self) -> dict[str, Any]:
        """Plain values, for programs."""
        measured, probed = self.measured, self.measured.probed
        return {
            "experiment": self.experiment_id,
            "plan": probed.plan.model_dump(mode="json"),
            "predicted_not_measured": self.estimated.model_dump(mode="json"),
            "why": probed.found.why,
            "attempts": [
                one.to_json() | {"verdict": one.verdict(probed.limit_bytes), "left_bytes": one.left_bytes}
                for one in probed.found.attempts
            ],
            "limit_bytes": probed.limit_bytes,
            "usable_bytes": self.usable_bytes,
            "emulated": self.emulated,
            "memory": band_in_words(probed.plan.peak_bytes, self.usable_bytes),
            "images_per_second": measured.images_per_second,
            "epoch_seconds": self.epoch_seconds,
            "training_seconds": self.total_images / max(1e-9, measured.images_per_second),
            "timing": self.timing,
            "probed_before": measured.before,
            "seconds": self.seconds,
            "starting_seconds": self.starting_seconds,
        }


def probe_experiment(loaded: Loaded, options: RunOptions, display: Display, *, cached: bool = True) -> ProbeReport:
    """Find the micro-batch of `loaded` by real steps on the GPU that is here. Of `options` count `gpu`, `memory_limit` and `smoke`.

    Writes nothing but the kept answer. Raises UserError where there is no GPU, and where not even one image fits.
    """
    machine = find_machine(options)
    if machine.device != "cuda":
        raise _no_gpu()
    if options.smoke and not loaded.name.endswith("-smoke"):
        loaded = smoke(loaded)
    _refuse_spread(loaded)
    with machine.held_to_limit():
        display.phase(f"preparing {loaded.id}")
        prepared = prepare(_without_fid(loaded), machine)
        measured = measure(prepared, display, cached=cached, asked=True)
    assert measured is not None
    took = sum(one.seconds for one in measured.probed.found.attempts)
    units = prepared.units
    emulated = machine.limit_bytes is not None
    times = None
    if not (emulated or options.smoke):
        times = timing(loaded.experiment, machine.gpu, measured.plan, images_per_second=measured.images_per_second or None)
    return ProbeReport(
        loaded.id,
        measured,
        prepared.plan,
        machine.gpu.usable_bytes,
        emulated,
        took,
        units.images_per_epoch,
        units.total_images,
        times,
    )


def _without_fid(loaded: Loaded) -> Loaded:
    """FID is not tried, so its weights need not be on this machine."""
    experiment = loaded.experiment
    return replace(loaded, experiment=experiment.but(evaluation=experiment.evaluation.but(fid=None)))


def _refuse_spread(loaded: Loaded) -> None:
    if loaded.experiment.hardware.shard:
        raise UserError(
            "weights that are spread over several devices cannot be tried on one",
            field="hardware.shard",
            value=True,
            fix="`ddpm-exp check` plans it (predicted, not measured)",
        )


def _no_gpu() -> UserError:
    return UserError(
        "a probe measures real steps on a GPU, and there is none here that torch can use",
        fix="`ddpm-exp check FILE` says without one what fits which GPU (predicted, not measured); `ddpm-exp doctor` says why",
    )
