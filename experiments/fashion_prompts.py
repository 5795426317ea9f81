"""Clothing from prompts: Fashion-MNIST at 32x32, meant to draw what it is asked for after some five minutes on one H100."""

from ddpm_exp import (
    Decision,
    Diffusion,
    Evaluation,
    Experiment,
    FashionMNIST,
    Prompts,
    Sampling,
    Training,
    UNet,
    metric,
)


class FashionPrompts(Experiment):
    """All 60,000 images for 10 epochs, cosine schedule, a U-Net of 96 channels that reads prompts, guidance 2.5.

    The classifier that judges it sees samples for prompts in wording that training never used. One seed is a few minutes;
    a verdict takes two, as a single run says nothing about the spread between seeds.
    """

    data = FashionMNIST(image_size=32)
    condition = Prompts()
    diffusion = Diffusion(schedule="cosine", timesteps=1000)
    model = UNet(base_channels=96, time_embedding=384)
    training = Training(
        images_per_step=256,
        duration="10 epochs",
        learning_rate=4e-4,
        warmup="250 steps",
        rate="cosine",
        ema_half_life="200000 images",
        checkpoint_every="5 epochs",
    )
    sampling = Sampling(sampler="ddim", steps=50, guidance_scale=2.5)
    evaluation = Evaluation(every="5 epochs", samples=500)
    decision = Decision(
        title="Draw clothing from prompts",
        context=(
            "Prompts are made from class names and templates and read by a small text encoder that is trained with the network. "
            "They are worth having only if samples show what was asked, also in wording never trained on."
        ),
        chosen="A U-Net of 96 base channels on the cosine schedule, 10 epochs over all of Fashion-MNIST, guidance 2.5.",
        seeds=(0, 1),
        accept_when=(
            metric("samples/class_accuracy") >= 0.8,
            metric("samples/prompt_distance") >= 0.5,
        ),
        reject_when=(metric("samples/class_accuracy") <= 0.5,),
    )
