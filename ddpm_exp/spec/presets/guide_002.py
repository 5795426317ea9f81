"""Guide 002's recommendations for images, with class labels and guidance."""

from __future__ import annotations

from ddpm_exp.spec.condition import ClassLabels, Condition
from ddpm_exp.spec.data import CIFAR10, Data
from ddpm_exp.spec.diffusion import Diffusion
from ddpm_exp.spec.experiment import Experiment
from ddpm_exp.spec.presets.registry import preset
from ddpm_exp.spec.sampling import Sampling
from ddpm_exp.spec.training import Training


@preset(
    "002",
    "data",
    "condition.dropout",
    "diffusion.schedule",
    "diffusion.timesteps",
    "training.images_per_step",
    "training.learning_rate",
    "training.weight_decay",
    "training.gradient_clip",
    "training.ema_half_life",
    "sampling",
)
class Images(Experiment):
    """Guide 002 for images: cosine, 1000 timesteps, 128 images per step, rate 1e-4, AdamW with decay 0.01, EMA 0.999, clip 1.0.

    Labels are hidden with probability 0.1; 50 DDIM steps; guidance 2 out of the guide's 1 to 10. The condition is added to the
    features, which the guide lists as the U-Net's way; the adaptive normalization that it prefers is not in this network.
    Data, duration and warm-up are ours.
    """

    data: Data = CIFAR10()
    condition: Condition = ClassLabels(dropout=0.1)
    diffusion: Diffusion = Diffusion(schedule="cosine", timesteps=1000)
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
