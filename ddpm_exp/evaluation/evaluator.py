"""One evaluation of a network: validation errors, bits per dimension, drawn samples, their measures and their pictures."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import nn

from ddpm_exp.data.examples import Splits
from ddpm_exp.diffusion import draws
from ddpm_exp.evaluation.asked import Asked, ask
from ddpm_exp.evaluation.drawing import Artist
from ddpm_exp.evaluation.likelihood import likelihood
from ddpm_exp.evaluation.measuring import Measuring
from ddpm_exp.evaluation.portrait import Portrait
from ddpm_exp.evaluation.validation import validate
from ddpm_exp.spec.condition import Condition
from ddpm_exp.spec.data import Family
from ddpm_exp.spec.evaluation import Evaluation


@dataclass(frozen=True)
class Evaluated:
    """Numbers by catalogue name, and PNG pictures by file stem with a caption."""

    values: dict[str, float]
    pictures: dict[str, tuple[bytes, str]]
    drawn: torch.Tensor
    """[N, *shape] fp32 on the CPU: samples in the data's own proportions; the grid's where there are no others."""


@dataclass
class Evaluator:
    """Measures networks on `splits` as `spec` says; prepares what does not depend on the network once, on first use."""

    spec: Evaluation
    splits: Splits
    artist: Artist
    condition: Condition
    """What the network is told."""

    family: Family = "image"
    note: Callable[[str], None] = lambda text: None
    _asked: Asked = field(init=False)

    def __post_init__(self) -> None:
        held_out = self.splits.held_out
        count = min(self.spec.held_out, len(held_out))
        self._held_out = held_out.batch(slice(0, count))  # on the host: the device would keep them through all of the training
        self._asked = ask(self.condition, self.splits.train, held_out, samples=self.spec.samples, columns=self.spec.grid_columns)
        self._measuring = Measuring(self.spec, self.splits, self.condition, self.family, self.artist.conditions, self.note)
        self._portrait = Portrait(self.spec, self.splits, self.condition, self.family, self.artist.conditions)

    def evaluate(self, network: nn.Module, title: str) -> Evaluated:
        """All measures of `network` and its pictures: the samples, and reconstructions where examples are images."""
        errors = validate(network, self._held_out, self.artist, self.spec)
        drawn = self.artist.draw(network, self._asked.batch, self._asked.noises, held_out=True)
        values = errors.values | self._bits(network) | (self._measuring.of(drawn, self._asked) if self.spec.samples else {})
        pictures = {"samples": (self._portrait.samples(drawn, self._asked, title), f"samples, {title}")}
        if self.family == "image":
            pictures["reconstructions"] = (
                self._portrait.reconstructions(errors.reconstructions, title),
                f"reconstructions, {title}",
            )
        return Evaluated(values, pictures, drawn[self._asked.own] if len(self._asked.own) else drawn)

    def assist(self, network: nn.Module) -> None:
        """This process's share of an `evaluate` that the first process does at the same time."""
        validate(network, self._held_out, self.artist, self.spec)
        self.artist.draw(network, self._asked.batch, self._asked.noises, held_out=True)
        self._bits(network)

    def _bits(self, network: nn.Module) -> dict[str, float]:
        count = min(self.spec.likelihood, len(self.splits.held_out))
        if not count:
            return {}
        measured = self.splits.held_out.batch(slice(0, count))
        return likelihood(network, measured, self.artist, self.spec.likelihood_terms)

    def of_noise(self) -> dict[str, float]:
        """The `samples/*` measures of white noise in place of drawn samples, named `noise/...`."""
        if not self.spec.samples:
            return {}
        noise = draws.normal(self.artist.seed, "sample/start", self._asked.noises, self.artist.shape)
        found = self._measuring.of(noise.clamp(-1, 1) if self.artist.clamp else noise, self._asked).items()
        return {f"noise/{name}": value for name, value in found if not name.endswith("_of_real")}
