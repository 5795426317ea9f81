"""What probes found, kept for the next time under everything that decided it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ddpm_exp.data.shapes import shape_of
from ddpm_exp.memory.search import Attempt, Caps, Found
from ddpm_exp.records.cache import Kept, source_digest
from ddpm_exp.workflow.kept_speeds import allocator_settings, steps_of
from ddpm_exp.workflow.prepare import Prepared

KEPT = Kept("probes")

_OF_HARDWARE = ("micro_batch", "headroom", "workers", "cuda_graph", "fused_kernels", "deterministic")


def keep(key: dict[str, Any], found: Found) -> None:
    """Keep `found`, if it chose anything, for the next `recall(key)`."""
    if found.chosen is not None:
        attempts = [one.to_json() for one in found.attempts]
        KEPT.keep(key, {"chosen": found.chosen.micro_batch, "why": found.why, "attempts": attempts})


def recall(key: dict[str, Any], note: Callable[[str], None]) -> Found | None:
    """What was kept for exactly `key`; None without it, or where its file is damaged, of which `note` is told."""
    answer = KEPT.find(key)
    if answer is None:
        if KEPT.has(key):
            note(f"what was kept of an earlier probe cannot be read (in {KEPT.folder}); probing again")
        return None
    attempts = tuple(Attempt.from_json(facts) for facts in answer["attempts"])
    chosen = next(one for one in attempts if one.micro_batch == answer["chosen"])
    return Found(chosen, answer["why"], attempts)


def key_of(prepared: Prepared, caps: Caps) -> dict[str, Any]:
    """Everything that decides what a probe with `caps` finds, in JSON's types."""
    experiment, plan, machine = prepared.whole_task.experiment, prepared.plan, prepared.machine
    data, hardware = experiment.data, experiment.hardware
    return steps_of(experiment, plan) | {
        "sampling": experiment.sampling.model_dump(mode="json"),
        "data": [data.kind, list(shape_of(data, experiment.condition)), prepared.splits.training_images],
        "in_files": prepared.splits.stored is not None,
        "classes": list(prepared.splits.facts.class_names),
        "hardware": {name: getattr(hardware, name) for name in _OF_HARDWARE},
        "start": plan.micro_batch,
        "caps": vars(caps),
        "limit": machine.limit_bytes,
        "gpu": [machine.gpu.name, machine.gpu.usable_bytes],
        "machine": {name: str(value) for name, value in machine.facts.items()},
        "allocator": allocator_settings(),
        "package": source_digest(),
    }
