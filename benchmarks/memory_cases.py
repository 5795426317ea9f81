"""The configurations of memory_truth.py: every network, precision and mode, images of 28 to 128 pixels, micro-batches from 1 up."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from ddpm_exp import DiT, Evaluation, Experiment, Gaussians, Hardware, ImageFolder, Sampling, Training, UNet
from ddpm_exp.spec.condition import ClassLabels, Unconditional
from ddpm_exp.spec.data import CIFAR10, FashionMNIST
from ddpm_exp.spec.evaluation import FID
from ddpm_exp.spec.model import MLP, EncoderDecoder

FOLDER_IMAGES = 2048
"""Images of the made-up folders; half of them are trained on."""

TINY = UNet(base_channels=32, multipliers=(1, 2), attention_resolutions=(), time_embedding=128, groups=8, dropout=0.0)
SMALL = UNet(base_channels=64, time_embedding=256, dropout=0.0)
FIGURE = UNet(base_channels=64, multipliers=(1, 2, 2), attention_resolutions=(14,), dropout=0.1)
STANDARD = UNet(dropout=0.0)
WIDE = UNet(base_channels=192, multipliers=(1, 2, 3), attention_resolutions=(16, 8), heads=4, dropout=0.0)
LARGE = UNet(base_channels=64, multipliers=(1, 2, 4, 4), attention_resolutions=(16,), dropout=0.1)
BLOCKS = EncoderDecoder(hidden_dim=256)
NETWORKS = {
    "tiny U-Net": TINY,
    "small U-Net": SMALL,
    "U-Net for 28x28": FIGURE,
    "DDPM U-Net": STANDARD,
    "wide U-Net": WIDE,
    "large-image U-Net": LARGE,
    "encoder-decoder": BLOCKS,
    "narrow encoder-decoder": EncoderDecoder(hidden_dim=64),
    "DiT-S/4": DiT(),
    "DiT-S/2": DiT(patch=2),
    "DiT-B/4": DiT(width=768, heads=12),
    "MLP": MLP(hidden_dim=1024, layers=6),
    "unseen U-Net": UNet(base_channels=80, multipliers=(1, 2, 3), attention_resolutions=(32, 16), groups=16, heads=2, dropout=0.1),
    "unseen DiT": DiT(width=512, depth=9, heads=8, patch=4, dropout=0.1),
    "unseen MLP": MLP(hidden_dim=640, layers=9),
    "unseen encoder-decoder": EncoderDecoder(hidden_dim=160),
    "new U-Net": UNet(base_channels=96, multipliers=(1, 2, 2, 4), attention_resolutions=(8,), heads=4, dropout=0.0),
    "new DiT": DiT(width=320, depth=10, heads=5, patch=2),
    "new MLP": MLP(hidden_dim=1536, layers=4),
    "new encoder-decoder": EncoderDecoder(hidden_dim=192),
}


@dataclass(frozen=True)
class Case:
    """One training."""

    network: str
    micro_batch: int
    precision: str = "bf16"
    size: int = 32
    accumulation: int = 1
    training: dict[str, Any] = field(default_factory=dict)
    hardware: dict[str, Any] = field(default_factory=dict)
    model: dict[str, Any] = field(default_factory=dict)
    labelled: bool = False
    guidance: float = 1.0
    likelihood: int = 0
    """Held-out images whose bits per dimension are measured."""
    fid: bool = False
    """Whether features for FID are extracted."""

    @property
    def name(self) -> str:
        """What distinguishes it."""
        words = [self.network, "rows" if self._rows else f"{self.size}x{self.size}", self.precision]
        words.append(f"{self.micro_batch} x {self.accumulation}")
        changes = {**self.model, **self.training, **self.hardware}
        words += [f"{name}={value}" for name, value in changes.items()]
        words += ["classes"] * self.labelled + [f"guidance {self.guidance:g}"] * (self.guidance != 1)
        words += [f"bits of {self.likelihood}"] * (self.likelihood > 0) + ["FID"] * self.fid
        return ", ".join(words)

    @property
    def _rows(self) -> bool:
        return NETWORKS[self.network].kind == "mlp"

    @property
    def experiment(self) -> Experiment:
        """As a user would write it."""
        folder = ImageFolder(root="made-up", image_size=max(self.size, 8), subset=FOLDER_IMAGES // 2)
        data = {28: FashionMNIST(image_size=28), 32: CIFAR10()}.get(self.size, folder)
        images = self.micro_batch * self.accumulation
        return Experiment(
            data=Gaussians() if self._rows else data,
            condition=ClassLabels() if self.labelled else Unconditional(),
            model=NETWORKS[self.network].but(**self.model),
            training=Training(images_per_step=images, precision=self.precision, warmup="0 images", **self.training),
            hardware=Hardware(micro_batch=self.micro_batch, **{"compile": False} | self.hardware),
            sampling=Sampling(guidance_scale=self.guidance, weights="ema" if self.training.get("ema_half_life", 1) else "raw"),
            evaluation=Evaluation(samples=64, held_out=256, likelihood=self.likelihood, fid=FID() if self.fid else None),
        )


def _cases() -> Iterator[Case]:
    for precision in ("bf16", "fp16", "fp32"):
        yield Case("DDPM U-Net", 1, precision)
        yield Case("DDPM U-Net", 32, precision)
        yield Case("DDPM U-Net", 128, precision)
        yield Case("small U-Net", 128, precision)
        yield Case("tiny U-Net", 256, precision)
        yield Case("large-image U-Net", 16, precision, size=64)
        yield Case("encoder-decoder", 64, precision)
        yield Case("DiT-S/4", 128, precision)
        yield Case("DiT-S/2", 64, precision)
        yield Case("U-Net for 28x28", 128, precision, size=28, labelled=True)
        yield Case("MLP", 128, precision)
    for precision in ("bf16", "fp32"):
        checkpointing = {"checkpointing": True}
        yield Case("DDPM U-Net", 128, precision, model=checkpointing)
        yield Case("small U-Net", 512, precision, model=checkpointing)
        yield Case("DiT-S/2", 256, precision, model=checkpointing)
        yield Case("large-image U-Net", 32, precision, size=128, model=checkpointing)
        yield Case("encoder-decoder", 128, precision, model=checkpointing)
        yield Case("DDPM U-Net", 64, precision, accumulation=4)
        yield Case("wide U-Net", 32, precision)
        yield Case("large-image U-Net", 8, precision, size=128)
        yield Case("large-image U-Net", 16, precision, size=96, model={"attention_resolutions": (12,)})
        yield Case("DDPM U-Net", 64, precision, hardware={"fused_kernels": False})
        yield Case("large-image U-Net", 16, precision, size=64, hardware={"fused_kernels": False})
        yield Case("DDPM U-Net", 64, precision, hardware={"cuda_graph": False})
    yield Case("small U-Net", 128, hardware={"fused_kernels": False, "cuda_graph": False})
    yield Case("small U-Net", 64, "fp16", accumulation=2, labelled=True, guidance=2.0)
    yield Case("DDPM U-Net", 16, "fp16", accumulation=8, labelled=True)
    yield Case("DDPM U-Net", 64, model={"dropout": 0.1})
    yield Case("DDPM U-Net", 64, model={"heads": 8})
    yield Case("DDPM U-Net", 64, training={"ema_half_life": None})
    yield Case("DDPM U-Net", 64, training={"optimizer": "muon"})
    yield Case("DiT-B/4", 128)
    yield Case("DiT-B/4", 8, "fp32", accumulation=2)
    yield Case("narrow encoder-decoder", 512)
    yield Case("MLP", 8192)
    yield Case("U-Net for 28x28", 1024, size=28, labelled=True, guidance=3.0)
    yield Case("tiny U-Net", 1, "fp32")
    yield Case("tiny U-Net", 4096)
    yield Case("DDPM U-Net", 512)
    yield Case("DDPM U-Net", 1024, model={"checkpointing": True})
    yield Case("DDPM U-Net", 2048)
    yield Case("small U-Net", 2048, "fp32")
    yield Case("wide U-Net", 512)
    yield Case("large-image U-Net", 128, size=128)
    for network, micro in (("small U-Net", 128), ("DDPM U-Net", 64), ("DiT-S/4", 128), ("encoder-decoder", 64), ("MLP", 128)):
        yield Case(network, micro, hardware={"compile": True})
    yield Case("small U-Net", 128, hardware={"compile": True, "fused_kernels": False})


def _unseen() -> Iterator[Case]:
    """Were once estimated before they were measured; by now estimates have been changed with these in view."""
    for precision in ("bf16", "fp16", "fp32"):
        yield Case("unseen U-Net", 24, precision, size=64)
        yield Case("unseen DiT", 48, precision, size=64)
    yield Case("unseen U-Net", 12, size=64, accumulation=3, model={"checkpointing": True})
    yield Case("unseen U-Net", 40, size=64, hardware={"fused_kernels": False})
    yield Case("unseen U-Net", 96, training={"optimizer": "muon"})
    yield Case("unseen DiT", 300, size=64, model={"checkpointing": True})
    yield Case("unseen MLP", 3000)
    yield Case("unseen encoder-decoder", 200, size=28, labelled=True, guidance=2.0)
    yield Case("unseen encoder-decoder", 100, "fp32")
    yield Case("DDPM U-Net", 96)
    yield Case("DDPM U-Net", 24, "fp16", accumulation=2)
    yield Case("U-Net for 28x28", 96, "fp32", size=28, labelled=True)


def _new() -> Iterator[Case]:
    """Estimated before they were measured for the first time, by estimates that were made with none of them."""
    yield Case("new U-Net", 48)
    yield Case("new U-Net", 160, "fp16")
    yield Case("new U-Net", 40, "fp32")
    yield Case("new U-Net", 18, size=48, accumulation=2, model={"attention_resolutions": (12,)}, labelled=True, guidance=2.0)
    yield Case("new U-Net", 700, model={"checkpointing": True})
    yield Case("new U-Net", 72, "fp16", hardware={"fused_kernels": False})
    yield Case("new DiT", 200)
    yield Case("new DiT", 24, "fp32")
    yield Case("new DiT", 96, hardware={"compile": True})
    yield Case("new MLP", 2000, "fp32")
    yield Case("new encoder-decoder", 350)
    yield Case("new encoder-decoder", 90, "fp16", size=28, labelled=True)
    yield Case("new encoder-decoder", 56, "fp32")
    yield Case("new encoder-decoder", 320, training={"optimizer": "muon"})


def _evaluated() -> Iterator[Case]:
    """With the other peaks: FID, and bits per dimension."""
    for precision in ("bf16", "fp32"):
        yield Case("DDPM U-Net", 128, precision, likelihood=256, fid=True)
        yield Case("U-Net for 28x28", 16, precision, size=28, labelled=True, likelihood=64, fid=True)
        yield Case("large-image U-Net", 8, precision, size=128, likelihood=256, fid=True)
        yield Case("DiT-S/4", 64, precision, likelihood=256, fid=True)
        yield Case("encoder-decoder", 32, precision, fid=True)
    yield Case("DDPM U-Net", 16, "fp16", accumulation=2, fid=True)
    yield Case("tiny U-Net", 1, fid=True)
    yield Case("small U-Net", 64, labelled=True, guidance=2.0, fid=True)
    yield Case("large-image U-Net", 16, "fp16", size=64, fid=True)
    yield Case("DDPM U-Net", 64, model={"checkpointing": True}, fid=True)
    yield Case("DDPM U-Net", 32, hardware={"cuda_graph": False}, likelihood=256, fid=True)
    yield Case("small U-Net", 64, "fp32", hardware={"cuda_graph": False}, fid=True)
    yield Case("DiT-S/2", 32, hardware={"cuda_graph": False}, fid=True)
    yield Case("MLP", 512, likelihood=256)


def _evaluated_later() -> Iterator[Case]:
    """The same, estimated before they were measured, by estimates that were made with none of them."""
    yield Case("wide U-Net", 24, likelihood=64, fid=True)
    yield Case("unseen U-Net", 10, "fp16", size=64, fid=True)
    yield Case("new U-Net", 20, "fp32", likelihood=256, fid=True)
    yield Case("unseen DiT", 40, size=64, model={"checkpointing": True}, fid=True)
    yield Case("new encoder-decoder", 56, "fp32", size=28, labelled=True, fid=True)
    yield Case("new DiT", 48, "fp16", hardware={"cuda_graph": False}, likelihood=256, fid=True)


CASES = (*_cases(), *_unseen(), *_new(), *_evaluated(), *_evaluated_later())
