"""The circumstances of a run: repository, package versions, machine, command line; all without secrets and host names."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ddpm_exp.records.manifest import GitFacts
from ddpm_exp.records.redaction import redact, redact_all, redact_command

PACKAGES = ("ddpm-exp", "torch", "torchvision", "numpy", "scipy", "scikit-learn", "pydantic", "wandb", "torch-fidelity", "pillow")
PATCH_LIMIT = 1_000_000
"""Longest patch that is kept, in bytes."""


def git_facts(folder: Path | str = ".") -> GitFacts:
    """The repository around `folder`; empty facts where there is no git or no repository. Never asks for a password."""
    sha = _git(folder, "rev-parse", "HEAD")
    if sha is None:
        return GitFacts()
    patch = _git(folder, "diff", "HEAD", "--no-ext-diff", "--no-textconv", "--no-color") or ""
    cut = len(patch.encode()) > PATCH_LIMIT
    if cut:
        patch = patch.encode()[:PATCH_LIMIT].decode(errors="ignore")
    branch = _git(folder, "rev-parse", "--abbrev-ref", "HEAD")
    remote = _git(folder, "config", "--get", "remote.origin.url")
    return GitFacts(
        sha=sha.strip(),
        branch=redact(branch.strip()) if branch else None,
        remote=redact(without_credentials(remote.strip())) if remote else None,
        dirty_patch=redact(patch) or None,
        patch_cut=cut,
    )


def without_credentials(url: str) -> str:
    """`url` without user, password and query: `https://user:token@host/x` is `https://host/x`."""
    return re.sub(r"^([a-zA-Z][\w+.-]*://)[^/@]*@", r"\1", url.split("?")[0])


def _git(folder: Path | str, *words: str) -> str | None:
    # GIT_OPTIONAL_LOCKS: looking must not touch the index of a repository that the user works in.
    environment = {**os.environ, "GIT_OPTIONAL_LOCKS": "0", "GIT_TERMINAL_PROMPT": "0"}
    try:
        done = subprocess.run(["git", *words], cwd=folder, env=environment, capture_output=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.decode(errors="replace") if done.returncode == 0 else None


def package_versions() -> dict[str, str]:
    """Versions of Python and of the packages that results depend on; missing packages are left out."""
    versions = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions


def host_facts(device: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """System, processor, cores and memory, and `device` as the caller found it (name, memory, driver)."""
    import psutil

    return {
        "system": f"{platform.system()} {platform.release()}",
        "machine": platform.machine(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "memory_bytes": int(psutil.virtual_memory().total),
        "device": redact_all(dict(device or {})),
    }


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor()


def command_line(words: Sequence[str] | None = None) -> list[str]:
    """The command that started this process, without secrets and without the folder of the program."""
    program, *rest = list(sys.argv if words is None else words) or [""]
    return redact_command([Path(program).name, *rest])
