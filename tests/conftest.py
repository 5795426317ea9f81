"""What holds for every test: nothing is read from or left in the cache of whoever runs them."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    before = os.environ.get("DDPM_EXP_CACHE")
    os.environ["DDPM_EXP_CACHE"] = str(tmp_path_factory.mktemp("cache"))
    yield
    if before is None:
        del os.environ["DDPM_EXP_CACHE"]
    else:
        os.environ["DDPM_EXP_CACHE"] = before
