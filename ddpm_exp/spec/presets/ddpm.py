"""The configuration of the DDPM paper itself (Ho et al. 2020, appendix B)."""

from __future__ import annotations

from ddpm_exp.spec.data import CIFAR10, Data
from ddpm_exp.spec.diffusion import Diffusion
from ddpm_exp.spec.evaluation import Evaluation
from ddpm_exp.spec.experiment import Experiment
from ddpm_exp.spec.model import Model, UNet
from ddpm_exp.spec.presets.registry import preset
from ddpm_exp.spec.sampling import Sampling
from ddpm_exp.spec.training import Training


@preset("Ho et al. 2020", "data", "diffusion", "model", "training", "sampling")
class DdpmCifar10(Experiment):
    """Unconditional CIFAR-10 as published: 35.7 M parameters, 1000 linear betas, 800,000 steps of 128 mirrored images, rate 2e-4,
    warm-up 5,000 steps, dropout 0.1, EMA 0.9999, ancestral sampling with the large variance.

    The published code's EMA has no ramp. How often to evaluate and to save is ours.
    """

    data: Data = CIFAR10(flip=True)
    diffusion: Diffusion = Diffusion(
        schedule="linear", timesteps=1000, beta_start=1e-4, beta_end=0.02, prediction="eps", weight="simple"
    )
    model: Model = UNet(
        base_channels=128,
        multipliers=(1, 2, 2, 2),
        blocks_per_level=2,
        attention_resolutions=(16,),
        heads=1,
        dropout=0.1,
        time_embedding=512,
        groups=32,
    )
    training: Training = Training(
        images_per_step=128,
        duration="800000 steps",
        learning_rate=2e-4,
        warmup="5000 steps",
        rate="constant",
        weight_decay=0.0,
        gradient_clip=1.0,
        ema_half_life="887000 images",
        ema_ramp=None,
        checkpoint_every="20 epochs",
    )
    sampling: Sampling = Sampling(sampler="ddpm", steps=1000, variance="large")
    evaluation: Evaluation = Evaluation(every="100 epochs")
