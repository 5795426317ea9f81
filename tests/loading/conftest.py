"""A folder of experiment files, written by each test."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

Write = Callable[..., Path]

PARENT = """
    from ddpm_exp import Diffusion, Experiment, Training


    class Conservative(Experiment):
        diffusion = Diffusion(schedule="cosine", timesteps=500)
        training = Training(
            images_per_step=32,
            learning_rate=1e-4,
        )
"""


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """`write(name, text)` puts a file into experiments/ of an empty working folder and returns its path."""
    monkeypatch.chdir(tmp_path)
    folder = Path("experiments")
    folder.mkdir()

    def put(name: str, text: str) -> Path:
        file = folder / name
        file.write_text(textwrap.dedent(text).lstrip("\n"), encoding="utf-8")
        return file

    return put


@pytest.fixture
def parent(write: Write) -> Path:
    """experiments/adr_0001.py: the class Conservative."""
    return write("adr_0001.py", PARENT)
