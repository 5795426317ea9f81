"""The form of one piece of advice and of the rule that gives it. The rules themselves are in the thematic files beside this one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Generic, NamedTuple, TypeVar

from ddpm_exp.spec.data import training_images
from ddpm_exp.spec.experiment import Experiment
from ddpm_exp.spec.model import UNet

T = TypeVar("T")


class Advice(NamedTuple):
    """Something possible that a guide advises against."""

    field: str
    """Dotted path of the field to look at."""

    value: object
    """Its value in the experiment."""

    says: str
    """What the guides say, with numbers; where they disagree, both sides."""

    guides: tuple[str, ...]
    """Guides by number ("001") and papers by name; "arithmetic" where it follows from the numbers alone."""

    fix: str
    """What to write instead."""

    def __str__(self) -> str:
        return f"{self.field} = {self.value!r}: {self.says} ({cite(self.guides)})\n  fix: {self.fix}"


def cite(guides: tuple[str, ...]) -> str:
    """`guides 001, 003; Lin et al. 2024`."""
    numbers = [guide for guide in guides if guide.isdigit()]
    words = [guide for guide in guides if not guide.isdigit()]
    head = [f"guide{'s' if len(numbers) > 1 else ''} {', '.join(numbers)}"] if numbers else []
    return "; ".join(head + words)


@dataclass(frozen=True)
class Case:
    """An experiment as the rules read it: with its amounts of training in images, steps and epochs."""

    experiment: Experiment

    host_cores: int | None = None
    """CPU cores of the machine to run on, if known; rules never ask a device."""

    @property
    def unet(self) -> UNet:
        """The network of an experiment whose network is a U-Net: for rules that read what only a U-Net has."""
        if not isinstance(self.experiment.model, UNet):
            raise TypeError(f"the network is a {self.experiment.model.kind}")
        return self.experiment.model

    @cached_property
    def images_per_epoch(self) -> int | None:
        """None for a folder without `subset`: only its disk knows."""
        return training_images(self.experiment.data)

    def images(self, amount: str) -> int | None:
        """`amount` in images, None where that takes an unknown epoch."""
        if amount.endswith("epochs") and self.images_per_epoch is None:
            return None
        return self.experiment.training.images(amount, self.images_per_epoch or 1)

    def steps(self, amount: str) -> int | None:
        """`amount` in optimizer steps."""
        images = self.images(amount)
        return None if images is None else images // self.experiment.training.images_per_step

    def epochs(self, amount: str) -> float | None:
        """`amount` in epochs."""
        images = self.images(amount)
        return None if images is None or self.images_per_epoch is None else images / self.images_per_epoch


@dataclass(frozen=True)
class Change:
    """An experiment and the baseline that it is compared with."""

    before: Experiment
    after: Experiment


@dataclass(frozen=True)
class Rule(Generic[T]):
    """One function that may give advice, with what the documentation says about it."""

    name: str
    when: str
    """When it speaks, in a few words."""

    reads: tuple[str, ...]
    """Dotted paths (or whole parts, "data") that it depends on: where a preset's source states all of them, it is silent."""

    guides: tuple[str, ...]
    """Every source that it may cite."""

    check: Callable[[T], Advice | None]


def rule(when: str, *, reads: tuple[str, ...], guides: tuple[str, ...]) -> Callable[[Callable[[T], Advice | None]], Rule[T]]:
    """Make a function that takes a `Case` (or a `Change`) into a rule of the same name."""

    def make(check: Callable[[T], Advice | None]) -> Rule[T]:
        return Rule(check.__name__, when, reads, guides, check)

    return make
