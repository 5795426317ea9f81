"""The estimate where nothing is replayed, on a processor and for weights spread over GPUs: terms at the busiest moment, summed."""

from __future__ import annotations

from functools import lru_cache

from ddpm_exp.data.shapes import shape_of
from ddpm_exp.evaluation.image_features import TOGETHER
from ddpm_exp.memory.evaluating import FEWEST_FOR_FID, FEWEST_SAMPLED, SAMPLING_BATCH, measured_examples
from ddpm_exp.memory.evaluation_steps import inception_trace, inception_weights, likelihood_trace
from ddpm_exp.memory.moments import Bytes, Moments
from ddpm_exp.memory.step import Setting, sampling_trace, training_trace
from ddpm_exp.memory.terms import TERMS, Estimate
from ddpm_exp.spec.data import Shape
from ddpm_exp.spec.diffusion import Diffusion
from ddpm_exp.spec.experiment import Experiment

FRAGMENTATION = {False: 0.10, True: 0.25}
"""Reserved beyond allocated, without and with activation checkpointing."""


class Summed:
    """Peaks of one experiment beside what is `resident` at every moment. `context`: bytes that torch knows nothing of."""

    def __init__(self, experiment: Experiment, setting: Setting, resident: Bytes, context: int, *, cuda: bool) -> None:
        self._experiment, self._setting = experiment, setting
        self._resident, self._context, self._cuda = resident, context, cuda

    def estimate(self, micro_batch: int, limit: int, uncertainty: float) -> Estimate:
        """With `micro_batch` images at once; evaluations take as many at once as stay within `limit` bytes."""
        moment, living = _training(self._setting).peak(micro_batch)
        batch, sampling = self._sampling(min(FEWEST_SAMPLED, micro_batch), limit)
        fid_batch, fid = self._fid(limit)
        return Estimate(self._terms(living), sampling, batch, fid, fid_batch, moment, uncertainty)

    def _sampling(self, fewest: int, limit: int) -> tuple[int, int]:
        """Images drawn together, and the peak bytes of an evaluation that does so."""
        copies = 1 if self._experiment.sampling.guidance_scale == 1 else 2
        measured = measured_examples(self._experiment)
        batch = SAMPLING_BATCH["cuda" if self._cuda else "cpu"]
        while True:
            total = self._total(_forward(self._setting), batch * copies)
            if measured:
                bits = _likelihood(self._setting, self._experiment.diffusion)
                total = max(total, self._total(bits, min(batch, measured)))
            if batch <= fewest or total <= limit:
                return batch, total
            batch //= 2

    def _fid(self, limit: int) -> tuple[int, int]:
        """Images that go through Inception together, and the peak bytes of that; nothing without FID."""
        if self._experiment.evaluation.fid is None:
            return 0, 0
        moments = _inception(shape_of(self._experiment.data, self._experiment.condition), self._cuda)
        batch, own = TOGETHER, sum(inception_weights())
        while (total := self._total(moments, batch) + own) > limit and batch > FEWEST_FOR_FID:
            batch //= 2
        return batch, total

    def _total(self, moments: Moments, images: int) -> int:
        return sum(self._terms(moments.peak(images)[1]).values())

    def _terms(self, alive: Bytes) -> Bytes:
        terms = {term: self._resident.get(term, 0) + alive.get(term, 0) for term in TERMS}
        terms["fragmentation"] = int(FRAGMENTATION[self._experiment.model.checkpointing] * sum(terms.values()))
        terms["context"] = self._context
        return terms


@lru_cache(maxsize=128)
def _training(setting: Setting) -> Moments:
    return Moments(lambda images: training_trace(setting, images))


@lru_cache(maxsize=128)
def _forward(setting: Setting) -> Moments:
    return Moments(lambda images: sampling_trace(setting, images))


@lru_cache(maxsize=128)
def _likelihood(setting: Setting, diffusion: Diffusion) -> Moments:
    return Moments(lambda images: likelihood_trace(setting, diffusion, images))


@lru_cache(maxsize=16)
def _inception(shape: Shape, cuda: bool) -> Moments:
    return Moments(lambda images: inception_trace(shape, images, cuda=cuda))
