"""The start of a sitting: size the plan to the GPU, then make a new run directory or resume an old one."""

from __future__ import annotations

import sys
from dataclasses import replace

from ddpm_exp.checkpoints.store import latest
from ddpm_exp.loading.diff import diff_experiments
from ddpm_exp.memory.terms import in_words
from ddpm_exp.ranks.ranks import SINGLE, Ranks
from ddpm_exp.records.capture import command_line, git_facts, host_facts, package_versions
from ddpm_exp.records.manifest import Manifest
from ddpm_exp.records.run_directory import RunDirectory
from ddpm_exp.spec.base import Role
from ddpm_exp.spec.errors import UserError
from ddpm_exp.spec.identity import criteria_hash, flat, science_hash
from ddpm_exp.spec.plan import Plan
from ddpm_exp.training.state import restore
from ddpm_exp.training.trainer import Trainer
from ddpm_exp.workflow.assemble import Runtime
from ddpm_exp.workflow.compiling import choose
from ddpm_exp.workflow.display import Display
from ddpm_exp.workflow.jobs import FRESH
from ddpm_exp.workflow.options import RunOptions
from ddpm_exp.workflow.prepare import Prepared
from ddpm_exp.workflow.probing import in_one_line, measure
from ddpm_exp.workflow.recorded import keep_data
from ddpm_exp.workflow.short_of_memory import halved_before
from ddpm_exp.workflow.spread_state import restore_together


def size_to_gpu(prepared: Prepared, run: RunDirectory | None, display: Display, ranks: Ranks = SINGLE) -> Prepared:
    """On CUDA, the plan measured by real steps, compiled if that pays (or if `run`, which is resumed, is); on the CPU, the
    plan as it is. Of several processes, each tries its share of a step alone, and all take the smallest micro-batch.

    A run that is resumed keeps its micro-batch if it fits: sliced otherwise, its results would differ by rounding. Where memory
    ran out in it, that is the one that was left.
    """
    halved: int | None = ranks.share(halved_before(run, prepared))
    if halved is not None:
        display.note(f"{halved} at once, as memory ran out in this run before; another hardware.micro_batch is taken as written")
    found = _measured(prepared, run, display, halved or ranks.share(micro_batch_of(run, prepared.plan)))
    micro = int(-ranks.largest(-min(found.micro_batch, halved or found.micro_batch)))
    smallest = found.but(micro_batch=micro, accumulation=found.images_per_step // found.devices // micro)
    return replace(prepared, plan=Plan.model_validate(ranks.share(smallest.model_dump())))


def micro_batch_of(run: RunDirectory | None, plan: Plan) -> int | None:
    """The micro-batch that `run` began with, if that was on a GPU such as `plan` is for."""
    before = {} if run is None else run.manifest.plan
    micro = before.get("micro_batch")
    return micro if isinstance(micro, int) and before.get("gpu") == plan.gpu else None


def _measured(prepared: Prepared, run: RunDirectory | None, display: Display, given: int | None) -> Plan:
    limit = prepared.machine.limit_bytes
    if limit is not None:
        display.note(f"this process gets {in_words(limit)} of the GPU's memory, as if it were a smaller card")
    measured = measure(prepared, display, given=given)
    if measured is None:
        return prepared.plan
    display.note(in_one_line(measured))
    plan = measured.plan
    if run is not None:
        return plan.but(compile=run.manifest.plan.get("compile", False))
    if prepared.experiment.hardware.compile != "auto":
        return plan
    choice = choose(prepared.experiment, prepared.units.total_images / max(1e-9, measured.images_per_second))
    display.note(choice.why)
    return plan.but(compile=choice.compile)


def begin(
    prepared: Prepared, runtime: Runtime, run: RunDirectory | None, seed: int, options: RunOptions, display: Display
) -> RunDirectory:
    """The run directory to write into, with `runtime` at the point where it goes on."""
    if run is not None:
        _require_own_noise(run)
        keep_data(run, prepared.splits, runtime.artist.reference)
        if _restored(runtime.trainer, run, display):
            tail = run.metrics.cut(runtime.trainer.images_seen)
            display.note(f"resuming {run.path} at {runtime.trainer.images_seen:,} images")
            if tail is not None:
                display.note(f"what was recorded after that checkpoint is kept in {tail.name}")
            return run
        display.note(f"{run.path} has no checkpoint; starting it from its beginning")
        run.metrics.cut(-1)
        return run
    if runtime.trainer.spread:
        restore_together(runtime.trainer, None)
    manifest = _manifest(prepared, seed, options)
    run = RunDirectory.create(options.root, manifest.experiment, manifest.science_hash, seed, manifest)
    keep_data(run, prepared.splits, runtime.artist.reference)
    if options.fresh:
        run.set_status("running", **{FRESH: True})
    display.note(f"recording to {run.path}")
    return run


def _require_own_noise(run: RunDirectory) -> None:
    """Raise UserError where `run` was begun when every run was evaluated with the same noise: it would end with another one."""
    if run.manifest.evaluation_noise != "per-seed":
        raise UserError(
            "this run was begun when evaluations of every seed had the same noise; now each seed has its own, and a run with both "
            "would compare two noises where it means to compare two moments",
            field=str(run.path),
            fix="start it anew with --fresh",
        )


def _restored(trainer: Trainer, run: RunDirectory, display: Display) -> bool:
    """Whether there was a checkpoint, from which `trainer` now goes on."""
    if trainer.spread:
        return restore_together(trainer, run.checkpoints, display.warn)
    found = latest(run.checkpoints, on_broken=lambda error: display.warn(str(error)))
    if found is not None:
        restore(trainer, found[1])
    return found is not None


def _manifest(prepared: Prepared, seed: int, options: RunOptions) -> Manifest:
    loaded, experiment, baseline = prepared.loaded, prepared.experiment, prepared.loaded.baseline
    changes = diff_experiments(baseline.experiment, experiment) if baseline else ()
    return Manifest(
        experiment=loaded.name,
        experiment_id=loaded.id,
        class_name=loaded.class_name,
        science_hash=prepared.science_hash,
        criteria_hash=criteria_hash(experiment),
        seed=seed,
        config=flat(experiment, roles=frozenset({Role.SCIENCE, Role.EXECUTION})) | {"training.precision": prepared.plan.precision},
        diff=[{"path": change.path, "before": change.before, "after": change.after} for change in changes],
        baseline_id=baseline.id if baseline else None,
        baseline_hash=science_hash(baseline.experiment, prepared.plan.precision) if baseline else None,
        precision=prepared.plan.precision,
        plan=prepared.plan.model_dump(mode="json"),
        evaluation_noise="per-seed",
        data_fingerprint=prepared.splits.fingerprint,
        units=prepared.units,
        overrides=list(loaded.overrides),
        sources=loaded.sources,
        command_line=command_line(options.command_line or sys.argv),
        git=git_facts(loaded.path.parent),
        packages=package_versions(),
        host=host_facts(prepared.machine.facts),
        decision=experiment.decision.model_dump(mode="json") if experiment.decision else None,
        job_type="variant" if baseline else "baseline",
        arm_of=[loaded.name],
    )
