"""What `ddpm-exp probe` does and tells: an experiment's steps are tried on the GPU that is here, and nothing is trained."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from ddpm_exp.loading.loaded import Loaded
from ddpm_exp.memory.rows import Timing
from ddpm_exp.memory.timing import timing
from ddpm_exp.spec.errors import UserError
from ddpm_exp.spec.plan import Plan
from ddpm_exp.workflow.display import Display
from ddpm_exp.workflow.kept_speeds import unlike
from ddpm_exp.workflow.options import RunOptions
from ddpm_exp.workflow.prepare import find_machine, prepare
from ddpm_exp.workflow.probing import Measured, measure
from ddpm_exp.workflow.smoke import smoke

BAND = (0.50, 0.75)
"""Guide 000: "use 50-75 %" of the batch size at which memory runs out; here of the memory itself, by which results are placed."""


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
        rate = measured.images_per_second
        alike = not unlike(loaded.experiment, measured.plan, units.total_images / max(1e-9, rate))
        times = timing(loaded.experiment, machine.gpu, measured.plan, images_per_second=rate or None, as_run=alike)
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
    """Neither FID nor FD is tried, so their weights need not be on this machine."""
    experiment = loaded.experiment
    return replace(loaded, experiment=experiment.but(evaluation=experiment.evaluation.but(fid=None, fd=None)))


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


def band_in_words(peak_bytes: int, usable_bytes: int) -> str:
    """Where a peak lies in guide 000's band."""
    share = peak_bytes / usable_bytes
    low, high = BAND
    place = "below" if share < low else "within" if share <= high else "above"
    return f"{share:.0%} of the memory, {place} guide 000's band of {low:.0%} to {high:.0%}"
