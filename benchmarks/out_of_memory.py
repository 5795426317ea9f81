"""Memory that runs out in mid-run, on a real device: what a training and an evaluation do then, beside ones that nobody disturbed.

    python benchmarks/out_of_memory.py --out found.json          # a GPU: DDPM's U-Net of 35.7 M at 32x32, batch 128
    python benchmarks/out_of_memory.py --out found.json --tiny   # anywhere; a processor's network says itself that it is full

After some steps, the process may use no more of the device than is between the needs of a whole batch and of half of it at once
(torch.cuda.set_per_process_memory_fraction). A captured step gets no memory, so its graph is released first and captured again,
which fails. Written are the losses of both trainings, how the step was sliced, and the memory before and after.

Then a training that has captured its step draws samples and measures errors, once as it likes, once with no more room than is
between the needs of a whole batch of samples and of half of it. Written are how far the results lie apart, and whether the
training's next losses are those of one that evaluated nothing.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from throughput import device_name, runtime, wait

from ddpm_exp.evaluation.drawing import Artist
from ddpm_exp.evaluation.room import Fewer
from ddpm_exp.evaluation.validation import validate
from ddpm_exp.ranks.full_device import release
from ddpm_exp.training.micro_step import GraphedMicroStep
from ddpm_exp.training.out_of_memory import Halved
from ddpm_exp.training.trainer import Trainer
from ddpm_exp.workflow.assemble import Runtime
from ddpm_exp.workflow.prepare import Prepared

TINY = [
    "model.base_channels=8",
    "model.multipliers=(1,2)",
    "model.attention_resolutions=()",
    "model.groups=8",
    "training.images_per_step=8",
    "training.precision=fp32",
    "hardware.compile=false",
]


def made(images: int, tiny: bool, micro_batch: int) -> tuple[Prepared, Runtime]:
    """Everything that `run` would compute with."""
    sized = [*TINY, "sampling.steps=4"] if tiny else [f"training.images_per_step={images}", "hardware.compile=false"]
    return runtime([*sized, "training.warmup=0 images", f"hardware.micro_batch={micro_batch}"])


def built(images: int, tiny: bool, micro_batch: int) -> Trainer:
    """A trainer as `run` makes it."""
    return made(images, tiny, micro_batch)[1].trainer


def losses(trainer: Trainer, steps: int) -> list[float]:
    """The loss of each of the next steps."""
    found = []
    for _ in range(steps):
        trainer.step()
        found.append(trainer.statistics.read()[0]["train/loss"])
    return found


def memory() -> dict[str, int]:
    """Bytes that torch holds and that its tensors take."""
    if not torch.cuda.is_available():
        return {"reserved": 0, "allocated": 0}
    return {"reserved": torch.cuda.memory_reserved(), "allocated": torch.cuda.memory_allocated()}


def peak_of(images: int, tiny: bool, micro_batch: int) -> int:
    """Bytes that torch holds at most in steps of this micro-batch."""
    release(torch.device("cuda"))
    torch.cuda.reset_peak_memory_stats()
    losses(built(images, tiny, micro_batch), 3)
    return torch.cuda.max_memory_reserved()


def narrow(trainer: Trainer, limit: int) -> None:
    """From now on the process has room for `limit` bytes in all, and what is captured is to be captured again."""
    if torch.cuda.is_available():
        if isinstance(trainer._micro_step, GraphedMicroStep):
            trainer._micro_step.release()
        release(torch.device("cuda"))
        hold_to(limit)
    else:
        fill(trainer.network, limit)


def hold_to(limit: int | None) -> None:
    """From now on the process may use so many bytes of the GPU; None: all."""
    share = 1.0 if limit is None else limit / torch.cuda.get_device_properties(0).total_memory
    torch.cuda.set_per_process_memory_fraction(share)


def fill(network: torch.nn.Module, limit: int) -> None:
    """On a processor: from now on the network says itself that there is room for `limit` images."""

    def full(network: torch.nn.Module, given: Any) -> None:
        if len(given[0]) > limit:
            raise torch.OutOfMemoryError(f"out of memory: no room for {len(given[0])} images")

    network.register_forward_pre_hook(full)


def measured(images: int, steps: int, tiny: bool) -> dict[str, Any]:
    """Both trainings, and what they took."""
    cuda = torch.cuda.is_available()
    whole = 8 if tiny else images
    limit = int((peak_of(images, tiny, whole) + peak_of(images, tiny, whole // 2)) / 2) if cuda else whole // 2
    release(torch.device("cuda" if cuda else "cpu"))
    undisturbed = losses(built(images, tiny, whole), 3 * steps)
    release(torch.device("cuda" if cuda else "cpu"))
    trainer = built(images, tiny, whole)
    halved: list[dict[str, Any]] = []

    def told(one: Halved) -> None:
        halved.append({**vars(one), "memory": memory()})
        print(f"at {one.images:,} images: {one.said}; on with {one.micro_batch} at once", file=sys.stderr)

    trainer.on_halved = told
    found = losses(trainer, steps)
    before = memory()
    narrow(trainer, limit)
    found += losses(trainer, steps)
    wait()
    middle = memory()
    found += losses(trainer, steps)
    wait()
    return {
        "images_per_step": whole,
        "disturbed_at_images": steps * whole,
        "limit_bytes": limit if cuda else None,
        "halved": halved,
        "memory_before": before,
        "memory_after": middle,
        "memory_at_the_end": memory(),
        "losses": found,
        "losses_undisturbed": undisturbed,
        "largest_relative_difference": max(abs(a - b) / b for a, b in zip(found, undisturbed, strict=True)),
    }


def evaluated(images: int, steps: int, tiny: bool) -> dict[str, Any]:
    """The same evaluations with and without room, and the training around them."""
    cuda = torch.cuda.is_available()
    device = torch.device("cuda" if cuda else "cpu")
    whole = 8 if tiny else images
    if cuda:
        hold_to(None)
    undisturbed = losses(built(images, tiny, whole), 2 * steps)
    release(device)
    ready, run = made(images, tiny, whole)
    found = losses(run.trainer, steps)
    network, together, before = run.averaged(), run.artist.batch, memory()
    numbers = torch.arange(2 * together)
    asked = ready.splits.train.batch(numbers % len(ready.splits.train))
    held_out = ready.splits.held_out.batch(slice(0, min(together, len(ready.splits.held_out))), device)

    def draw(artist: Artist) -> torch.Tensor:
        return artist.draw(network, asked, numbers, held_out=False)

    straight, most = peak_while(lambda: draw(run.artist))
    halves, fewest = peak_while(lambda: draw(replace(run.artist, batch=together // 2)))
    errors = validate(network, held_out, run.artist, ready.experiment.evaluation).values
    limit = (most + fewest) // 2 if cuda else together // 2
    release(device, workspaces=False)
    if cuda:
        hold_to(limit)
    else:
        fill(network, limit)
    told: list[Fewer] = []
    run.artist.room.on_fewer = told.append
    drawn, held = peak_while(lambda: draw(run.artist))
    short = validate(network, held_out, run.artist, ready.experiment.evaluation).values
    for one in told:
        print(one, file=sys.stderr)
    found += losses(run.trainer, steps)
    wait()
    return {
        "samples_at_once": together,
        "limit_bytes": limit if cuda else None,
        "peak_bytes": {"whole": most, "half": fewest, "limited": held},
        "fewer": [vars(one) for one in told],
        "memory_before": before,
        "memory_after": memory(),
        "largest_difference_of_samples": float((drawn - straight).abs().max()),
        "mean_difference_of_samples": float((drawn - straight).abs().mean()),
        "same_bits_as_drawn_in_halves": bool(torch.equal(drawn, halves)),
        "errors": short,
        "errors_undisturbed": errors,
        "losses": found,
        "losses_undisturbed": undisturbed,
        "largest_relative_difference_of_losses": max(abs(a - b) / b for a, b in zip(found, undisturbed, strict=True)),
    }


def peak_while(draw: Callable[[], torch.Tensor]) -> tuple[torch.Tensor, int]:
    """What `draw` draws, and the bytes that torch held at most meanwhile."""
    if not torch.cuda.is_available():
        return draw(), 0
    release(torch.device("cuda"), workspaces=False)  # the captured step goes on
    torch.cuda.reset_peak_memory_stats()
    return draw(), torch.cuda.max_memory_reserved()


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--images", type=int, default=128)
    parser.add_argument("--steps", type=int, default=10, help="before the disturbance, and twice after it")
    parser.add_argument("--tiny", action="store_true")
    given = parser.parse_args()
    found = measured(given.images, given.steps, given.tiny)
    found["evaluation"] = evaluated(given.images, given.steps, given.tiny)
    about = {"device": device_name(), "torch": torch.__version__, "python": sys.version.split()[0]}
    given.out.write_text(json.dumps(about | found, indent=2) + "\n")
    told = {name: found[name] for name in ("halved", "memory_after", "memory_at_the_end", "largest_relative_difference")}
    lists = ("losses", "losses_undisturbed")
    print(json.dumps(told | {name: value for name, value in found["evaluation"].items() if name not in lists}))


if __name__ == "__main__":
    main()
