"""Experiment files that train within a second, and what their runs left behind."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from ddpm_exp.checkpoints.store import latest
from ddpm_exp.records.events import Event
from ddpm_exp.records.run_directory import RunDirectory
from ddpm_exp.workflow.display import Progress, Quiet

_TINY = '''"""A baseline small enough to train within a test."""

from ddpm_exp import (
    ClassLabels, Decision, Diffusion, Digits, Evaluation, Experiment, ImageFolder, Prompts, Sampling, Shards, Tracking,
    Training, UNet, metric,
)


class Tiny(Experiment):
    """Twelve steps, three epochs, on a few digits."""

    data = Digits(subset=32)
    condition = ClassLabels()
    diffusion = Diffusion(schedule="cosine", timesteps=20)
    model = UNet(
        base_channels=8, multipliers=(1, 2), blocks_per_level=1, attention_resolutions=(), groups=8, time_embedding=16
    )
    training = Training(
        images_per_step=8, duration="12 steps", learning_rate=1e-3, warmup="2 steps", rate="cosine",
        log_every="3 steps", checkpoint_every="4 steps", ema_half_life="40 images",
    )
    sampling = Sampling(steps=2)
    evaluation = Evaluation(
        every="6 steps", held_out=16, samples=20, grid_columns=2, classifier=False, log_snr=(0.0,),
        reconstruction_log_snr=(0.0,),
    )
    tracking = Tracking(wandb="off")
    decision = Decision(
        title="A tiny start", context="Tests.", chosen="As little as possible.", seeds=(0, 1),
        accept_when=(metric("val/denoising") <= 1e6,),
    )
'''

_VARIANT = '''"""The tiny experiment with another rate."""

from adr_0001 import Tiny

base = Tiny()


class Faster(Tiny):
    """Identical but for the rate."""

    training = base.training.but(learning_rate=3e-3)
    decision = base.decision.but(title="A faster start", {decision})
'''


def write_tiny(folder: Path, *more: str) -> Path:
    """folder/adr_0001.py, with further lines in the class that override those before."""
    folder.mkdir(exist_ok=True)
    path = folder / "adr_0001.py"
    path.write_text(_TINY + "".join(f"    {line}\n" for line in more))
    return path


def write_variant(folder: Path, decision: str = "seeds=(0, 1)") -> Path:
    """folder/adr_0002.py, which builds on adr_0001.py beside it."""
    path = folder / "adr_0002.py"
    path.write_text(_VARIANT.replace("{decision}", decision))
    return path


class Watching(Quiet):
    """A display that keeps every line and calls `on_progress(images)` and `on_phase(text)` from within the run."""

    def __init__(
        self, on_progress: Callable[[int], None] = lambda images: None, on_phase: Callable[[str], None] = lambda text: None
    ) -> None:
        self.lines: list[str] = []
        self._on_progress, self._on_phase = on_progress, on_phase

    def phase(self, text: str) -> None:
        """Something begins."""
        self.lines.append(text)
        self._on_phase(text)

    def progress(self, progress: Progress) -> None:
        """Training went on."""
        self._on_progress(progress.images)

    def note(self, text: str) -> None:
        """A fact."""
        self.lines.append(text)

    def warn(self, text: str) -> None:
        """A warning."""
        self.lines.append(f"warning: {text}")

    @property
    def text(self) -> str:
        """Everything said."""
        return "\n".join(self.lines)


def final_tensors(run: Path) -> dict[str, Any]:
    """Every tensor of the last checkpoint, by dotted name: weights, averages, optimizer, loss scale, statistics."""
    found = latest(RunDirectory.open(run).checkpoints)
    assert found is not None
    return {"images_seen": found[1].images_seen, **_flat(found[1].tensors, "")}


def _flat(value: Any, name: str) -> dict[str, Any]:
    if isinstance(value, dict):
        parts = value.items()
    elif isinstance(value, list | tuple):
        parts = enumerate(value)  # type: ignore[assignment]
    else:
        return {name: value}
    return {key: leaf for part, item in parts for key, leaf in _flat(item, f"{name}.{part}").items()}


def assert_same_tensors(a: Path, b: Path) -> None:
    """Both runs ended with bit-equal state."""
    ours, theirs = final_tensors(a), final_tensors(b)
    assert ours.keys() == theirs.keys()
    assert any(name.startswith(".ema.") for name in ours) and any(name.startswith(".optimizer.state.") for name in ours)
    for name, value in ours.items():
        same = torch.equal(value, theirs[name]) if isinstance(value, torch.Tensor) else value == theirs[name]
        assert same, name


def rows(run: Path) -> list[tuple[int, dict[str, float]]]:
    """The metrics in order, without what a clock or a memory says."""
    kept = [
        (row.images, {name: value for name, value in row.values.items() if not name.startswith(("speed/", "memory/"))})
        for row in RunDirectory.open(run).metrics.read()
    ]
    assert kept
    return kept


def happened(run: Path) -> list[Event]:
    """The events of a run but for its symptoms: what so short a training draws is noise, and is said to be."""
    return [event for event in RunDirectory.open(run).events.read() if event.kind != "symptom"]
