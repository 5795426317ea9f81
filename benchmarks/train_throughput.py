"""Training speed of our trainer, the one that `run` uses, beside diffusers' loop: one network, one GPU, one process.

    python benchmarks/train_throughput.py --out benchmarks/results/train_throughput.json

Each case trains a warm-up (compilation and capture included) and then `--seconds` of steps. The diffusers loop is that of
its `train_unconditional.py` with the data already on the GPU: UNet2DModel, DDPMScheduler, AdamW, clipping, EMAModel.
`tflops` counts matrix products and convolutions alone. `--profile FILE` writes a table of the kernels of a step.
"""

from __future__ import annotations

import argparse
import gc
import json
from pathlib import Path
from typing import Any

import torch
from throughput import H100_BF16_TFLOPS, device_name, flops_per_image, peak, per_second, runtime, wait

OURS = {
    "fused": (),
    "fused, compiled": ("hardware.compile=True",),
    "op by op": ("hardware.fused_kernels=False",),
    "op by op, compiled": ("hardware.fused_kernels=False", "hardware.compile=True"),
    "fused, not captured": ("hardware.cuda_graph=False",),
    "fused, dropout 0.1": ("model.dropout=0.1",),
}


def ours(name: str, batch: int, heads: int, seconds: float, profile: Path | None) -> dict[str, Any]:
    """One case of our trainer."""
    overrides = [f"training.images_per_step={batch}", f"model.heads={heads}", *OURS[name]]
    ready, made = runtime(overrides)
    speed, first = per_second(made.trainer.step, batch, warm_up=12, seconds=seconds)
    case = {"trainer": "ddpm-exp", "variant": name, "precision": ready.plan.precision, "micro_batch": ready.plan.micro_batch}
    case |= {"compile": ready.plan.compile, "first_12_steps_seconds": round(first, 1)}
    case |= {"last_loss": made.trainer.statistics.read()[0].get("train/loss")}
    if profile is not None:
        profile.write_text(kernels(made.trainer.step, batch))
        if not ready.experiment.hardware.cuda_graph:
            profile.with_suffix(".operations.md").write_text(operations(made.trainer.step))
    return finished(case, batch, heads, speed)


def diffusers_network(heads: int) -> Any:
    """UNet2DModel in the form of ddpm-cifar10-32; diffusers' own default is 32 heads of 8 channels, the paper's is one head."""
    from diffusers import UNet2DModel

    return UNet2DModel(
        sample_size=32,
        block_out_channels=(128, 256, 256, 256),
        down_block_types=("DownBlock2D", "AttnDownBlock2D", "DownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "UpBlock2D", "AttnUpBlock2D", "UpBlock2D"),
        downsample_padding=0,
        attention_head_dim=256 // heads,
    )


def diffusers_loop(batch: int, heads: int, seconds: float) -> dict[str, Any]:
    """One case of diffusers' loop, bf16 by autocast as accelerate does it."""
    from diffusers import DDPMScheduler
    from diffusers.training_utils import EMAModel

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.manual_seed(0)
    network = diffusers_network(heads).to(device)
    optimizer = torch.optim.AdamW(network.parameters(), lr=2e-4, betas=(0.95, 0.999), weight_decay=1e-6)
    average = EMAModel(network.parameters(), decay=0.9999, use_ema_warmup=True)
    average.to(device)
    scheduler = DDPMScheduler(1000)
    images = torch.rand(8192, 3, 32, 32, device=device) * 2 - 1

    def step() -> None:
        x0 = images[torch.randint(0, 8192, (batch,), device=device)]
        noise = torch.randn_like(x0)
        times = torch.randint(0, 1000, (batch,), device=device)
        noisy = scheduler.add_noise(x0, noise, times)
        with torch.autocast(device.type, dtype=torch.bfloat16):
            said = network(noisy, times).sample
        torch.nn.functional.mse_loss(said.float(), noise.float()).backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        average.step(network.parameters())

    speed, _ = per_second(step, batch, warm_up=5, seconds=seconds)
    return finished({"trainer": "diffusers", "variant": "loop", "precision": "bf16", "compile": False}, batch, heads, speed)


def finished(case: dict[str, Any], batch: int, heads: int, speed: float) -> dict[str, Any]:
    """The case with its figures; prints it."""
    rate = speed * flops_per_image([f"model.heads={heads}"], training=True) / 1e12
    case |= {"network": f"U-Net 35.7 M, heads={heads}", "batch": batch, "images_per_second": round(speed, 1)}
    case |= {"peak_bytes": peak(), "tflops": round(rate, 1), "mfu": round(rate / H100_BF16_TFLOPS, 3)}
    print(json.dumps(case), flush=True)
    return case


def kernels(step: Any, batch: int, steps: int = 4) -> str:
    """Device time of each kernel per step, the longest first."""
    step()
    wait()
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as found:
        for _ in range(steps):
            step()
        wait()
    rows = sorted(found.key_averages(), key=lambda row: -row.self_device_time_total)
    total = sum(row.self_device_time_total for row in rows) / steps / 1000
    lines = [f"{device_name()}, torch {torch.__version__}, batch {batch}: {total:.2f} ms of kernels per step", ""]
    lines += ["| ms per step | launches | kernel |", "| ---: | ---: | --- |"]
    for row in rows[:90]:
        lines.append(f"| {row.self_device_time_total / steps / 1000:.3f} | {row.count / steps:.0f} | {row.key[:110]} |")
    return "\n".join(lines) + "\n"


def operations(step: Any, steps: int = 3) -> str:
    """Device time of each of torch's operations per step, by the shapes of what goes in; for steps that are not captured."""
    for _ in range(3):
        step()
    wait()
    kinds = [torch.profiler.ProfilerActivity.CUDA, torch.profiler.ProfilerActivity.CPU]
    with torch.profiler.profile(activities=kinds, record_shapes=True) as found:
        for _ in range(steps):
            step()
        wait()
    rows = sorted(found.key_averages(group_by_input_shape=True), key=lambda row: -row.self_device_time_total)
    lines = ["| ms per step | calls | operation | inputs |", "| ---: | ---: | --- | --- |"]
    for row in rows[:120]:
        shapes = str(row.input_shapes)[:90]
        lines.append(f"| {row.self_device_time_total / steps / 1000:.3f} | {row.count / steps:.0f} | {row.key[:70]} | {shapes} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure each case; write after each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", nargs="+", default=["fused", "fused, compiled", "op by op", "diffusers"])
    parser.add_argument("--batches", type=int, nargs="+", default=[128, 512])
    parser.add_argument("--heads", type=int, nargs="+", default=[1])
    parser.add_argument("--seconds", type=float, default=6.0)
    parser.add_argument("--profile", type=Path, help="a folder for tables of kernels")
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    cases: list[dict[str, Any]] = []
    for heads in given.heads:
        for batch in given.batches:
            for name in given.cases:
                gc.collect()
                if torch.cuda.is_available():
                    torch.cuda.empty_cache()
                file = f"kernels_{name.replace(', ', '_').replace(' ', '_')}_{batch}.md"
                table = None if given.profile is None else given.profile / file
                try:
                    case = (
                        diffusers_loop(batch, heads, given.seconds)
                        if name == "diffusers"
                        else ours(name, batch, heads, given.seconds, table)
                    )
                except Exception as error:  # the other cases still count; the failure is written down
                    case = {"trainer": name, "batch": batch, "heads": heads, "failed": f"{type(error).__name__}: {error}"[:2000]}
                    print(json.dumps(case), flush=True)
                cases.append(case)
                report = {"device": device_name(), "torch": torch.__version__, "cases": cases}
                given.out.write_text(json.dumps(report, indent=2) + "\n")
    base = {case["batch"]: case["images_per_second"] for case in cases if case["trainer"] == "diffusers" and "failed" not in case}
    for case in cases:
        if "failed" not in case:
            ratio = f"{case['images_per_second'] / base[case['batch']]:.2f}" if case["batch"] in base else ""
            cells = [case["trainer"], case["variant"], case["network"], case["batch"], f"{case['images_per_second']:,.0f}", ratio]
            cells += [case["tflops"], f"{case['mfu']:.1%}", f"{case['peak_bytes'] / 2**30:.1f} GiB"]
            print("| " + " | ".join(map(str, cells)) + " |")


if __name__ == "__main__":
    main()
