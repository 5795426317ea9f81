"""Sampling speed, DDIM of 50 steps: ours as evaluation and `ddpm-exp sample` draw, beside diffusers' loop, on one GPU.

    python benchmarks/sampling_throughput.py --out benchmarks/results/sampling_throughput.json

`tflops` counts matrix products and convolutions alone.
"""

from __future__ import annotations

import argparse
import gc
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from throughput import H100_BF16_TFLOPS, device_name, flops_per_image, peak, runtime, wait
from train_throughput import diffusers_network

STEPS = 50


def ours(batch: int, heads: int, precision: str, fused: bool) -> tuple[dict[str, Any], Callable[[], object]]:
    """Our artist, for `batch` samples of the averaged network."""
    overrides = [
        f"model.heads={heads}",
        f"training.precision={precision}",
        f"hardware.fused_kernels={fused}",
        "sampling.sampler=ddim",
    ]
    ready, made = runtime([*overrides, f"sampling.steps={STEPS}", "training.images_per_step=8"])
    ready = made.artist.ready(made.averaged().eval())
    numbers = torch.arange(batch)
    case = {"trainer": "ddpm-exp", "variant": "fused" if fused else "op by op", "precision": ready.plan.precision}
    return case, lambda: made.artist.draw_batch(ready, None, numbers, 0)


def diffusers(batch: int, heads: int, precision: str) -> tuple[dict[str, Any], Callable[[], object]]:
    """The loop of diffusers' DDIMPipeline, without its conversion to pictures."""
    from diffusers import DDIMScheduler

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    network = diffusers_network(heads).to(device).eval()
    if precision == "bf16":
        network = network.to(torch.bfloat16)
    scheduler = DDIMScheduler(1000)
    scheduler.set_timesteps(STEPS)

    @torch.no_grad()
    def draw() -> torch.Tensor:
        x = torch.randn(batch, 3, 32, 32, device=device, dtype=network.dtype)
        for t in scheduler.timesteps:
            x = scheduler.step(network(x, t).sample, t, x).prev_sample
        return x

    return {"trainer": "diffusers", "variant": "pipeline", "precision": precision}, draw


def measure(case: dict[str, Any], draw: Callable[[], object], batch: int, heads: int, times: int) -> dict[str, Any]:
    """Samples per second over `times` batches, after one."""
    with torch.no_grad():
        draw()
        wait()
        began = time.perf_counter()
        for _ in range(times):
            draw()
        wait()
    speed = batch * times / (time.perf_counter() - began)
    rate = speed * STEPS * flops_per_image([f"model.heads={heads}"], training=False) / 1e12
    case |= {"network": f"U-Net 35.7 M, heads={heads}", "sampler": f"ddim, {STEPS} steps", "batch": batch}
    case |= {"samples_per_second": round(speed, 1), "peak_bytes": peak(), "tflops": round(rate, 1)}
    case |= {"share_of_peak": round(rate / H100_BF16_TFLOPS, 3)}
    print(json.dumps(case), flush=True)
    return case


def main() -> None:
    """Measure each case; write after each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batches", type=int, nargs="+", default=[256, 512])
    parser.add_argument("--heads", type=int, nargs="+", default=[1])
    parser.add_argument("--times", type=int, default=3)
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    cases: list[dict[str, Any]] = []
    for heads in given.heads:
        for batch in given.batches:
            for make in (
                lambda b=batch, h=heads: ours(b, h, "bf16", True),
                lambda b=batch, h=heads: ours(b, h, "bf16", False),
                lambda b=batch, h=heads: diffusers(b, h, "bf16"),
                lambda b=batch, h=heads: diffusers(b, h, "fp32"),
            ):
                gc.collect()
                if torch.cuda.is_available():
                    torch.cuda.empty_cache()
                    torch.cuda.reset_peak_memory_stats()
                case, draw = make()
                cases.append(measure(case, draw, batch, heads, given.times))
                given.out.write_text(
                    json.dumps({"device": device_name(), "torch": torch.__version__, "cases": cases}, indent=2) + "\n"
                )


if __name__ == "__main__":
    main()
