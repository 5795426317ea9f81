"""One file of random Inception weights for all tests of FID."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from support.inception_file import write_random_inception

# One thread: these networks are so small that more threads only wait for each other.
torch.set_num_threads(1)


@pytest.fixture(scope="session")
def inception(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_random_inception(tmp_path_factory.mktemp("inception") / "inception.pth")
