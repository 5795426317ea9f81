"""Guide 000's four configurations of its simple encoder-decoder."""

from __future__ import annotations

from ddpm_exp.spec.data import CIFAR10, Data
from ddpm_exp.spec.diffusion import Diffusion
from ddpm_exp.spec.evaluation import Evaluation
from ddpm_exp.spec.experiment import Experiment
from ddpm_exp.spec.hardware import Hardware
from ddpm_exp.spec.model import EncoderDecoder, Model
from ddpm_exp.spec.presets.registry import preset
from ddpm_exp.spec.training import Training

_STATED = (
    "data",
    "diffusion.schedule",
    "diffusion.timesteps",
    "diffusion.beta_start",
    "diffusion.beta_end",
    "model.hidden_dim",
    "model.time_emb_dim",
    "training.images_per_step",
    "training.duration",
    "training.learning_rate",
    "hardware.workers",
)


@preset("000", *_STATED)
class QuickTest(Experiment):
    """Guide 000, "quick test": 100 timesteps, hidden_dim 128, time_emb_dim 64, 16 images per step, 50 epochs, rate 1e-4.

    Data, warm-up, decay, EMA and clipping, of which the guide says nothing here, are ours in all four. 100 of its betas end at a
    log-SNR of -0.56, so evaluation leaves the noisier levels out.
    """

    data: Data = CIFAR10()
    diffusion: Diffusion = Diffusion(timesteps=100, beta_start=1e-4, beta_end=0.02)
    model: Model = EncoderDecoder(hidden_dim=128, time_emb_dim=64)
    training: Training = Training(
        images_per_step=16,
        duration="50 epochs",
        learning_rate=1e-4,
        weight_decay=0.01,
        warmup="1000 steps",
        ema_half_life="27700 images",
    )
    evaluation: Evaluation = Evaluation(log_snr=(0.0, 1.5, 3.0, 4.5), reconstruction_log_snr=(4.0, 2.0, 0.0))
    hardware = Hardware(workers=2)


@preset("000", *_STATED)
class Balanced(Experiment):
    """Guide 000, "balanced (recommended default)": 500 timesteps, hidden_dim 256, time_emb_dim 128, 8 images per step, 100 epochs,
    rate 1e-4."""

    data: Data = CIFAR10()
    diffusion: Diffusion = Diffusion(timesteps=500, beta_start=1e-4, beta_end=0.02)
    model: Model = EncoderDecoder(hidden_dim=256, time_emb_dim=128)
    training: Training = Training(
        images_per_step=8,
        duration="100 epochs",
        learning_rate=1e-4,
        weight_decay=0.01,
        warmup="1000 steps",
        ema_half_life="27700 images",
    )
    hardware = Hardware(workers=2)


@preset("000", *_STATED)
class HighQuality(Experiment):
    """Guide 000, "high quality": 1000 timesteps, hidden_dim 512, time_emb_dim 256, 4 images per step, 200 epochs, rate 5e-5."""

    data: Data = CIFAR10()
    diffusion: Diffusion = Diffusion(timesteps=1000, beta_start=1e-4, beta_end=0.02)
    model: Model = EncoderDecoder(hidden_dim=512, time_emb_dim=256)
    training: Training = Training(
        images_per_step=4,
        duration="200 epochs",
        learning_rate=5e-5,
        weight_decay=0.01,
        warmup="1000 steps",
        ema_half_life="27700 images",
    )
    hardware = Hardware(workers=2)


@preset("000", *_STATED)
class MemoryConstrained(Experiment):
    """Guide 000, "memory-constrained": 200 timesteps, hidden_dim 128, time_emb_dim 64, 4 images per step, 100 epochs, rate 1e-4."""

    data: Data = CIFAR10()
    diffusion: Diffusion = Diffusion(timesteps=200, beta_start=1e-4, beta_end=0.02)
    model: Model = EncoderDecoder(hidden_dim=128, time_emb_dim=64)
    training: Training = Training(
        images_per_step=4,
        duration="100 epochs",
        learning_rate=1e-4,
        weight_decay=0.01,
        warmup="1000 steps",
        ema_half_life="27700 images",
    )
    hardware = Hardware(workers=0)
