"""A continuous condition: clothing as bright as asked, on Fashion-MNIST. A minute or two on one H100."""

from ddpm_exp import ContinuousValues, Decision, Diffusion, Evaluation, Experiment, FashionMNIST, Sampling, Training, UNet, metric


class FashionBrightness(Experiment):
    """The mean brightness of each image stands for a dose or a physical parameter (guide 002); AdaGN tells the network."""

    data = FashionMNIST(image_size=32)
    condition = ContinuousValues(names=("brightness",))
    diffusion = Diffusion(schedule="cosine", prediction="v")
    model = UNet(base_channels=64, time_embedding=256, time_conditioning="adagn")
    training = Training(
        images_per_step=256,
        duration="5 epochs",
        learning_rate=5e-4,
        warmup="300 steps",
        rate="cosine",
        ema_half_life="100000 images",
        checkpoint_every="5 epochs",
    )
    sampling = Sampling(sampler="unipc", steps=20)
    evaluation = Evaluation(every="5 epochs", samples=300)
    decision = Decision(
        title="Draw clothing as bright as asked",
        context="Doses and physical parameters are numbers, not classes: what is asked for may never have occurred in training.",
        chosen="The standardised value through two layers into the time embedding, AdaGN, 20 steps of UniPC.",
        seeds=(0, 1, 2),
        accept_when=(
            metric("val/denoising").falls(by="50%", against="untrained"),
            metric("samples/value_error").falls(by="50%", against="untrained"),
            metric("samples/value_error").falls(by="50%", against="noise"),
        ),
        reject_when=(metric("samples/value_error") >= 1.0,),
    )
