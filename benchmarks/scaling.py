"""One device against several: speed, what a step draws and learns, resuming, and weights spread over the devices (FSDP2).

    python benchmarks/scaling.py --out benchmarks/results            # two GPUs, DDPM's U-Net of 35.7 M, 256 images on each, bf16
    python benchmarks/scaling.py --out /tmp/dry --tiny               # two processes on the CPU, seconds

Starts its processes itself. The trainer is the one of `run`, with captured graphs, EMA and clipping, on random images.
Efficiency is the images per second of all devices over that many times one device's. "sum_share" is the time of the step's one
sum over the devices, measured alone, over the time of a step.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import socket
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from throughput import device_name, draws, losses_of, peak, prepared, wait
from torch import multiprocessing
from torch.distributed.tensor import DTensor

from ddpm_exp.checkpoints.store import latest, save
from ddpm_exp.ranks.ranks import SINGLE, Ranks, joined
from ddpm_exp.training.state import restore, to_checkpoint
from ddpm_exp.training.trainer import Trainer
from ddpm_exp.workflow.assemble import assemble
from ddpm_exp.workflow.following import start_alike
from ddpm_exp.workflow.spread_state import save_together

TINY = ("model.base_channels=16", "model.multipliers=(1, 2)", "model.blocks_per_level=1", "model.groups=8")
PARTS = ("speed", "slicing", "resumed", "spread")
EXACT = ("hardware.deterministic=True", "training.warmup=1280 images", "model.dropout=0.1")


def trainer(ranks: Ranks, batch: int, overrides: tuple[str, ...]) -> Trainer:
    """At its first step, from seed 0; `batch` images per step of all devices together."""
    words = [f"training.images_per_step={batch}", f"hardware.devices={ranks.size}", *overrides]
    return assemble(prepared(words), seed=0, ranks=ranks).trainer


def weights(made: Trainer) -> dict[str, torch.Tensor]:
    """Weights and averages, whole, on the CPU."""
    found = {}
    for prefix, network in (("", made.network), ("ema/", None if made.ema is None else made.ema.network)):
        for name, weight in () if network is None else network.named_parameters():
            whole = weight.detach().full_tensor() if isinstance(weight, DTensor) else weight.detach()
            found[prefix + name] = whole.cpu().contiguous().clone()
    return found


def apart(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> dict[str, Any]:
    """How two states differ: in bits, and in units of the root mean square of the first."""
    size = torch.cat([part.flatten() for part in a.values()]).double().square().mean().sqrt()
    difference = torch.cat([(a[name] - b[name]).flatten() for name in a]).double()
    return {
        "equal_bits": all(torch.equal(a[name], b[name]) for name in a),
        "largest_over_rms": float(difference.abs().max() / size),
        "rms_over_rms": float(difference.square().mean().sqrt() / size),
    }


def speed(ranks: Ranks, each: int, seconds: float, overrides: tuple[str, ...]) -> dict[str, Any]:
    """Images per second of all devices together at `each` per device, and the share of the sum over devices."""
    made = trainer(ranks, each * ranks.size, overrides)
    steps, began = 0, time.perf_counter()
    for _ in range(10):
        made.step()
    wait()
    ranks.wait()
    began = time.perf_counter()
    while not ranks.any(time.perf_counter() - began > seconds):  # all processes take equally many steps
        for _ in range(10):
            made.step()
        wait()
        steps += 10
    took = (time.perf_counter() - began) / steps
    summed = _seconds_of_sum(made) if ranks.size > 1 and made.gradients.own else None
    return {
        "devices": ranks.size,
        "images_per_device": each,
        "overrides": list(overrides),
        "milliseconds_per_step": 1000 * took,
        "images_per_second": each * ranks.size / took,
        "peak_bytes": peak(),
        "sum_milliseconds": None if summed is None else 1000 * summed,
        "sum_share": None if summed is None else summed / took,
        "summed_bytes": sum(part.numel() * part.element_size() for part in made.gradients.own),
    }


def _seconds_of_sum(made: Trainer, times: int = 20) -> float:
    for count in (3, times):
        wait()
        made.ranks.wait()
        began = time.perf_counter()
        for _ in range(count):
            made.ranks.sum(*made.gradients.own)
        wait()
    return (time.perf_counter() - began) / times


def exact(ranks: Ranks, batch: int, micro: int, steps: int, overrides: tuple[str, ...], folder: Path, name: str) -> None:
    """Losses, draws of the first step and weights after `steps` of this slicing, kept in `folder`."""
    made = trainer(ranks, batch, (*overrides, f"hardware.micro_batch={micro}"))
    share = batch // ranks.size
    firsts = range(ranks.rank * share, (ranks.rank + 1) * share, micro)
    drawn = [draws(made, torch.arange(first, first + micro)) for first in firsts]
    kept = {
        "drawn": [torch.cat(kind) for kind in zip(*drawn, strict=True)],
        "losses": losses_of(made, steps),
        "weights": weights(made),
    }
    torch.save(kept, folder / f"{name}-{ranks.rank}.pt")


def compared(folder: Path, devices: int) -> dict[str, Any]:
    """The three slicings of `exact` against each other."""
    kept = {path.stem: torch.load(path, weights_only=True) for path in folder.glob("*.pt")}
    whole = kept["whole-0"]
    together = [torch.cat(kind) for kind in zip(*(kept[f"devices-{rank}"]["drawn"] for rank in range(devices)), strict=True)]
    found: dict[str, Any] = {"losses": {"one micro-batch": whole["losses"]}}
    for name, drawn, other in (
        ("sliced in four", kept["sliced-0"]["drawn"], kept["sliced-0"]),
        (f"on {devices} devices", together, kept["devices-0"]),
    ):
        found["losses"][name] = other["losses"]
        found[name] = {
            "draws_equal_bits": all(torch.equal(a, b) for a, b in zip(whole["drawn"], drawn, strict=True)),
            "largest_relative_difference_of_losses": max(
                abs(a - b) / a for a, b in zip(whole["losses"], other["losses"], strict=True)
            ),
            "weights": apart(whole["weights"], other["weights"]),
        }
    found["processes_have_equal_bits"] = all(
        apart(kept["devices-0"]["weights"], kept[f"devices-{rank}"]["weights"])["equal_bits"] for rank in range(devices)
    )
    return found


def resumed(ranks: Ranks, batch: int, steps: int, overrides: tuple[str, ...], folder: Path) -> dict[str, Any]:
    """Straight against stopped half way and gone on with, on all devices."""
    straight = trainer(ranks, batch, overrides)
    expected = losses_of(straight, steps)
    first = trainer(ranks, batch, overrides)
    before = losses_of(first, steps // 2)
    if ranks.leads:
        save(folder, to_checkpoint(first, {}))
    second = trainer(ranks, batch, overrides)
    if ranks.leads:
        found = latest(folder)
        assert found is not None
        restore(second, found[1])
    start_alike(second, ranks)
    after = losses_of(second, steps - steps // 2)
    return {"losses_equal": before + after == expected} | apart(weights(straight), weights(second))


def spread(ranks: Ranks, batch: int, steps: int, overrides: tuple[str, ...], folder: Path) -> dict[str, Any]:
    """FSDP2 on all devices against whole weights on all; its checkpoint stays in `folder`."""
    whole = trainer(ranks, batch, overrides)
    expected = losses_of(whole, steps)
    made = trainer(ranks, batch, (*overrides, "hardware.shard=True"))
    found = losses_of(made, steps)
    save_together(made, folder if ranks.leads else None, {})
    kept = weights(made)
    if ranks.leads:
        torch.save({"weights": kept}, folder / "kept.pth")
    following = losses_of(made, 3)
    return {
        "largest_relative_difference_of_losses": max(abs(a - b) / a for a, b in zip(expected, found, strict=True)),
        "weights": apart(weights(whole), kept),
        "next_losses": following,
    }


def read_by_one(batch: int, overrides: tuple[str, ...], folder: Path) -> dict[str, Any]:
    """What one device makes of the checkpoint that several wrote."""
    made = trainer(SINGLE, batch, overrides)
    found = latest(folder)
    assert found is not None
    restore(made, found[1])
    kept = torch.load(folder / "kept.pth", weights_only=True)["weights"]
    return {"weights": apart(kept, weights(made)), "next_losses": losses_of(made, 3)}


def one(folder: str, given: argparse.Namespace) -> None:
    """Everything that one device does, in a process of its own."""
    place, common, plain = Path(folder), given.overrides, given.batch // 2
    answers: dict[str, Any] = {"device": device_name()}
    if "speed" in given.parts:
        answers["speed"] = speed(SINGLE, given.batch, given.seconds, common)
    for precision in given.precisions if "slicing" in given.parts else ():
        here = place / precision
        for name, micro in (("whole", plain), ("sliced", plain // 4)):
            exact(SINGLE, plain, micro, given.steps, (*common, *EXACT, f"training.precision={precision}"), here, name)
    (place / "one.json").write_text(json.dumps(answers))


def several(rank: int, folder: str, given: argparse.Namespace, port: int) -> None:
    """Everything that one of several devices does."""
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    place, common, batch = Path(folder), given.overrides, given.batch // 2
    device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cpu":
        torch.set_num_threads(1)
    with joined(Ranks(rank, given.devices, rank), device) as ranks:
        answers: dict[str, Any] = {}
        if "speed" in given.parts:
            answers["speed"] = speed(ranks, given.batch, given.seconds, common)
            keep(answers, ranks, given)
        for precision in given.precisions if "slicing" in given.parts else ():
            words = (*common, *EXACT, f"training.precision={precision}")
            exact(ranks, batch, batch // given.devices, given.steps, words, place / precision, "devices")
        if "resumed" in given.parts:
            answers["resumed"] = resumed(ranks, batch, given.steps, (*common, *EXACT), place / "resumed")
            keep(answers, ranks, given)
        if "spread" in given.parts:
            answers["spread"] = spread(ranks, batch, given.steps, (*common, *EXACT), place / "spread")
            keep(answers, ranks, given)
            answers["spread"]["speed"] = speed(ranks, given.batch, given.seconds, (*common, "hardware.shard=True"))
    if rank == 0:
        (place / "several.json").write_text(json.dumps(answers))


def keep(answers: dict[str, Any], ranks: Ranks, given: argparse.Namespace) -> None:
    """What is known so far, should a later part fail."""
    if ranks.leads:
        (given.out / "scaling.partial.json").write_text(json.dumps(answers, indent=1))


def last(folder: str, given: argparse.Namespace) -> None:
    """One device again, after several."""
    answer = read_by_one(given.batch // 2, (*given.overrides, *EXACT), Path(folder) / "spread")
    (Path(folder) / "last.json").write_text(json.dumps(answer))


def alone(work: Any, folder: str, given: argparse.Namespace) -> None:
    """`work` in a process of its own, whose memory is free afterwards."""
    process = multiprocessing.get_context("spawn").Process(target=work, args=(folder, given))
    process.start()
    process.join()
    if process.exitcode:
        raise SystemExit(process.exitcode)


def main() -> None:
    """Run the parts asked for, print them and write them into `scaling.json`, where other parts stay as they are."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder of scaling.json")
    parser.add_argument("--devices", type=int, default=2)
    parser.add_argument("--batch", type=int, default=256, help="images per device")
    parser.add_argument("--seconds", type=float, default=15.0)
    parser.add_argument("--steps", type=int, default=20, help="of each comparison")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--tiny", action="store_true", help="a small network, for a dry run")
    parser.add_argument("--overrides", nargs="*", default=(), help="path=value")
    given = parser.parse_args()
    given.precisions = ("bf16", "fp32") if torch.cuda.is_available() else ("fp32",)
    given.overrides = (*(TINY if given.tiny else ()), *given.overrides)
    if given.tiny:
        given.batch, given.seconds, given.steps = min(given.batch, 16), min(given.seconds, 1.0), min(given.steps, 4)
    given.out.mkdir(parents=True, exist_ok=True)
    target = given.out / "scaling.json"
    found = json.loads(target.read_text()) if target.exists() else {}
    found |= measured(given)
    target.write_text(json.dumps(found, indent=2) + "\n")
    for part in given.out.glob("*.partial.json"):
        part.unlink()
    print(json.dumps(found, indent=2))


def measured(given: argparse.Namespace) -> dict[str, Any]:
    """What the parts asked for say, and where they ran."""
    with tempfile.TemporaryDirectory() as folder, socket.socket() as free:
        for name in (*given.precisions, "resumed", "spread"):
            (Path(folder) / name).mkdir()
        alone(one, folder, given)
        (given.out / "one.partial.json").write_text((Path(folder) / "one.json").read_text())
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        free.close()
        multiprocessing.spawn(several, args=(folder, given, port), nprocs=given.devices)
        if "spread" in given.parts:
            alone(last, folder, given)
        answers = {path.stem: json.loads(path.read_text()) for path in Path(folder).glob("*.json")}
        slicing = {
            precision: compared(Path(folder) / precision, given.devices)
            for precision in given.precisions
            if "slicing" in given.parts
        }
    found: dict[str, Any] = {
        "device": answers["one"]["device"],
        "devices": given.devices,
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "python": platform.python_version(),
        "environment": {name: value for name, value in os.environ.items() if name.startswith("NCCL_")},
        "overrides": list(given.overrides),
    }
    if "speed" in given.parts:
        single, many = answers["one"]["speed"], answers["several"]["speed"]
        found["speed"] = [single, many]
        found["efficiency"] = many["images_per_second"] / (given.devices * single["images_per_second"])
    if slicing:
        found["slicing"] = slicing
    if "resumed" in given.parts:
        found["resumed"] = answers["several"]["resumed"]
    if "spread" in given.parts:
        found["spread"] = answers["several"]["spread"] | {"read_by_one": answers["last"]}
    return found


if __name__ == "__main__":
    main()
