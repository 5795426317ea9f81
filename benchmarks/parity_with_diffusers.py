"""Do our networks compute what diffusers' compute, with the same weights, on this device in fp32?

    python benchmarks/parity_with_diffusers.py --out benchmarks/results/parity_with_diffusers_h100.json

Random weights go from ours to diffusers' UNet2DModel and DiTTransformer2DModel by the maps that `export` and `init_from` use.
TF32 is off. Reported is the norm of the difference of the outputs over the norm of diffusers' output.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import diffusers
import torch
from torch import Tensor, nn

from ddpm_exp.models import diffusers_dit, diffusers_unet
from ddpm_exp.models.build import build_network
from ddpm_exp.models.inputs import ConditionInput
from ddpm_exp.spec.model import DiT, Model, UNet

CLASS = ConditionInput("class", "embedding", classes=10)
CASES: dict[str, tuple[Model, tuple[ConditionInput, ...], tuple[int, int, int], int]] = {
    "U-Net of ddpm-cifar10-32": (UNet(), (), (3, 32, 32), 1),
    "U-Net, 64 channels, four heads": (UNet(base_channels=64, heads=4, time_embedding=256), (), (1, 32, 32), 1),
    "U-Net, AdaGN": (UNet(base_channels=64, time_conditioning="adagn", time_embedding=256), (), (3, 32, 32), 1),
    "DiT-S/2": (DiT.S(2), (CLASS,), (4, 32, 32), 2),
    "DiT-B/4": (DiT.B(4), (CLASS,), (3, 32, 32), 1),
}


def relative(ours: Tensor, theirs: Tensor) -> float:
    """Norm of the difference over the norm of the second."""
    return float((ours.double() - theirs.double()).norm() / theirs.double().norm())


def wake(network: nn.Module) -> None:
    """Weights as after some training: none is zero."""
    with torch.no_grad():
        for weight in network.parameters():
            weight.add_(torch.randn_like(weight) * 0.02)


def case(name: str, device: torch.device) -> dict[str, Any]:
    """One network on both sides."""
    model, inputs, shape, outputs = CASES[name]
    torch.manual_seed(0)
    ours = build_network(model, inputs, shape, outputs=outputs, timesteps=1000)
    wake(ours)
    room, kind = (diffusers_unet, "UNet2DModel") if isinstance(model, UNet) else (diffusers_dit, "DiTTransformer2DModel")
    config, weights = room.to_diffusers(ours)
    theirs = getattr(diffusers, kind).from_config(config)
    theirs.load_state_dict(weights)
    ours, theirs = ours.to(device).eval(), theirs.to(device).eval()
    x, t = torch.randn(8, *shape, device=device), torch.randint(0, 1000, (8,), device=device)
    labels = torch.randint(0, 10, (8,), device=device)
    with torch.no_grad():
        said = ours(x, t.float(), {"class": labels} if inputs else None)
        reference = theirs(x, t, class_labels=labels).sample if inputs else theirs(x, t).sample
    parameters = sum(weight.numel() for weight in ours.parameters())
    return {"case": name, "against": kind, "parameters": parameters, "relative_difference": relative(said, reference)}


def main() -> None:
    """Compare all and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    report = {
        "device": torch.cuda.get_device_name() if device.type == "cuda" else "cpu",
        "torch": torch.__version__,
        "diffusers": diffusers.__version__,
        "precision": "fp32, TF32 off",
        "cases": [case(name, device) for name in CASES],
    }
    given.out.write_text(json.dumps(report, indent=2) + "\n")
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
