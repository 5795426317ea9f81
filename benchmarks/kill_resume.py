"""Is a run that was killed (SIGKILL) and given again the run that nobody disturbed, bit by bit?

    python benchmarks/kill_resume.py --out benchmarks/results/kill_resume_cpu.json
    python benchmarks/kill_resume.py --device cuda --at-once 4 --out benchmarks/results/kill_resume_cuda.json

Starts `ddpm-exp run` on digits once for an undisturbed run, then for each kill in a folder of its own. The moments are random
over the time from the run directory's first file to the end of the process; every fourth kill waits on from its moment until a
checkpoint is being written. The same command is then given until the run is finished. Compared are every tensor of the last and of
the best checkpoint (weights, averages, optimizer, statistics), and all recorded numbers but speeds and memory.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Protocol

import torch

from ddpm_exp.checkpoints.store import BEST, latest
from ddpm_exp.records.capture import host_facts, package_versions
from ddpm_exp.records.run_directory import MANIFEST, RunDirectory

EXPERIMENT = Path(__file__).parent / "kill_digits.py"
PATIENCE = 300.0
"""Seconds after which a process that does nothing is given up."""


class Running(Protocol):
    """A process of the program; `multiprocessing`'s has the same names."""

    @property
    def pid(self) -> int | None: ...
    def is_alive(self) -> bool: ...
    def kill(self) -> None: ...
    def join(self, timeout: float | None = None) -> None: ...
    @property
    def exitcode(self) -> int | None: ...


Start = Callable[[Path], Running]
"""Gives the command in a folder."""


class Program:
    """`python -m ddpm_exp.cli WORDS` in `folder`."""

    def __init__(self, folder: Path, words: list[str]) -> None:
        self._log = (folder / "output.txt").open("ab")
        command = [sys.executable, "-m", "ddpm_exp.cli", *words]
        self._process = subprocess.Popen(command, cwd=folder, stdout=self._log, stderr=self._log)

    @property
    def pid(self) -> int:
        return self._process.pid

    def is_alive(self) -> bool:
        return self._process.poll() is None

    def kill(self) -> None:
        self._process.kill()

    def join(self, timeout: float | None = None) -> None:
        self._process.wait(timeout)

    @property
    def exitcode(self) -> int | None:
        return self._process.poll()


def undisturbed(folder: Path, start: Start) -> tuple[Path, float]:
    """The run directory of a run that nobody disturbed, and the seconds from its first file to the end of its process."""
    process = start(folder)
    run, began = _directory(folder, process), time.monotonic()
    process.join(PATIENCE)
    if process.exitcode != 0 or RunDirectory.open(run).status().state != "finished":
        raise RuntimeError(f"the undisturbed run did not finish; see {folder / 'output.txt'}")
    return run, time.monotonic() - began


def killed(folder: Path, start: Start, moment: float, *, writing: bool, expected: Path) -> dict[str, Any] | None:
    """Kill a run `moment` seconds after its first file (`writing`: at the next checkpoint from then on), give the command again
    until it is finished, and compare. None where it was finished before its moment came."""
    process = start(folder)
    run = _directory(folder, process)
    began = time.monotonic()
    while process.is_alive() and (time.monotonic() - began < moment or (writing and not _held_in_writing(process, run))):
        time.sleep(0.0005)
    at = time.monotonic() - began
    process.kill()
    process.join(PATIENCE)
    if RunDirectory.open(run).status().state == "finished":
        return None
    found, left = latest(run / "checkpoints"), [path.name for path in _being_written(run)]
    sittings = 0
    while RunDirectory.open(run).status().state != "finished":
        sittings += 1
        again = start(folder)
        again.join(PATIENCE)
        if again.exitcode != 0 or sittings > 3:
            raise RuntimeError(f"the killed run does not go on; see {folder / 'output.txt'}")
    return {
        "seconds": round(at, 3),
        "aimed_at_a_checkpoint": writing,
        "while_writing": left,
        "images_at_checkpoint": None if found is None else found[1].images_seen,
        "commands_until_finished": 1 + sittings,
        "differs": differences(run, expected),
    }


def differences(run: Path, expected: Path) -> list[str]:
    """What is not the same bits in both runs."""
    ours, theirs = _facts(run), _facts(expected)
    names = ours.keys() | theirs.keys()
    return sorted(name for name in names if name not in ours or name not in theirs or not _same(ours[name], theirs[name]))


def _facts(run: Path) -> dict[str, Any]:
    opened, facts = RunDirectory.open(run), {}
    for series in ("", BEST):
        found = latest(opened.checkpoints, series=series)
        assert found is not None
        facts |= {f"{series}{name}": value for name, value in _leaves(found[1].tensors, found[0].name)}
    for row in opened.metrics.read():
        learnt = {name: value for name, value in row.values.items() if not name.startswith(("speed/", "memory/"))}
        facts |= {f"{name} at {row.images}": value for name, value in learnt.items()}
    return facts


def _leaves(value: Any, name: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict | list | tuple):
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _leaves(item, f"{name}.{key}")
    else:
        yield name, value


def _same(a: Any, b: Any) -> bool:
    if isinstance(a, torch.Tensor):
        return isinstance(b, torch.Tensor) and a.dtype == b.dtype and torch.equal(a, b)
    return bool(a == b) or (isinstance(a, float) and isinstance(b, float) and math.isnan(a) and math.isnan(b))


def _directory(folder: Path, process: Running) -> Path:
    """The run directory in `folder`, as soon as it is there."""
    deadline = time.monotonic() + PATIENCE
    while not (found := list(folder.glob(f"runs/*/*/*/{MANIFEST}"))):
        if not process.is_alive() or time.monotonic() > deadline:
            raise RuntimeError(f"the run did not start; see {folder / 'output.txt'}")
        time.sleep(0.002)
    return found[0].parent


def _held_in_writing(process: Running, run: Path) -> bool:
    """Whether a checkpoint is being written; the process then stands still, so that it is killed before the file is whole."""
    assert process.pid is not None
    if not _being_written(run):
        return False
    os.kill(process.pid, signal.SIGSTOP)
    if _being_written(run):
        return True
    os.kill(process.pid, signal.SIGCONT)
    return False


def _being_written(run: Path) -> list[Path]:
    return list((run / "checkpoints").glob("*.tmp"))


def main() -> None:
    """Run everything and write what was found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--at-once", type=int, default=1, help="runs side by side")
    parser.add_argument("--seed", type=int, default=None, help="of the random moments; a new one each time")
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    seed = random.SystemRandom().randrange(2**32) if given.seed is None else given.seed
    chance, began = random.Random(seed), time.monotonic()
    words = ["run", str(EXPERIMENT), *(["--gpu", "cpu"] if given.device == "cpu" else [])]
    words += ["hardware.deterministic=True", "hardware.micro_batch=16", "hardware.compile=False"]
    os.environ["OMP_NUM_THREADS"] = "1"
    with tempfile.TemporaryDirectory() as place:

        def folder(name: str) -> Path:
            made = Path(place) / name
            made.mkdir()
            return made

        def start(folder: Path) -> Running:
            return Program(folder, words)

        expected, seconds = undisturbed(folder("undisturbed"), start)

        def case(number: int) -> dict[str, Any]:
            for attempt in range(10):
                moment = chance.uniform(0.0, seconds)
                found = killed(folder(f"{number}-{attempt}"), start, moment, writing=number % 4 == 3, expected=expected)
                if found is not None:
                    print(number, found, flush=True)
                    return found
            raise RuntimeError("ten runs in a row were finished before they were killed")

        with ThreadPoolExecutor(given.at_once) as pool:
            kills = list(pool.map(case, range(given.kills)))
    host = host_facts({})
    result = {
        "equal": sum(not kill["differs"] for kill in kills),
        "of": len(kills),
        "while_writing": sum(bool(kill["while_writing"]) for kill in kills),
        "undisturbed_seconds": round(seconds, 3),
        "seed": seed,
        "device": torch.cuda.get_device_name() if given.device == "cuda" else f"cpu, {host['processor']}",
        "versions": package_versions(),
        "seconds": round(time.monotonic() - began, 1),
        "kills": kills,
    }
    given.out.write_text(json.dumps(result, indent=1) + "\n")
    print({name: value for name, value in result.items() if name not in ("kills", "versions")})
    if result["equal"] != result["of"]:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
