"""How often the evaluations of an experiment ask the network, about how many examples, and how many at once. Draws nothing."""

from __future__ import annotations

from typing import NamedTuple

from ddpm_exp.spec.condition import parts_of
from ddpm_exp.spec.data import class_count, training_images
from ddpm_exp.spec.experiment import Experiment
from ddpm_exp.spec.sampling import Sampling

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

INCEPTION_FLOPS = 11.4e9
"""Of one image of 299x299 (5.7 billion multiplications and as many additions)."""

EFFICIENTNET_FLOPS = 0.25e9
"""Of one image of 128x128 by EfficientNet-Lite0, counted likewise."""

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
    at_end: int
    """Samples drawn for FID and FD at the end."""
    feature_flops: float
    """Of all features that are extracted then, those of the reals included."""


def asked_by(experiment: Experiment, times: int) -> Asked:
    """What `times` evaluations ask."""
    spec, sampling = experiment.evaluation, experiment.sampling
    terms = experiment.diffusion.timesteps if spec.likelihood_terms is None else spec.likelihood_terms
    return Asked(
        times=times,
        samples=_samples(experiment),
        asks=sampling.network_calls,
        copies=copies_of(sampling),
        held_out=min(spec.held_out, _HELD_OUT),
        levels=1 + len(spec.log_snr) + len(spec.reconstruction_log_snr),
        likelihood=measured_examples(experiment),
        terms=terms + 1,
        at_end=(spec.fid.images if spec.fid else 0) + (spec.fd.images if spec.fd else 0),
        feature_flops=_feature_flops(experiment),
    )


def copies_of(sampling: Sampling) -> int:
    """How often the network sees each sample in an evaluation: twice where guidance sends it without its condition, too."""
    return 1 if sampling.guidance_scale == 1 else 2


def costs_at_end(experiment: Experiment) -> tuple[str, ...]:
    """What distances in features cost once, at the end of a run: a sentence for each."""
    spec, calls = experiment.evaluation, experiment.sampling.network_calls
    found = []
    for field, images in (("fid", spec.fid.images if spec.fid else 0), ("fd", spec.fd.images if spec.fd else 0)):
        if images:
            found.append(f"evaluation.{field} draws {images:,} images at the end of a run, {images * calls:,} network calls")
    return tuple(found)


def _feature_flops(experiment: Experiment) -> float:
    """FID compares with all training images, FD with the held-out ones and with as many training images as it draws."""
    spec, training = experiment.evaluation, training_images(experiment.data)
    through_inception = 0 if spec.fid is None else spec.fid.images + (training or spec.fid.images)
    through_efficientnet = 0 if spec.fd is None else 2 * spec.fd.images + _HELD_OUT
    return through_inception * INCEPTION_FLOPS + through_efficientnet * EFFICIENTNET_FLOPS


def measured_examples(experiment: Experiment) -> int:
    """Examples whose bits per dimension are measured."""
    return min(experiment.evaluation.likelihood, _HELD_OUT)


def _samples(experiment: Experiment) -> int:
    """Drawn at each evaluation (`ddpm_exp.evaluation.asked`), but for the few more of classes that are rarer than the others."""
    columns, samples = experiment.evaluation.grid_columns, experiment.evaluation.samples
    kinds = {part.kind for part in parts_of(experiment.condition)}
    if not kinds:
        return max(columns**2, samples)
    if kinds <= {"class", "prompt"}:
        return (class_count(experiment.data) or _CLASSES) * columns + samples
    if kinds == {"values"}:
        return _VALUE_ROWS * columns + samples
    return max(columns, samples)
