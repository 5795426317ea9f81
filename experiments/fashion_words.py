"""Clothing from prompts, the U-Net looking at each word: cross-attention on Fashion-MNIST. A minute or two on one H100."""

from ddpm_exp import Decision, Diffusion, Evaluation, Experiment, FashionMNIST, Prompts, Sampling, Training, UNet, metric


class FashionWords(Experiment):
    """As in text-to-image models (guide 002), pixels attend to words; samples are asked for in wording that training never used."""

    data = FashionMNIST(image_size=32)
    condition = Prompts(by="cross-attention")
    diffusion = Diffusion(schedule="cosine", prediction="v", weight="min-snr")
    model = UNet(base_channels=64, time_embedding=256, attention_resolutions=(16, 8), heads=4, time_conditioning="adagn")
    training = Training(
        images_per_step=256,
        duration="7 epochs",
        learning_rate=5e-4,
        warmup="300 steps",
        rate="cosine",
        ema_half_life="100000 images",
        checkpoint_every="7 epochs",
    )
    sampling = Sampling(sampler="dpm++2m", steps=25, guidance_scale=2.5)
    evaluation = Evaluation(every="7 epochs", samples=300)
    decision = Decision(
        title="Draw clothing from words by cross-attention",
        context="A prompt's words reach the network as one vector, or as tokens that every pixel can look at.",
        chosen="Cross-attention after self-attention at 16 and 8 pixels and in the middle, the small encoder trained along.",
        seeds=(0, 1, 2),
        accept_when=(
            metric("val/denoising").falls(by="50%", against="untrained"),
            metric("samples/coherence").rises(by=0.2, against="noise"),
            metric("samples/class_accuracy") >= 0.6,
        ),
        reject_when=(metric("samples/class_accuracy") <= 0.2,),
    )
