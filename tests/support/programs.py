"""The program as processes of their own, forked from one that has imported everything, so that each starts at once."""

from __future__ import annotations

import multiprocessing
import os
import sys
from multiprocessing.context import ForkServerProcess
from pathlib import Path


def start_program(*words: str) -> ForkServerProcess:
    """`ddpm-exp WORDS` in the working folder; what it prints goes to the files `stdout` and `stderr` there."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["torch._dynamo", "sklearn.base", "scipy.stats", "ddpm_exp.cli.main", "ddpm_exp.workflow.run"])
    process = context.Process(target=_program, args=(words, Path.cwd(), dict(os.environ)))
    process.start()
    return process


def _program(words: tuple[str, ...], folder: Path, environment: dict[str, str]) -> None:
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    for number, name in ((1, "stdout"), (2, "stderr")):
        os.dup2(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
    # The streams that the process was given belong to the one that it was forked from.
    sys.stdout, sys.stderr = os.fdopen(1, "w", buffering=1), os.fdopen(2, "w", buffering=1)
    sys.argv = ["ddpm-exp", *words]
    import torch

    from ddpm_exp.cli.main import main

    torch.set_num_threads(1)
    main()
