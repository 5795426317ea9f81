"""An experiment made in a test, prepared for this machine's CPU without a file."""

from __future__ import annotations

from pathlib import Path

from ddpm_exp.loading.loaded import Loaded
from ddpm_exp.spec.experiment import Experiment
from ddpm_exp.spec.hardware import find_gpu
from ddpm_exp.spec.identity import science_hash
from ddpm_exp.spec.plan import Plan
from ddpm_exp.workflow.prepare import Machine, Prepared, lengths, load_data


def prepared_on_cpu(experiment: Experiment) -> Prepared:
    """One micro-batch per step, fp32, no memory estimate."""
    loaded = Loaded(experiment, "test", "test", "Test", Path("test.py"), {}, None, {}, ())
    splits = load_data(experiment.data, experiment.condition)
    step = experiment.training.images_per_step
    plan = Plan(
        gpu="cpu",
        device="cpu",
        precision="fp32",
        images_per_step=step,
        micro_batch=step,
        accumulation=1,
        usable_bytes=2**30,
        peak_bytes=2**20,
        uncertainty=0.1,
        source="estimated",
    )
    machine = Machine(find_gpu("cpu"), "cpu", {})
    return Prepared(loaded, machine, plan, splits, lengths(experiment, len(splits.train)), science_hash(experiment, "fp32"))
