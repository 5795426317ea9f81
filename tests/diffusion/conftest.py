"""What the tests of this room share."""

from __future__ import annotations

import pytest
import torch
from support.known_data import FiniteData, GaussianData

# One thread: these tensors are so small that more threads only wait for each other.
torch.set_num_threads(1)


@pytest.fixture
def gaussian() -> GaussianData:
    """Data of one normal distribution, element by element."""
    return GaussianData()


@pytest.fixture
def finite() -> FiniteData:
    """Data of four points, element by element."""
    return FiniteData()
