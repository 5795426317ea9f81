"""Guide 001's four CIFAR-10 configurations: standard, optimized, best quality and fastest."""

from __future__ import annotations

from ddpm_exp.spec.data import CIFAR10, Data
from ddpm_exp.spec.diffusion import Diffusion
from ddpm_exp.spec.evaluation import Evaluation
from ddpm_exp.spec.experiment import Experiment
from ddpm_exp.spec.model import Model, UNet
from ddpm_exp.spec.presets.registry import preset
from ddpm_exp.spec.training import Training

_SCHEDULE = ("data", "diffusion.schedule", "diffusion.timesteps", "diffusion.beta_start", "diffusion.beta_end")
_TRAINING = ("training.images_per_step", "training.learning_rate", "training.gradient_clip")


@preset("001", *_SCHEDULE, *_TRAINING, "training.rate")
class Standard(Experiment):
    """Guide 001, "CIFAR-10 Standard": 1000 timesteps, betas 1e-4 to 0.02, 128 images per step, rate 2e-4, cosine restarts.

    The guide does not say how long a cycle is: 50 epochs, then 100, then 200 are ours, as are warm-up and the network, DDPM's.
    """

    data: Data = CIFAR10()
    diffusion: Diffusion = Diffusion(schedule="linear", timesteps=1000, beta_start=1e-4, beta_end=0.02)
    training: Training = Training(
        images_per_step=128,
        learning_rate=2e-4,
        duration="350 epochs",
        gradient_clip=0.5,
        rate="warm-restarts",
        cycle="50 epochs",
        cycle_growth=2.0,
        warmup="5000 steps",
    )


@preset("001", *_SCHEDULE, *_TRAINING, "training.rate", "model.time_embedding", "model.attention_resolutions")
class Optimized(Standard):
    """Guide 001, "CIFAR-10 Optimized (recommended)": as standard, at rate 3e-4, with a smaller network that attends, emb_dim 128.

    The guide does not describe that network: half of DDPM's width stands for it, as in `Fastest`.
    """

    model: Model = UNet(base_channels=64, time_embedding=128)
    training: Training = Standard().training.but(learning_rate=3e-4)


@preset("001", *_SCHEDULE, *_TRAINING, "diffusion.cosine_s", "model.time_embedding", "training.duration")
class BestQuality(Experiment):
    """Guide 001, "for absolute best quality": 2000 timesteps, cosine, 256 images per step, rate 2e-4, emb_dim 256, 300 epochs.

    `emb_dim` is read as the width of the time embedding, as its name says; the rest of the network is DDPM's. The guide names
    no learning-rate schedule here, nor warm-up, dropout or EMA: a falling cosine, guide 003's warm-up and the defaults are ours.
    """

    data: Data = CIFAR10()
    diffusion: Diffusion = Diffusion(schedule="cosine", timesteps=2000, cosine_s=0.008)
    model: Model = UNet(time_embedding=256)
    training: Training = Training(
        images_per_step=256, learning_rate=2e-4, duration="300 epochs", gradient_clip=0.5, rate="cosine", warmup="5000 steps"
    )


@preset("001", *_SCHEDULE, *_TRAINING, "model.attention_resolutions")
class Fastest(Experiment):
    """Guide 001, "for fastest training (acceptable quality)": 500 timesteps, 256 images per step, rate 5e-4, no attention.

    The guide does not describe its optimized network: half of DDPM's width stands for it here, with the guide's usual emb_dim
    of 128 as the time embedding. The middle of the network still attends. 100 epochs is where the guide sees high quality.
    """

    data: Data = CIFAR10()
    diffusion: Diffusion = Diffusion(schedule="linear", timesteps=500, beta_start=1e-4, beta_end=0.02)
    model: Model = UNet(base_channels=64, time_embedding=128, attention_resolutions=())
    training: Training = Training(
        images_per_step=256, learning_rate=5e-4, duration="100 epochs", gradient_clip=0.5, rate="cosine", warmup="1000 steps"
    )
    evaluation: Evaluation = Evaluation(every="10 epochs")
