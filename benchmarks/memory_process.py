"""The truth about one configuration of memory_cases.py, from a process that has done nothing else: memory_truth.py starts it.

python benchmarks/memory_process.py NUMBER
"""

from __future__ import annotations

import copy
import fcntl
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from memory_cases import CASES, FOLDER_IMAGES, Case

from ddpm_exp.data.datasets import load
from ddpm_exp.data.examples import Examples, Splits, split
from ddpm_exp.evaluation.extractors import LAYER
from ddpm_exp.evaluation.extractors import inception as inception_of
from ddpm_exp.evaluation.image_features import Extraction
from ddpm_exp.evaluation.likelihood import likelihood
from ddpm_exp.evaluation.validation import validate
from ddpm_exp.loading.loaded import Loaded
from ddpm_exp.memory.estimate import fid_batch
from ddpm_exp.memory.evaluation_steps import inception
from ddpm_exp.memory.plan import plan as make_plan
from ddpm_exp.ranks.ranks import SINGLE
from ddpm_exp.spec.data import family_of, shape_of, training_images
from ddpm_exp.spec.evaluation import FID
from ddpm_exp.spec.experiment import Experiment
from ddpm_exp.spec.hardware import find_gpu
from ddpm_exp.workflow.assemble import assemble
from ddpm_exp.workflow.options import RunOptions
from ddpm_exp.workflow.prepare import Prepared, find_machine, lengths

STEPS = 4
THROUGH_INCEPTION = 128
"""Images of which features are extracted, in whole batches: others would be cut into equal ones, which are smaller."""


def splits_of(experiment: Experiment) -> Splits:
    """Random images of the experiment's shape and number, or its own data where that is made up anyway."""
    if family_of(experiment.data) != "image":
        return load(experiment.data, experiment.condition)
    generator, count = torch.Generator().manual_seed(0), training_images(experiment.data) or FOLDER_IMAGES
    pixels = torch.randint(0, 256, (count + 256, *shape_of(experiment.data)), generator=generator, dtype=torch.uint8)
    labels, names = torch.arange(len(pixels)) % 10, tuple("abcdefghij")
    return split(Examples(pixels[:count], labels[:count], names), Examples(pixels[count:], labels[count:], names))


def measured(case: Case) -> dict[str, Any]:
    """The truth about one configuration, from a process that has done nothing else yet."""
    experiment = case.experiment
    splits = splits_of(experiment)
    loaded = Loaded(experiment, "case", "case", "Case", Path("case.py"), {}, None, {}, ())
    gpu = find_gpu("H100")
    plan = make_plan(experiment, gpu, device="cuda")  # before the device is taken: it asks none
    weights = random_inception() if case.fid else None
    with device_alone():
        machine = find_machine(RunOptions())
        prepared = Prepared(loaded, machine, plan, splits, lengths(experiment, len(splits.train)), "")
        runtime = assemble(prepared, seed=0)
        found: dict[str, Any] = {
            "experiment": case.name,
            "device": torch.cuda.get_device_name(),
            "parameters": runtime.parameters,
            "built_bytes": _in_use(),
        }
        for _ in range(STEPS):
            runtime.trainer.step()
        torch.cuda.synchronize()
        found["training"] = _in_use()
        count = runtime.artist.batch
        numbers = torch.arange(count)
        artist = runtime.artist
        validate(runtime.averaged(), splits.held_out.batch(slice(0, experiment.evaluation.held_out)), artist, experiment.evaluation)
        object.__setattr__(artist, "sampling", artist.sampling.but(steps=1))
        artist.draw(runtime.averaged(), splits.train.batch(numbers % len(splits.train)), numbers, held_out=False)
        if case.likelihood:
            likelihood(runtime.averaged(), splits.held_out.batch(slice(0, case.likelihood)), artist, terms=2)
        found["drawing"] = _in_use() | {"images": count}
        if weights is not None:
            artist.draw(runtime.averaged(), splits.train.batch(numbers % len(splits.train)), numbers, held_out=False)
            _in_use()
            together = fid_batch(experiment, gpu, plan.precision, plan.micro_batch)
            some = splits.train.x[:THROUGH_INCEPTION]
            extraction = Extraction(inception_of(FID(weights=str(weights))), (LAYER,), artist.device, SINGLE, artist.room, together)
            for _ in range(2):  # drawn ones and reals
                extraction.features(some)
            found["fid"] = _in_use() | {"images": together}
        found["loss"] = runtime.trainer.statistics.read()[0]["train/loss"]
        found["retries"] = torch.cuda.memory_stats().get("num_alloc_retries", 0)
    return found


def _in_use() -> dict[str, int]:
    torch.cuda.synchronize()
    free, total = torch.cuda.mem_get_info()
    reserved_now = torch.cuda.memory_reserved()
    reserved = torch.cuda.max_memory_reserved()
    outside = total - free - reserved_now
    found = {
        "allocated_bytes": torch.cuda.max_memory_allocated(),
        "reserved_bytes": reserved,
        "reserved_now_bytes": reserved_now,
        "outside_bytes": outside,
        "process_bytes": reserved + outside,
    }
    torch.cuda.reset_peak_memory_stats()
    return found


@contextmanager
def device_alone() -> Iterator[None]:
    """Nobody else measures on this GPU meanwhile."""
    path = os.environ.get("GPU_LOCK", "")
    if not path:
        yield
        return
    held = Path(path).open("w")  # noqa: SIM115 - until this process has ended, and with it what it had of the device
    fcntl.flock(held, fcntl.LOCK_EX)
    _KEPT.append(held)
    while _driver_in_use() > 64:  # the process before may still be giving it back
        time.sleep(0.1)
    yield


def random_inception() -> Path:
    """A file of random weights for FID's network: the real ones would take the same memory, and its values mean nothing."""
    path = Path(tempfile.gettempdir()) / "random_inception.pth"
    if not path.exists():
        network = copy.deepcopy(inception()).to_empty(device="cpu")
        for module in network.modules():
            if isinstance(module, torch.nn.Conv2d | torch.nn.Linear):
                torch.nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            elif isinstance(module, torch.nn.BatchNorm2d):
                module.reset_parameters()
        part = path.with_suffix(f".{os.getpid()}")
        torch.save(network.state_dict(), part)
        part.rename(path)
    return path


_KEPT: list[Any] = []


def _driver_in_use() -> int:
    """MiB of this process's GPU, before it has a context there."""
    command = ["nvidia-smi", "--query-gpu=memory.used", "--format=csv,noheader,nounits", "-i", os.environ["CUDA_VISIBLE_DEVICES"]]
    return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()[0])


if __name__ == "__main__":
    print(json.dumps(measured(CASES[int(sys.argv[1])])))
