"""Guide 003's defaults, which it tells everybody to start from."""

from __future__ import annotations

from ddpm_exp.spec.data import CIFAR10, Data
from ddpm_exp.spec.diffusion import Diffusion
from ddpm_exp.spec.evaluation import Evaluation
from ddpm_exp.spec.experiment import Experiment
from ddpm_exp.spec.model import Model, UNet
from ddpm_exp.spec.presets.registry import preset
from ddpm_exp.spec.training import Training


@preset(
    "003",
    "data",
    "diffusion.schedule",
    "diffusion.timesteps",
    "model.dropout",
    "training.images_per_step",
    "training.learning_rate",
    "training.warmup",
    "training.duration",
    "training.gradient_clip",
    "training.ema_half_life",
)
class Defaults(Experiment):
    """Guide 003: cosine, 1000 timesteps, rate 2e-4, 128 images per step, warm-up 5,000 steps, dropout 0.1, EMA 0.9999, clip 1.0.

    500,000 steps is the guide's duration for 50,000 images of 64x64 pixels; CIFAR-10, with as many smaller images, is our choice.
    """

    data: Data = CIFAR10()
    diffusion: Diffusion = Diffusion(schedule="cosine", timesteps=1000)
    model: Model = UNet(dropout=0.1)
    training: Training = Training(
        images_per_step=128,
        learning_rate=2e-4,
        warmup="5000 steps",
        duration="500000 steps",
        gradient_clip=1.0,
        ema_half_life="887000 images",
        checkpoint_every="20 epochs",
    )
    evaluation: Evaluation = Evaluation(every="50 epochs")
