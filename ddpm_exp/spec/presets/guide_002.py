"""Guide 002's recommendations for images and for tables, with class labels."""

from __future__ import annotations

from ddpm_exp.spec.condition import ClassLabels, Condition
from ddpm_exp.spec.data import CIFAR10, Data
from ddpm_exp.spec.diffusion import Diffusion
from ddpm_exp.spec.experiment import Experiment
from ddpm_exp.spec.model import MLP, Model, UNet
from ddpm_exp.spec.presets.registry import preset
from ddpm_exp.spec.sampling import Sampling
from ddpm_exp.spec.training import Training
from ddpm_exp.spec.vectors import Table


@preset(
    "002",
    "data",
    "condition.dropout",
    "diffusion.schedule",
    "diffusion.timesteps",
    "model.time_conditioning",
    "training.images_per_step",
    "training.learning_rate",
    "training.weight_decay",
    "training.gradient_clip",
    "training.ema_half_life",
    "sampling",
)
class Images(Experiment):
    """Guide 002 for images: cosine, 1000 timesteps, 128 images per step, rate 1e-4, AdamW with decay 0.01, EMA 0.999, clip 1.0.

    Labels are hidden with probability 0.1; 50 DDIM steps; guidance 2 out of the guide's 1 to 10; adaptive normalization (AdaGN).
    Data, duration and warm-up are ours.
    """

    data: Data = CIFAR10()
    condition: Condition = ClassLabels(dropout=0.1)
    diffusion: Diffusion = Diffusion(schedule="cosine", timesteps=1000)
    model: Model = UNet(time_conditioning="adagn")
    training: Training = Training(
        images_per_step=128,
        learning_rate=1e-4,
        weight_decay=0.01,
        gradient_clip=1.0,
        ema_half_life="88679 images",
        duration="200 epochs",
        warmup="5000 steps",
    )
    sampling: Sampling = Sampling(sampler="ddim", steps=50, guidance_scale=2.0)


@preset(
    "002",
    "data",
    "condition.dropout",
    "condition.by",
    "diffusion.schedule",
    "diffusion.timesteps",
    "model.hidden_dim",
    "model.layers",
    "model.time_conditioning",
    "training.images_per_step",
    "training.learning_rate",
    "training.weight_decay",
    "training.gradient_clip",
    "training.ema_half_life",
    "sampling",
)
class Tables(Experiment):
    """Guide 002 for tables: an MLP of 4 residual blocks of 256, time and class concatenated, 256 rows per step, rate 3e-4.

    256 and 3e-4 lie within the guide's 128 to 512 and 1e-4 to 5e-4; cosine, 1000 timesteps, AdamW with decay 0.01, EMA 0.999, clip
    1.0 and 50 DDIM steps as for images. The data, duration and warm-up are ours.
    """

    data: Data = Table(source="wine")
    condition: Condition = ClassLabels(dropout=0.1, by="concatenation")
    diffusion: Diffusion = Diffusion(schedule="cosine", timesteps=1000)
    model: Model = MLP(hidden_dim=256, layers=4, time_conditioning="concatenated")
    training: Training = Training(
        images_per_step=256,
        learning_rate=3e-4,
        weight_decay=0.01,
        gradient_clip=1.0,
        ema_half_life="177359 images",
        duration="20000 steps",
        warmup="1000 steps",
    )
    sampling: Sampling = Sampling(sampler="ddim", steps=50)
