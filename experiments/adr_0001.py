"""ADR-0001: the configuration that ADR-0002 starts from, recorded so that there is something to compare with."""

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


class Conservative(Experiment):
    """The "original configuration" of guide 004: 500 timesteps, rate 5e-6, batches of 4, 128 channels, 32x32 pixels, prompts.

    The guide does not name its images; here they are Fashion-MNIST. At 4 images per step the whole data set would take hours per
    epoch, so both arms train on one fixed, class-balanced subset of 2,048 images, which defines their epoch, for 20 epochs.
    Sampling takes 125 DDIM steps: the guide's later 50 of 200 "maintain" a ratio of 4. What the guide does not mention (linear
    betas from 1e-4 to 0.02, EMA, clipping at 1.0, a constant rate without warm-up, dropout 0.1) is left at this product's defaults.
    """

    data = FashionMNIST(image_size=32, subset=2048)
    condition = Prompts()
    diffusion = Diffusion(schedule="linear", timesteps=500)
    model = UNet(base_channels=128, time_embedding=256)
    training = Training(learning_rate=5e-6, images_per_step=4, duration="20 epochs", checkpoint_every="20 epochs")
    sampling = Sampling(sampler="ddim", steps=125)
    evaluation = Evaluation(every="10 epochs")
    decision = Decision(
        title="Record the conservative training configuration",
        date="2025-06-09",
        context=(
            "Training at 32x32 pixels with prompts needs a configuration that later ones are compared with. Both it and its "
            "successors train on one fixed subset of 2,048 Fashion-MNIST images; an epoch is one pass over them."
        ),
        chosen=(
            "500 timesteps, learning rate 5e-6, 4 images per step, 128 base channels, a time embedding of 256, "
            "samples every 10 epochs, checkpoints every 20."
        ),
        seeds=(0, 1, 2),
        accept_when=(
            # "The model was learning (loss decreasing ...)": the least that a baseline must do.
            metric("val/denoising").falls(by="5%", against="untrained"),
        ),
        reject_when=(
            # A baseline that skips steps for lack of finite numbers is no baseline.
            metric("train/bad_steps") >= 1,
        ),
    )
