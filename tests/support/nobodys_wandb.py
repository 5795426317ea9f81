"""A fixture that keeps the W&B client away from the person who runs the tests."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest


@pytest.fixture(scope="package", autouse=True)
def nobodys_wandb(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No login, no settings and no caches of the user who runs the tests, whose folders stay untouched."""
    home = str(tmp_path_factory.mktemp("home"))
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("WANDB_")]:
            patch.delenv(name)
        for name in ("HOME", "WANDB_CONFIG_DIR", "WANDB_CACHE_DIR", "WANDB_DATA_DIR"):
            patch.setenv(name, home)
        patch.setenv("NETRC", f"{home}/netrc")
        yield
