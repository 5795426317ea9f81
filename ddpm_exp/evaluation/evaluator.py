"""One evaluation of a network: validation errors, drawn images, their measures and their pictures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import nn

from ddpm_exp.data.images import ImageSet, Splits
from ddpm_exp.data.pixels import to_model_range, to_uint8
from ddpm_exp.diffusion import draws
from ddpm_exp.evaluation import measures
from ddpm_exp.evaluation.classifier import Judge, fit_judge
from ddpm_exp.evaluation.drawing import EVALUATION_SEED, Artist
from ddpm_exp.evaluation.pictures import grid
from ddpm_exp.evaluation.validation import HeldOut, validate
from ddpm_exp.spec.evaluation import Evaluation


@dataclass(frozen=True)
class Evaluated:
    """Numbers by catalogue name, and PNG pictures by file stem with a caption."""

    values: dict[str, float]
    pictures: dict[str, tuple[bytes, str]]


@dataclass
class Evaluator:
    """Measures networks on `splits` as `spec` says; prepares what does not depend on the network once, on first use."""

    spec: Evaluation
    splits: Splits
    artist: Artist
    conditional: bool
    """Whether the network is told a class or a prompt."""

    note: Callable[[str], None] = lambda text: None
    _judge: Judge | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        held_out: ImageSet = self.splits.held_out
        count = min(self.spec.held_out, len(held_out.images))
        labels = held_out.labels if held_out.labels is not None else torch.zeros(len(held_out.images), dtype=torch.long)
        self._held_out = HeldOut(to_model_range(held_out.images[:count]).to(self.artist.device), labels[:count])
        self._real_coherence = measures.coherence(to_model_range(held_out.images[:count]))
        self._classes = len(held_out.class_names) if self.conditional else 1

    def evaluate(self, network: nn.Module, title: str) -> Evaluated:
        """All measures of `network` and two pictures: the sample grid and the reconstructions."""
        errors = validate(network, self._held_out, self.artist, self.spec)
        labels, noises = self._asked()
        drawn = self.artist.draw(network, labels, noises, held_out=True)
        values = errors.values | self._measure(drawn, labels)
        pictures = {
            "samples": (self._sample_grid(drawn, labels, title), f"samples, {title}"),
            "reconstructions": (self._reconstruction_picture(errors.reconstructions, title), f"reconstructions, {title}"),
        }
        return Evaluated(values, pictures)

    def of_noise(self) -> dict[str, float]:
        """The `samples/*` measures of white noise in place of drawn images, named `noise/...`."""
        labels, noises = self._asked()
        shape = tuple(self.artist.shape)
        noise = draws.normal(EVALUATION_SEED, "sample/start", noises, shape).clamp(-1, 1)
        found = self._measure(noise, labels).items()
        return {f"noise/{name}": value for name, value in found if not name.endswith("_of_real")}

    def _asked(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Classes and noise numbers to draw, each noise for every class in turn."""
        per_class = max(self.spec.grid_columns, self.spec.samples // self._classes)
        if not self.conditional:
            per_class = max(self.spec.grid_columns**2, self.spec.samples)
        numbers = torch.arange(per_class)
        return torch.arange(self._classes).repeat(per_class), numbers.repeat_interleave(self._classes)

    def _measure(self, drawn: torch.Tensor, labels: torch.Tensor) -> dict[str, float]:
        if not self.spec.samples:
            return {}
        found = measures.coherence(drawn)
        values = {"samples/coherence": found, "samples/coherence_of_real": found / self._real_coherence}
        if self.conditional and self._classes > 1:
            real = measures.distance_between_classes(self._held_out.images.cpu(), self._held_out.labels)
            values["samples/prompt_distance"] = measures.distance_between_conditions(drawn, self._classes) / real
            if self.spec.classifier:
                values["samples/class_accuracy"] = self.judge.accuracy(to_uint8(drawn), labels)
                values["samples/class_accuracy_of_real"] = self.judge.accuracy_on_real
        return values

    @property
    def judge(self) -> Judge:
        """The classifier, fitted on first use."""
        if self._judge is None:
            self.note("fitting the independent classifier on real images")
            self._judge = fit_judge(self.splits.train, self.splits.held_out)
        return self._judge

    def _sample_grid(self, drawn: torch.Tensor, labels: torch.Tensor, title: str) -> bytes:
        columns = self.spec.grid_columns
        if not self.conditional:
            return grid(drawn[: columns**2].reshape(columns, columns, *drawn.shape[1:]), [""] * columns, title)
        rows = drawn[: columns * self._classes].reshape(columns, self._classes, *drawn.shape[1:]).transpose(0, 1)
        first_wording = torch.zeros(self._classes, dtype=torch.long)
        captions = self.artist.conditions.texts(labels[: self._classes], held_out=True, turns=first_wording)
        return grid(rows, captions, title)

    def _reconstruction_picture(self, pictures: torch.Tensor, title: str) -> bytes:
        captions: Sequence[str] = ["held-out image"]
        for level in self.spec.reconstruction_log_snr:
            captions = [*captions, f"log-SNR {level:g}", "reconstruction"]
        return grid(pictures, captions, title)
