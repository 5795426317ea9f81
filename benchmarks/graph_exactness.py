"""Does the captured CUDA graph compute what the op-by-op step computes? And does a resumed run equal a straight one?

    python benchmarks/graph_exactness.py experiments/adr_0002.py --steps 12 --out results.json

Trains the experiment three times from the same seed on one GPU (op by op; captured; captured, saved half way and loaded
into a new trainer) and compares weights, averages and losses bit by bit. Convolution algorithms are fixed
(`cudnn.deterministic`), as nothing else could be compared bit by bit.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import torch

from ddpm_exp.checkpoints.store import latest, save
from ddpm_exp.loading.loaded import load_experiment
from ddpm_exp.training.state import restore, to_checkpoint
from ddpm_exp.training.trainer import Trainer
from ddpm_exp.workflow.assemble import assemble
from ddpm_exp.workflow.options import RunOptions
from ddpm_exp.workflow.prepare import Prepared, find_machine, prepare


def build(file: str, overrides: list[str], graph: bool) -> tuple[Prepared, Trainer]:
    """A trainer at its first step."""
    loaded = load_experiment(file, [*overrides, f"hardware.cuda_graph={graph}"])
    prepared = prepare(loaded, find_machine(RunOptions()))
    return prepared, assemble(prepared, seed=0).trainer


def snapshot(trainer: Trainer, losses: list[float]) -> dict[str, Any]:
    """Everything that is compared."""
    weights = [weight.detach().cpu().clone() for weight in trainer.network.parameters()]
    averages = [] if trainer.ema is None else [weight.cpu().clone() for weight in trainer.ema.network.parameters()]
    return {"weights": weights, "averages": averages, "losses": losses}


def train(trainer: Trainer, steps: int) -> list[float]:
    """The loss of each step."""
    losses = []
    for _ in range(steps):
        trainer.step()
        losses.append(trainer.statistics.read()[0]["train/loss"])
    return losses


def compare(a: dict[str, Any], b: dict[str, Any]) -> dict[str, Any]:
    """Whether two snapshots are the same bits, and by how much they differ if not."""
    found: dict[str, Any] = {}
    for name in ("weights", "averages"):
        pairs = list(zip(a[name], b[name], strict=True))
        found[f"{name}_equal"] = all(torch.equal(one, other) for one, other in pairs)
        found[f"{name}_largest_difference"] = max((float((one - other).abs().max()) for one, other in pairs), default=0.0)
    found["losses_equal"] = a["losses"] == b["losses"]
    found["losses_largest_difference"] = max(abs(x - y) for x, y in zip(a["losses"], b["losses"], strict=True))
    return found


def main() -> None:
    """Run the three trainings and write what was found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("words", nargs="+")
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    file, overrides = given.words[0], given.words[1:]
    torch.backends.cudnn.deterministic = True
    torch.backends.cudnn.benchmark = False
    results = {}
    for name, graph in (("op by op", False), ("op by op again", False), ("captured", True)):
        _, trainer = build(file, overrides, graph)
        results[name] = snapshot(trainer, train(trainer, given.steps))
    half = given.steps // 2
    with tempfile.TemporaryDirectory() as folder:
        _, trainer = build(file, overrides, True)
        losses = train(trainer, half)
        save(Path(folder), to_checkpoint(trainer, {}))
        _, resumed = build(file, overrides, True)
        found = latest(Path(folder))
        assert found is not None
        restore(resumed, found[1])
        results["resumed"] = snapshot(resumed, losses + train(resumed, given.steps - half))
    report = {
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu",
        "torch": torch.__version__,
        "experiment": file,
        "overrides": overrides,
        "steps": given.steps,
        "op by op, twice": compare(results["op by op"], results["op by op again"]),
        "captured against op by op": compare(results["captured"], results["op by op"]),
        "resumed against straight": compare(results["resumed"], results["captured"]),
    }
    given.out.write_text(json.dumps(report, indent=2) + "\n")
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
