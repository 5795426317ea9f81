"""A tiny experiment that trains in a second, and a way to call the program in a folder of its own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

from ddpm_exp.cli.main import app

TINY = '''"""A baseline small enough to train within a test."""

from ddpm_exp import (
    ClassLabels, Decision, Diffusion, Digits, Evaluation, Experiment, Sampling, Tracking, Training, UNet, metric,
)


class Tiny(Experiment):
    """Four steps on a few digits."""

    data = Digits(subset=40)
    condition = ClassLabels()
    diffusion = Diffusion(schedule="cosine", timesteps=100)
    model = UNet(
        base_channels=8, multipliers=(1, 2), blocks_per_level=1, attention_resolutions=(), groups=8, time_embedding=16
    )
    training = Training(
        images_per_step=10, duration="4 steps", log_every="1 steps", checkpoint_every="2 steps", ema_half_life="20 images"
    )
    sampling = Sampling(steps=2)
    evaluation = Evaluation(
        every="4 steps", held_out=8, samples=0, grid_columns=1, classifier=False, log_snr=(0.0,), reconstruction_log_snr=(0.0,)
    )
    tracking = Tracking(wandb="off")
    decision = Decision(
        title="A tiny start", context="Tests.", chosen="As little as possible.", seeds=(0, 1),
        accept_when=({accept}), reject_when=({reject}),
    )
'''

HARDER = '''"""The tiny experiment with another rate."""

from adr_0001 import Tiny

base = Tiny()


class Harder(Tiny):
    """Identical but for the rate."""

    training = base.training.but(learning_rate=1e-3)
'''


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with experiments/adr_0001.py and adr_0002.py, which builds on it."""
    experiments = tmp_path / "experiments"
    experiments.mkdir()
    write_tiny(experiments / "adr_0001.py")
    (experiments / "adr_0002.py").write_text(HARDER)
    monkeypatch.chdir(tmp_path)
    return tmp_path


HOLDS = 'metric("val/denoising") <= 1e6,'
FAILS = 'metric("val/denoising") >= 1e6,'


def write_tiny(path: Path, *, accept: str = HOLDS, reject: str = "") -> None:
    """The tiny experiment with one criterion for acceptance, and one for rejection or none."""
    path.write_text(TINY.replace("{accept}", accept).replace("{reject}", reject))


@pytest.fixture
def program() -> Callable[..., SimpleNamespace]:
    """Calls `ddpm-exp` in this process: `program("show", "1")` has exit_code, stdout, stderr."""

    def call(*words: str) -> SimpleNamespace:
        done = CliRunner().invoke(app, list(words), prog_name="ddpm-exp", env={"COLUMNS": "200"})
        if done.exception is not None and not isinstance(done.exception, SystemExit):
            raise done.exception
        return SimpleNamespace(exit_code=done.exit_code, stdout=done.stdout, stderr=done.stderr)

    return call
