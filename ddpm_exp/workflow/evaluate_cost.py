"""What an `evaluate` costs, in time and memory: said before anything is drawn, and how much is left while it goes on."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch

from ddpm_exp.data.examples import Batch, Splits
from ddpm_exp.evaluation.drawing import Artist, part_of
from ddpm_exp.evaluation.extractors import INCEPTION
from ddpm_exp.memory.estimate import estimate
from ddpm_exp.memory.evaluating import EFFICIENTNET_FLOPS, INCEPTION_FLOPS, copies_of
from ddpm_exp.memory.kernels import is_cuda
from ddpm_exp.memory.timing import RATES, drawing_seconds
from ddpm_exp.ranks.ranks import Ranks
from ddpm_exp.spec.hardware import Gpu
from ddpm_exp.spec.sampling import Sampling
from ddpm_exp.workflow.evaluate_settings import Compared
from ddpm_exp.workflow.loaded_run import LoadedRun

Say = Callable[[str], None]

_THREAD_FLOPS = 10e9
"""A second, of one thread of a processor: about 40 images of 128x128 through EfficientNet-Lite0."""

_SAY_EVERY = 30.0
"""Seconds between two words on how far a drawing is."""

_FLOATS = 12
"""Numbers of four bytes for each feature of each drawn image while distances are computed, partly in float64: of 6,000 images of
1,280 features the Frechet distance took 2.7 of them, precision and recall 7.2, beside what was there; the floor's lie beside."""

_PILOT = Sampling(steps=1, calibrate=False)


def costs(
    settings: Compared, loaded: LoadedRun, gpu: Gpu, splits: Splits, conditions: Batch, together: int, ranks: Ranks
) -> list[str]:
    """Sentences on what all of it costs, for the first network `loaded`, `together` images at once in each process. On a device
    whose rates nobody knows, one batch is sent through the network to time it; every process calls this."""
    calls = len(settings.networks) * sum(one.network_calls for one in settings.samplings) * settings.images
    each = f"{settings.count} settings x " if settings.count > 1 else ""
    on = f" on {ranks.size} devices" if ranks.size > 1 else ""
    first = f"{each}{settings.images:,} images: {calls:,} network calls{on}, for {', '.join(settings.names)}"
    return [first, _seconds(settings, loaded, gpu, splits, conditions, together, ranks), _memory(settings, loaded, gpu, ranks)]


def _seconds(
    settings: Compared, loaded: LoadedRun, gpu: Gpu, splits: Splits, conditions: Batch, together: int, ranks: Ranks
) -> str:
    work = len(settings.networks) * sum(map(work_of, settings.samplings)) * settings.images / ranks.size
    known = drawing_seconds(loaded.experiment, gpu, loaded.precision, calls=int(work), together=together)
    drawing = _timed(loaded, conditions, together) * work if known is None else known[0]
    found = f"time: about {in_words(drawing)} of drawing"
    if known is not None:
        found += f" (estimated for {gpu.name}, within a factor of {known[1]:g})"
    features = reals = 0.0
    for measure in settings.measures:
        flops = INCEPTION_FLOPS if measure.extractor.name == INCEPTION else EFFICIENTNET_FLOPS
        one = flops / (RATES.products * gpu.fp32_tflops * 1e12 if is_cuda(gpu) else _THREAD_FLOPS * torch.get_num_threads())
        features += one * settings.count * settings.images / ranks.size
        compared = len(splits.train if measure.against == "train" else splits.held_out)
        reals += one * (compared + (min(settings.images, len(splits.train)) if measure.floor else 0)) / ranks.size
    if settings.measures:
        found += (
            f", {in_words(features)} of features, and {in_words(reals)} for those of real images unless they are kept from before"
        )
    return found


def _timed(loaded: LoadedRun, conditions: Batch, together: int) -> float:
    """Seconds of one call for one image, measured; more than it takes where graphs are captured."""
    artist = loaded.artist(_PILOT.but(weights=loaded.experiment.sampling.weights), 0)
    count = min(together, len(conditions.x0))
    numbers, some = torch.arange(count), part_of(conditions, slice(0, count))
    for _ in range(2):  # the first also makes what is made once
        started = time.monotonic()
        artist.draw(loaded.network, some, numbers, held_out=False)
        seconds = time.monotonic() - started
    return seconds / count


def _memory(settings: Compared, loaded: LoadedRun, gpu: Gpu, ranks: Ranks) -> str:
    """Of the device no more than the run's own evaluations take; of the host, what all drawn images and their features are."""
    experiment = loaded.experiment.but(sampling=max(settings.samplings, key=copies_of))
    pixels = loaded.facts.shape[0] * loaded.facts.shape[1] * loaded.facts.shape[2]
    # Layers are called by their width.
    features = sum(4 * _FLOATS * int(measure.extractor.layer) for measure in settings.measures)
    host = settings.images * max(3 * 4 * pixels, 2 * pixels + features)
    device = estimate(experiment, gpu, loaded.precision, 1).sampling_bytes
    if is_cuda(gpu):
        return f"memory: at most {_gib(device)} of each GPU, and {_gib(host)} of the host for images and features"
    return f"memory: at most {_gib(device * ranks.size + host)}, of which {_gib(host)} for images and features"


def work_of(sampling: Sampling) -> int:
    """Images that go through the network for each that is drawn."""
    return sampling.network_calls * copies_of(sampling)


class Clock:
    """How far the settings are, and how long the rest takes at the pace so far."""

    def __init__(self, settings: Compared, say: Say) -> None:
        self._total, self._images, self._say = settings.count, settings.images, say
        self._left = len(settings.networks) * sum(map(work_of, settings.samplings)) * settings.images
        self._done = self._work = self._batches = self._at_once = 0
        self._most = (0, 0.0)
        self._began = self._told = self._ended = 0.0

    def begin(self, sampling: Sampling, artist: Artist) -> None:
        """The next setting is drawn."""
        self._work, self._batches = work_of(sampling) * self._images, 0
        self._at_once = min(artist.batch, -(-self._images // artist.ranks.size)) * artist.ranks.size
        self._began = self._told = time.monotonic()

    def tick(self) -> bool:
        """A batch begins; whether to stop: never."""
        now, drawn = time.monotonic(), min(self._images, self._batches * self._at_once)
        self._batches += 1
        if drawn and now - self._told >= _SAY_EVERY:
            self._told = now
            left = (now - self._began) * (self._images / drawn - 1)
            which = f"setting {self._done + 1} of {self._total}: " if self._total > 1 else ""
            self._say(f"{which}{drawn:,} of {self._images:,} images drawn, the rest in about {in_words(left)}")
        return False

    def drawn(self) -> float:
        """Seconds that the setting's drawing took."""
        self._ended = time.monotonic()
        return self._ended - self._began

    def measured(self) -> float | None:
        """The setting is measured; seconds that all others will take, None after the last."""
        self._done += 1
        self._left -= self._work
        # Of the setting with the most work: what each takes beside its calls, such as calibration, counts least there.
        self._most = max(self._most, (self._work, self._ended - self._began))
        drawing = self._most[1] * self._left / self._most[0]
        measuring = (time.monotonic() - self._ended) * (self._total - self._done)
        return drawing + measuring if self._done < self._total else None


def in_words(seconds: float) -> str:
    """A duration to read: `45 s`, `12 min`, `2.5 h`."""
    if seconds < 90:
        return f"{max(1.0, seconds):.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _gib(count: float) -> str:
    return f"{count / 2**30:.1f} GiB" if count >= 2**30 else f"{max(1.0, count / 2**20):.0f} MiB"
