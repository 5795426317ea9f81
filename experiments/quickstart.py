"""Handwritten digits on a CPU: a small class-conditional U-Net learns to draw them in about a minute."""

from ddpm_exp import (
    ClassLabels,
    Decision,
    Diffusion,
    Digits,
    Evaluation,
    Experiment,
    Sampling,
    Training,
    UNet,
    metric,
)


class Quickstart(Experiment):
    """Class-conditional DDPM on scikit-learn's 8x8 digits.

    Width, duration and rate were chosen by trying them on seed 0, so its verdict is a demonstration, not a test of new ground.
    """

    data = Digits()
    condition = ClassLabels()
    diffusion = Diffusion(schedule="cosine", timesteps=1000)
    model = UNet(base_channels=24, multipliers=(1, 2), blocks_per_level=1, attention_resolutions=(), groups=8, time_embedding=96)
    training = Training(
        images_per_step=64,
        duration="20 epochs",
        learning_rate=3e-3,
        warmup="2 epochs",
        rate="cosine",
        ema_half_life="10 epochs",
    )
    sampling = Sampling(steps=25, guidance_scale=2.0)
    evaluation = Evaluation(every="10 epochs", grid_columns=10)
    decision = Decision(
        title="Draw digits on a CPU",
        context="A newcomer wants to see a diffusion model learn something real before renting a GPU.",
        chosen="A U-Net of 24 base channels on 8x8 digits, conditioned on the class, for 20 epochs, twice.",
        seeds=(0, 1),
        accept_when=(
            metric("val/denoising").falls(by="50%", against="untrained"),
            metric("samples/coherence").rises(by=0.2, against="noise"),
            metric("samples/class_accuracy") >= 0.9,
        ),
        reject_when=(metric("samples/class_accuracy") <= 0.3,),
    )
