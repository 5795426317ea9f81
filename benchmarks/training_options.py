"""Phases through a captured step against op by op, and what a step costs by each optimizer. Writes JSON; needs no data.

python benchmarks/training_options.py --out results.json            # one CUDA device
python benchmarks/training_options.py --device cpu --small --out x  # a dry run
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import torch

from ddpm_exp import Digits, Experiment, Hardware, Phase, Training, UNet
from ddpm_exp.loading.loaded import Loaded
from ddpm_exp.workflow.assemble import assemble
from ddpm_exp.workflow.options import RunOptions
from ddpm_exp.workflow.prepare import find_machine, prepare

PHASES = (Phase(duration="4 steps", timesteps=100), Phase(duration="4 steps", timesteps=500, image_size=8))


def trainer_of(device: str, model: UNet, images: int, *, graph: bool, **training: Any) -> Any:
    experiment = Experiment(
        data=Digits(image_size=16),
        model=model,
        training=Training(images_per_step=images, duration="1000 steps", **training),
        hardware=Hardware(cuda_graph=graph, compile=False),
    )
    options = RunOptions(gpu="cpu" if device == "cpu" else None)
    loaded = Loaded(experiment, "options", "options", "Options", Path("options.py"), {}, None, {}, ())
    return assemble(prepare(loaded, find_machine(options)), 0).trainer


def losses(trainer: Any, steps: int) -> list[float]:
    found = []
    for _ in range(steps):
        trainer.step()
        found.append(trainer.statistics.read()[0]["train/loss"])
    return found


def seconds_per_step(trainer: Any, device: str, steps: int) -> float:
    for _ in range(3):
        trainer.step()
    wait = torch.cuda.synchronize if device == "cuda" else (lambda: None)
    wait()
    began = time.perf_counter()
    for _ in range(steps):
        trainer.step()
    wait()
    return (time.perf_counter() - began) / steps


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("--device", choices=("cpu", "cuda"), default="cuda")
    words.add_argument("--small", action="store_true", help="a tiny network, for a dry run")
    words.add_argument("--out", type=Path, required=True)
    asked = words.parse_args()
    small = {"base_channels": 8, "groups": 8, "multipliers": (1, 2), "blocks_per_level": 1}
    sizes: dict[str, Any] = small if asked.small else {"multipliers": (1, 2, 2)}
    model, images = UNet(attention_resolutions=(), dropout=0.0, **sizes), 8 if asked.small else 128
    found: dict[str, Any] = {"torch": torch.__version__, "device": asked.device}
    if asked.device == "cuda":
        found["device"] = torch.cuda.get_device_name()
    captured = losses(trainer_of(asked.device, model, images, graph=True, phases=PHASES, precision="fp32"), 12)
    eager = losses(trainer_of(asked.device, model, images, graph=False, phases=PHASES, precision="fp32"), 12)
    found["phases"] = {"captured": captured, "op by op": eager}
    found["largest relative difference"] = max(abs(a - b) / b for a, b in zip(captured, eager, strict=True))
    found["seconds per step"], found["peak bytes"] = {}, {}
    for kind in ("adamw", "adam", "muon"):
        if asked.device == "cuda":
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
        trainer = trainer_of(asked.device, model, images, graph=True, optimizer=kind)
        found["seconds per step"][kind] = seconds_per_step(trainer, asked.device, 3 if asked.small else 50)
        if asked.device == "cuda":
            found["peak bytes"][kind] = torch.cuda.max_memory_reserved()
        del trainer
    asked.out.write_text(json.dumps(found, indent=2) + "\n")
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
