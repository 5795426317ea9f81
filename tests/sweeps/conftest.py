"""An environment without anybody's W&B settings."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest


@pytest.fixture
def nobodys_wandb(tmp_path: Path) -> dict[str, str]:
    """A process environment with no login, no settings and no caches of the user, and our commands on the PATH."""
    home = tmp_path / "home"
    home.mkdir()
    clean = {name: value for name, value in os.environ.items() if not name.startswith("WANDB_")}
    folders = dict.fromkeys(("HOME", "WANDB_CONFIG_DIR", "WANDB_CACHE_DIR", "WANDB_DATA_DIR"), str(home))
    return {**clean, **folders, "NETRC": str(home / "netrc"), "PATH": f"{Path(sys.executable).parent}{os.pathsep}{clean['PATH']}"}
