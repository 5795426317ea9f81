"""Where torchvision's files lie, and its download with a clear word when it fails. Reads no images."""

from __future__ import annotations

import contextlib
import io
import socket
from collections.abc import Callable
from pathlib import Path

import torch

from ddpm_exp.spec.errors import UserError

_SECONDS = 20.0
"""After so long without a byte a download has failed; torchvision itself would wait for ever."""


def cache_folder(root: str | None) -> Path:
    """`root`, or torch's cache folder of this user (`$TORCH_HOME`, `$XDG_CACHE_HOME/torch` or `~/.cache/torch`) / datasets."""
    return Path(root).expanduser() if root is not None else Path(torch.hub.get_dir()).parent / "datasets"


def download(name: str, into: Path, fetch: Callable[[Path], object], fix: str) -> None:
    """Run torchvision's `fetch` for `into`; raise UserError with `fix` and the cause if it fails."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(_SECONDS)
    try:
        into.mkdir(parents=True, exist_ok=True)
        # torchvision prints mirrors and progress; a failure is told below, in one sentence.
        with contextlib.redirect_stdout(io.StringIO()):
            fetch(into)
    except (OSError, RuntimeError, EOFError) as error:
        raise UserError(
            f"{name} is not in {into}, and downloading it failed ({_reason(error)})",
            field="data.root",
            value=str(into),
            fix=fix,
        ) from error
    finally:
        socket.setdefaulttimeout(before)


def _reason(error: BaseException) -> str:
    text = str(error).strip().splitlines()
    return text[-1].strip() if text else type(error).__name__
