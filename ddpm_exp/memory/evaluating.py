"""How often the evaluations of an experiment ask the network, about how many examples, and how many at once. Draws nothing."""

from __future__ import annotations

from typing import NamedTuple

from ddpm_exp.spec.condition import parts_of
from ddpm_exp.spec.data import class_count, training_images
from ddpm_exp.spec.experiment import Experiment

SAMPLING_BATCH = {"cuda": 256, "cpu": 64}
"""Images that evaluation draws together where memory allows."""

FEWEST_SAMPLED = 16
"""A plan leaves room to draw this many together (or a micro-batch, if that is fewer): one by one would take too long."""

FEWEST_FOR_FID = 8
"""Images for which a plan leaves room in FID's network; more go together where memory allows."""

_CLASSES = 10
"""Assumed where only files tell how many there are."""

_VALUE_ROWS = 8
"""Values that take turns in a grid (`ddpm_exp.evaluation.asked`)."""

_INCEPTION_FLOPS = 11.4e9
"""Of one image of 299x299 (5.7 billion multiplications and as many additions)."""

_HELD_OUT = 10_000
"""Assumed where only files tell how many there are; a larger `held_out` is cut to what there is."""


class Asked(NamedTuple):
    """The evaluations of one run."""

    times: int
    """Evaluations, the one before the first step and the one at the end included."""
    samples: int
    """Drawn at each."""
    asks: int
    """Evaluations of the network for each sample."""
    copies: int
    """2 where guidance sends everything twice."""
    held_out: int
    levels: int
    """Evaluations of the network for each held-out example."""
    likelihood: int
    terms: int
    """Examples whose likelihood is measured, and evaluations for each."""
    fid: int
    """Samples drawn for FID at the end."""
    through_inception: int
    inception_flops: float = _INCEPTION_FLOPS


def asked_by(experiment: Experiment, times: int) -> Asked:
    """What `times` evaluations ask."""
    spec, sampling = experiment.evaluation, experiment.sampling
    twice = sampling.sampler in ("heun", "edm-stochastic")
    fid = 0 if spec.fid is None else spec.fid.images
    terms = experiment.diffusion.timesteps if spec.likelihood_terms is None else spec.likelihood_terms
    return Asked(
        times=times,
        samples=_samples(experiment),
        asks=2 * sampling.steps - 1 if twice else sampling.steps,
        copies=1 if sampling.guidance_scale == 1 else 2,
        held_out=min(spec.held_out, _HELD_OUT),
        levels=1 + len(spec.log_snr) + len(spec.reconstruction_log_snr),
        likelihood=measured_examples(experiment),
        terms=terms + 1,
        fid=fid,
        through_inception=fid + (training_images(experiment.data) or fid if fid else 0),
    )


def measured_examples(experiment: Experiment) -> int:
    """Examples whose bits per dimension are measured."""
    return min(experiment.evaluation.likelihood, _HELD_OUT)


def _samples(experiment: Experiment) -> int:
    columns, samples = experiment.evaluation.grid_columns, experiment.evaluation.samples
    kinds = {part.kind for part in parts_of(experiment.condition)}
    if not kinds:
        return max(columns**2, samples)
    if kinds <= {"class", "prompt"}:
        rows = class_count(experiment.data) or _CLASSES
        return rows * max(columns, samples // rows)
    if kinds == {"values"}:
        return _VALUE_ROWS * max(columns, samples // _VALUE_ROWS)
    return max(columns, samples)
