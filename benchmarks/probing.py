"""Probes of a real GPU, and the plans of smaller cards trained under those cards' memory.

    python benchmarks/probing.py --out probing.json                          # a GPU: both parts, one process at a time
    python benchmarks/probing.py --out cards.json --part cards --at-once 4   # memory alone is measured: several at a time
    python benchmarks/probing.py --out dry.json --dry-run --limit 2          # anywhere: small networks on the processor

Part "probes": for some experiments the search for the micro-batch, in a process of its own: seconds, every attempt, the bytes that
each left behind, what was chosen, and what the kept answer takes the second time. Part "cards": for each experiment and each
card, the plan that `check` prints for it trains three steps and draws a batch in a process held to that card's memory; where
memory is what binds, one and a half times its micro-batch has to fail, where the divisors of a step bind, the next larger one has
to. Images are random ones of the experiment's shape and number ("data": "random"), which need as much memory as real ones; numbers
and tables are the experiment's own. Kernels are those of the GPU that is there, but for what is said in memory/limit.py and for
fused kernels, which are left out where the card has none.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import torch

from ddpm_exp.data.datasets import load
from ddpm_exp.data.examples import Examples, Splits, split
from ddpm_exp.data.image_values import with_values
from ddpm_exp.data.shapes import shape_of, value_names
from ddpm_exp.loading.loaded import Loaded, load_experiment
from ddpm_exp.memory.estimate import estimate
from ddpm_exp.memory.fitting import micro_batches
from ddpm_exp.memory.limit import CONTEXT_BYTES
from ddpm_exp.memory.plan import plan as make_plan
from ddpm_exp.memory.probe import allowed, seconds_of
from ddpm_exp.memory.search import Attempt, Caps, search
from ddpm_exp.models.fused import OLDEST
from ddpm_exp.spec.data import class_count, family_of, training_images
from ddpm_exp.spec.errors import UserError
from ddpm_exp.spec.experiment import Experiment
from ddpm_exp.spec.hardware import find_gpu
from ddpm_exp.spec.identity import science_hash
from ddpm_exp.spec.plan import Plan
from ddpm_exp.training.out_of_memory import is_out_of_memory
from ddpm_exp.workflow.display import Quiet
from ddpm_exp.workflow.options import RunOptions
from ddpm_exp.workflow.prepare import Machine, Prepared, find_machine, lengths
from ddpm_exp.workflow.probing import measure, own_share, trials_of
from ddpm_exp.workflow.smoke import smoke

ROOT = Path(__file__).parents[1]
DDPM = "benchmarks/ddpm_cifar10.py"
SHIPPED = tuple(f"experiments/{file.name}" for file in sorted((ROOT / "experiments").glob("*.py")))
CARDS = ("T4", "V100-16", "V100-32", "A100-40")
STEPS = 3
_SHARD_IMAGES = 50_000
"""Of shards, whose number only their files tell: as many as CIFAR-10 has."""

MANY_DIVISORS = "training.images_per_step=2520"
"""So many images that memory binds on every card, and that every number up to 10 divides."""


class Case(NamedTuple):
    """One process."""

    file: str
    overrides: tuple[str, ...] = ()
    card: str | None = None
    memory_limit: str | None = None
    over: bool = False
    """Train with more than the card's plan instead of it."""


PROBES = (
    Case(DDPM),
    Case(DDPM, ("training.images_per_step=1024",)),
    Case(DDPM, ("training.images_per_step=1024",), memory_limit="15GiB"),
    Case(DDPM, ("training.images_per_step=1024", "training.precision=fp32"), memory_limit="15GiB"),
    Case("experiments/fashion_flow.py"),
    Case("experiments/quickstart.py"),
)

PLANNED: tuple[tuple[str, tuple[str, ...]], ...] = (
    *((file, ()) for file in SHIPPED),
    (DDPM, ()),
    (DDPM, (MANY_DIVISORS,)),
    (DDPM, (MANY_DIVISORS, "model.checkpointing=true")),
)


def prepared(case: Case, dry: bool) -> Prepared:
    """The experiment with data that stands in for its own, planned as `check` and `run` do."""
    loaded = load_experiment(ROOT / case.file, case.overrides)
    if case.card is not None and find_gpu(case.card).capability < OLDEST:
        loaded = _with(loaded, loaded.experiment.but(hardware=loaded.experiment.hardware.but(fused_kernels=False)))
    experiment = loaded.experiment
    if dry:
        machine = Machine(find_gpu(case.card or "cpu"), "cpu", {})
    else:
        limit = None if case.memory_limit is None else _bytes(case.memory_limit)
        machine = find_machine(RunOptions(gpu=case.card, memory_limit=limit))
    plan = make_plan(experiment, machine.gpu, device="cuda" if machine.gpu.name != "cpu" else "cpu")
    if case.over:
        loaded, plan = _beyond(loaded, machine, plan)
    experiment = loaded.experiment
    if dry:
        loaded = smoke(loaded)
        experiment = loaded.experiment
        step = experiment.training.images_per_step
        slices = {"images_per_step": step, "micro_batch": step, "accumulation": 1, "devices": 1}
        plan = plan.but(device="cpu", precision="fp32", **slices)
    splits = splits_of(experiment)
    units = lengths(experiment, splits.training_images)
    return Prepared(loaded, machine, plan, splits, units, science_hash(experiment, plan.precision))


def _with(loaded: Loaded, experiment: Experiment) -> Loaded:
    return replace(loaded, experiment=experiment)


def _bytes(text: str) -> int:
    from ddpm_exp.spec.amounts import memory_bytes

    return memory_bytes(text, "--memory-limit")


def binding(loaded: Loaded, machine: Machine, plan: Plan) -> str:
    """What keeps the plan's micro-batch from being larger."""
    share = plan.images_per_step // plan.devices
    if plan.micro_batch == share:
        return "images per step"
    if loaded.experiment.hardware.micro_batch is not None:
        return "hardware.micro_batch"
    half_more = _larger(plan)
    expected = estimate(loaded.experiment, machine.gpu, plan.precision, half_more)
    return "memory" if expected.peak_bytes > allowed(loaded.experiment, plan) else "divisors"


def _larger(plan: Plan) -> int:
    return -(-plan.micro_batch * 3 // 2)


def _beyond(loaded: Loaded, machine: Machine, plan: Plan) -> tuple[Loaded, Plan]:
    """One and a half times the plan's micro-batch, in a step that is accumulated from two of them; or the next larger divisor."""
    if binding(loaded, machine, plan) == "divisors":
        micro = min(size for size in micro_batches(loaded.experiment) if size > plan.micro_batch)
        return loaded, plan.but(micro_batch=micro, accumulation=plan.images_per_step // plan.devices // micro)
    micro = _larger(plan)
    experiment = loaded.experiment
    changed = experiment.but(training=experiment.training.but(images_per_step=2 * micro))
    return _with(loaded, changed), plan.but(images_per_step=2 * micro, micro_batch=micro, accumulation=2, devices=1)


def splits_of(experiment: Experiment) -> Splits:
    """Random images, or the data itself where it is made up or small."""
    if family_of(experiment.data) != "image" or experiment.data.kind == "digits":
        return load(experiment.data, experiment.condition)
    count = training_images(experiment.data) or experiment.data.subset or _SHARD_IMAGES
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (count + 512, *shape_of(experiment.data)), generator=generator, dtype=torch.uint8)
    classes = class_count(experiment.data) or 10
    names, labels = tuple(f"some {chr(97 + k)}" for k in range(classes)), torch.arange(len(pixels)) % classes
    parts = (Examples(pixels[:count], labels[:count], names), Examples(pixels[count:], labels[count:], names))
    train, held_out, facts = with_values(value_names(experiment.condition), *parts)
    return split(train, held_out, facts)


def probe_case(case: Case, dry: bool) -> dict[str, Any]:
    """The search in this process, and once more from what was kept."""
    os.environ["DDPM_EXP_CACHE"] = tempfile.mkdtemp()
    ready = prepared(case, dry)
    if dry:
        return _dry_probe(ready)
    with ready.machine.held_to_limit():
        began = time.perf_counter()
        found = measure(ready, Quiet())
        seconds = time.perf_counter() - began
        assert found is not None
        began = time.perf_counter()
        again = measure(ready, Quiet())
        kept_seconds = time.perf_counter() - began
    assert again is not None and again.before and again.plan == found.plan
    probed = found.probed
    return {
        "precision": probed.plan.precision,
        "images_per_step": probed.plan.images_per_step,
        "estimated": {"micro_batch": ready.plan.micro_batch, "peak_bytes": ready.plan.peak_bytes},
        "chosen": probed.plan.micro_batch,
        "why": probed.found.why,
        "limit_bytes": probed.limit_bytes,
        "seconds": seconds,
        "compiling_seconds": sum(one.compiling_seconds for one in probed.found.attempts),
        "seconds_from_what_was_kept": kept_seconds,
        "images_per_second": found.images_per_second,
        "attempts": [
            one.to_json()
            | {
                "verdict": one.verdict(probed.limit_bytes),
                "left_allocated": one.left_bytes,
                "left_reserved": one.reserved_bytes[1] - one.reserved_bytes[0],
            }
            for one in probed.found.attempts
        ],
        "fraction_afterwards": torch.cuda.get_per_process_memory_fraction(),
    }


def _dry_probe(ready: Prepared) -> dict[str, Any]:
    """The same search where no memory can be measured."""
    factory = trials_of(ready)

    def attempt(micro: int) -> Attempt:
        began = time.perf_counter()
        trial = factory(micro)
        trial.draw()
        rate = ready.plan.images_per_step / seconds_of(trial.step, lambda: None)
        return Attempt(micro, 0, rate, time.perf_counter() - began)

    found = search(micro_batches(ready.experiment), ready.plan.micro_batch, 1, attempt, Caps(attempts=2))
    return {"why": found.why, "attempts": [one.to_json() for one in found.attempts], "note": "dry run: no memory was measured"}


def card_case(case: Case, dry: bool) -> dict[str, Any]:
    """Three steps and a batch of sampling under the card's memory."""
    try:
        ready = prepared(case, dry)
    except UserError as error:
        return {"refused": error.rule, "fix": error.fix}
    plan, limit = ready.plan, allowed(ready.experiment, ready.plan)
    facts = {"precision": plan.precision, "images_per_step": plan.images_per_step, "micro_batch": plan.micro_batch}
    facts |= {"accumulation": plan.accumulation, "usable_bytes": plan.usable_bytes, "limit_bytes": limit}
    if not case.over and not dry:
        facts |= {"predicted_bytes": plan.peak_bytes, "binding": binding(ready.loaded, ready.machine, plan)}
    with ready.machine.held_to_limit():
        fits = _train(ready)
        if dry:
            return facts | {"ran": fits, "note": "dry run: no memory was measured"}
        reserved = torch.cuda.max_memory_reserved()
        facts |= {"ran": fits, "reserved_bytes": reserved, "allocated_bytes": torch.cuda.max_memory_allocated()}
        free, total = torch.cuda.mem_get_info()
        outside = total - free - torch.cuda.memory_reserved()
    # Where other processes use the GPU too, `device_outside_bytes` is theirs as well.
    facts |= {"peak_bytes": reserved + CONTEXT_BYTES if fits else None, "device_outside_bytes": outside}
    return facts | {"within_headroom": fits and reserved + CONTEXT_BYTES <= limit}


def _train(ready: Prepared) -> bool:
    """Whether there was memory for it."""
    try:
        trial = trials_of(ready)(own_share(ready.plan).micro_batch)
        for _ in range(STEPS - 1):
            trial.step()
        trial.draw()
        trial.step()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
    except RuntimeError as error:
        if is_out_of_memory(error):
            return False
        raise
    return True


def in_a_process(part: str, case: Case, dry: bool) -> dict[str, Any]:
    """The case's record."""
    command = [sys.executable, __file__, "--case", json.dumps([part, *case])] + (["--dry-run"] if dry else [])
    began = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    found = {"experiment": case.file, "overrides": list(case.overrides), "gpu": case.card, "memory_limit": case.memory_limit}
    found |= {"over": case.over, "process_seconds": round(time.perf_counter() - began, 1)}
    try:
        found |= json.loads(done.stdout.splitlines()[-1])
    except (IndexError, ValueError):
        found["error"] = done.stderr[-2000:]
    print(
        json.dumps(
            {
                name: found.get(name)
                for name in ("experiment", "overrides", "gpu", "over", "chosen", "micro_batch", "ran", "why", "error")
            }
        ),
        flush=True,
    )
    return found


def cards(at_once: int, dry: bool, most: int | None) -> list[dict[str, Any]]:
    """Every plan under its card's memory, then more than those where memory or divisors bind."""
    cases = [Case(file, overrides, card) for file, overrides in PLANNED for card in CARDS][:most]
    with ThreadPoolExecutor(at_once) as pool:
        plans = list(pool.map(lambda case: in_a_process("cards", case, dry), cases))
        bound = [case for case, found in zip(cases, plans, strict=True) if found.get("binding") in ("memory", "divisors")]
        beyond = list(pool.map(lambda case: in_a_process("cards", case._replace(over=True), dry), bound))
    return plans + beyond


def summary(probes: list[dict[str, Any]], planned: list[dict[str, Any]]) -> dict[str, Any]:
    """What a reader wants to know first."""
    ran = [one for one in planned if not one["over"] and "ran" in one]
    over = [one for one in planned if one["over"] and "ran" in one]
    name = lambda one: f"{one['experiment']} {' '.join(one['overrides'])} on {one['gpu']}"  # noqa: E731
    return {
        "longest_probe_seconds": max(
            (one["seconds"] - one["compiling_seconds"] for one in probes if "seconds" in one), default=None
        ),
        "most_left_allocated": max(
            (a["left_allocated"] for p in probes for a in p.get("attempts", []) if "left_allocated" in a), default=None
        ),
        "plans": len(ran),
        "plans_out_of_memory": [name(one) for one in ran if not one["ran"]],
        "plans_beyond_headroom": [name(one) for one in ran if one.get("within_headroom") is False],
        "larger_tried": len(over),
        "larger_that_fit_all_the_same": [name(one) for one in over if one.get("within_headroom")],
        "refused": [name(one) for one in planned if "refused" in one],
        "errors": [name(one) for one in probes + planned if "error" in one],
    }


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--part", choices=("probes", "cards", "both"), default="both")
    parser.add_argument("--at-once", type=int, default=1, help="processes of the part 'cards' at a time; probes are always alone")
    parser.add_argument("--limit", type=int, help="cases of each part")
    parser.add_argument("--dry-run", action="store_true", help="small networks on the processor: does everything work?")
    parser.add_argument("--case", help="one case, in this process: its record on standard output")
    given = parser.parse_args()
    if given.case is not None:
        part, file, overrides, *rest = json.loads(given.case)
        found = (probe_case if part == "probes" else card_case)(Case(file, tuple(overrides), *rest), given.dry_run)
        print(json.dumps(found))
        return
    dry, most = given.dry_run, given.limit
    probes = [in_a_process("probes", case, dry) for case in PROBES[:most]] if given.part != "cards" else []
    planned = cards(given.at_once, dry, most) if given.part != "probes" else []
    device = "cpu" if dry or not torch.cuda.is_available() else torch.cuda.get_device_name()
    document = {"device": device, "torch": torch.__version__, "cuda": torch.version.cuda, "summary": summary(probes, planned)}
    text = json.dumps(document | {"probes": probes, "cards": planned}, indent=1)
    print(json.dumps(document["summary"], indent=1))
    if given.out is not None:
        given.out.write_text(text + "\n")


if __name__ == "__main__":
    main()
