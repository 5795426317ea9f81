"""Inpainting: the middle of a piece of clothing drawn from the rest, on Fashion-MNIST. A minute or two on one H100."""

from ddpm_exp import Decision, Diffusion, Evaluation, Experiment, FashionMNIST, ImageCondition, Sampling, Training, UNet, metric


class FashionInpainting(Experiment):
    """The known pixels and the mask are further channels of the input (guide 002, image-conditional)."""

    data = FashionMNIST(image_size=32)
    condition = ImageCondition(task="inpainting")
    diffusion = Diffusion(schedule="cosine", prediction="v")
    model = UNet(base_channels=64, time_embedding=256)
    training = Training(
        images_per_step=256,
        duration="5 epochs",
        learning_rate=5e-4,
        warmup="300 steps",
        rate="cosine",
        ema_half_life="100000 images",
        checkpoint_every="5 epochs",
    )
    sampling = Sampling(sampler="ddim", steps=25)
    evaluation = Evaluation(every="5 epochs", samples=200)
    decision = Decision(
        title="Draw what is missing of an image",
        context="An image with a hole fixes most of what belongs into it; the network must join both without a seam.",
        chosen="Rectangular holes of random size and place in training, one in the middle in evaluation, by concatenation.",
        seeds=(0, 1, 2),
        accept_when=(
            metric("val/denoising").falls(by="50%", against="untrained"),
            metric("samples/restored_error").falls(by="50%", against="untrained"),
            metric("samples/restored_error").falls(by="50%", against="noise"),
        ),
        reject_when=(metric("samples/restored_error").rises(against="noise"),),
    )
