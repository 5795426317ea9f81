"""On one GPU: are a captured step, a resumed run and a sliced step the same training? Do fused, compiled and op by op agree?

    python benchmarks/exactness.py --out benchmarks/results/exactness.json

DDPM's U-Net of 35.7 M parameters with dropout 0.1, EMA, clipping and flips, in bf16, on random images. With deterministic
kernels: captured, op by op and resumed are compared bit by bit, weights, averages and losses. By slices: 128 images in one
micro-batch, or in four of 32, must draw the same images, times and noise bit by bit, and lose the same to rounding. By kernels:
losses over 50 steps of the fused, the compiled and torch's own kernels. Twice: trainings of several networks, attention with many
tokens among them, must end with the same bits; and how far they are apart where torch only warns of kernels without fixed order.
Cost: what deterministic kernels cost some of them.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from throughput import device_name, draws, losses_of, per_second, runtime

from ddpm_exp.checkpoints.store import latest, save
from ddpm_exp.spec.errors import RunError
from ddpm_exp.spec.model import DiT, EncoderDecoder, Model, UNet
from ddpm_exp.training import micro_step
from ddpm_exp.training.precision import fixed_order
from ddpm_exp.training.state import restore, to_checkpoint
from ddpm_exp.training.trainer import Trainer

COMMON = ("model.dropout=0.1", "training.warmup=1280 images", "hardware.deterministic=True")


def trainer(batch: int, overrides: Sequence[str], model: Model | None = None) -> Trainer:
    """At its first step, from seed 0."""
    return runtime([f"training.images_per_step={batch}", *COMMON, *overrides], model)[1].trainer


def state(made: Trainer) -> list[torch.Tensor]:
    """Weights and averages."""
    networks = [made.network, *([] if made.ema is None else [made.ema.network])]
    return [weight.detach().cpu().clone() for network in networks for weight in network.parameters()]


def same(a: list[torch.Tensor], b: list[torch.Tensor]) -> dict[str, Any]:
    """Whether two states are the same bits, and how far apart they are."""
    apart = max(float((one - other).abs().max()) for one, other in zip(a, b, strict=True))
    return {"equal_bits": all(torch.equal(*pair) for pair in zip(a, b, strict=True)), "largest_difference": apart}


def bits(batch: int, steps: int) -> dict[str, Any]:
    """Captured, op by op, and resumed half way."""
    straight = trainer(batch, ())
    losses = losses_of(straight, steps)
    uncaptured = trainer(batch, ("hardware.cuda_graph=False",))
    found = {
        "captured against op by op": {"losses_equal": losses_of(uncaptured, steps) == losses}
        | same(state(uncaptured), state(straight))
    }
    half = steps // 2
    with tempfile.TemporaryDirectory() as folder:
        first = trainer(batch, ())
        before = losses_of(first, half)
        save(Path(folder), to_checkpoint(first, {}))
        second = trainer(batch, ())
        saved = latest(Path(folder))
        assert saved is not None
        restore(second, saved[1])
        both = before + losses_of(second, steps - half)
    found["resumed against straight"] = {"losses_equal": both == losses} | same(state(second), state(straight))
    return found


def slices(batch: int, steps: int) -> dict[str, Any]:
    """One micro-batch against four: what a step draws, and what it loses."""
    whole, cut = (trainer(batch, (f"hardware.micro_batch={micro}",)) for micro in (batch, batch // 4))
    drawn = []
    for made, micro in ((whole, batch), (cut, batch // 4)):
        parts = [draws(made, torch.arange(first, first + micro)) for first in range(0, batch, micro)]
        drawn.append([torch.cat(kind) for kind in zip(*parts, strict=True)])
    equal = {name: torch.equal(a, b) for name, a, b in zip(("images", "times", "noise"), *drawn, strict=True)}
    losses = [losses_of(made, steps) for made in (whole, cut)]
    apart = [abs(a - b) / a for a, b in zip(*losses, strict=True)]
    return {"draws_equal_bits": equal, "losses": losses, "largest_relative_difference_of_losses": max(apart)}


def kernels(batch: int, steps: int) -> dict[str, Any]:
    """Losses by three ways to compute the same network."""
    ways = {
        "fused": (),
        "torch's kernels": ("hardware.fused_kernels=False",),
        "torch's kernels, compiled": ("hardware.fused_kernels=False", "hardware.compile=True"),
        "torch's kernels, fp32": ("hardware.fused_kernels=False", "training.precision=fp32"),
    }
    losses = {name: losses_of(trainer(batch, overrides), steps) for name, overrides in ways.items()}
    base = losses["torch's kernels, fp32"]
    apart = {name: [abs(a - b) / b for a, b in zip(found, base, strict=True)] for name, found in losses.items()}
    summary = {name: {"mean": sum(found) / steps, "largest": max(found)} for name, found in apart.items()}
    return {"losses": losses, "relative_difference_to_fp32": summary}


NETWORKS: dict[str, Model] = {
    "DDPM's U-Net": UNet(dropout=0.1),
    "DDPM's U-Net, checkpointing": UNet(dropout=0.1, checkpointing=True),
    "transformer, 256 tokens": DiT(patch=2),
    "transformer, 1,024 tokens": DiT(patch=1, depth=4),
    "transformer, 1,024 tokens, checkpointing": DiT(patch=1, depth=4, checkpointing=True),
    "encoder-decoder": EncoderDecoder(),
}


def twice(steps: int) -> dict[str, Any]:
    """Each network trained twice from the same seed, in both precisions."""
    found: dict[str, Any] = {}
    for name, model in NETWORKS.items():
        for precision in ("bf16", "fp32"):
            about = found[f"{name}, {precision}"] = {}
            for way, around in (("as it is", fixed_order), ("only warned of", lambda strict: fixed_order(strict=False))):
                with patch.object(micro_step, "fixed_order", around):
                    about[way] = _both(model, precision, steps)
    return found


def _both(model: Model, precision: str, steps: int) -> dict[str, Any]:
    try:
        first, second = (trainer(32, (f"training.precision={precision}",), model) for _ in range(2))
        losses = [losses_of(made, steps) for made in (first, second)]
    except RunError as error:
        return {"failed": str(error)}
    return {"losses_equal": losses[0] == losses[1]} | same(state(first), state(second))


def cost(seconds: float = 4.0) -> dict[str, Any]:
    """Images per second of 128 per step in bf16, with deterministic kernels and without, in turn."""
    found: dict[str, Any] = {}
    for name in ("DDPM's U-Net", "transformer, 256 tokens", "transformer, 1,024 tokens"):
        speeds: dict[bool, list[float]] = {True: [], False: []}
        for deterministic in (True, False, True, False):
            overrides = ["training.images_per_step=128", f"hardware.deterministic={deterministic}"]
            made = runtime(overrides, NETWORKS[name])[1].trainer
            speeds[deterministic].append(per_second(made.step, 128, warm_up=6, seconds=seconds)[0])
        found[name] = {"deterministic": speeds[True], "not": speeds[False], "slower": 1 - sum(speeds[True]) / sum(speeds[False])}
    return found


def main() -> None:
    """Run the comparisons; write after each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--kernel-steps", type=int, default=50)
    parser.add_argument("--parts", nargs="+", default=["bits", "slices", "kernels", "twice", "cost"])
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    before = json.loads(given.out.read_text()) if given.out.exists() else {}
    report: dict[str, Any] = before | {
        "device": device_name(),
        "torch": torch.__version__,
        "batch": given.batch,
        "steps": given.steps,
    }
    report |= {"kernel_steps": given.kernel_steps}
    for name, compare in (
        ("bits", lambda: bits(given.batch, given.steps)),
        ("slices", lambda: slices(given.batch, given.steps)),
        ("kernels", lambda: kernels(given.batch, given.kernel_steps)),
        ("twice", lambda: twice(given.steps)),
        ("cost", cost),
    ):
        if name not in given.parts:
            continue
        report[name] = compare()
        given.out.write_text(json.dumps(report, indent=1) + "\n")
        shown = {key: value for key, value in report[name].items() if key != "losses"}
        print(name, json.dumps(shown), flush=True)


if __name__ == "__main__":
    main()
