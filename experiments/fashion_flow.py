"""Rectified flow on Fashion-MNIST by a diffusion transformer, told the class. A minute or two on one H100."""

from ddpm_exp import ClassLabels, Decision, Diffusion, DiT, Evaluation, Experiment, FashionMNIST, Sampling, Training, metric


class FashionFlow(Experiment):
    """Straight paths from noise to data, velocity prediction, times drawn logit-normally, patches of 4x4 pixels."""

    data = FashionMNIST(image_size=32)
    condition = ClassLabels()
    diffusion = Diffusion(schedule="rectified-flow", prediction="velocity", time_density="logit-normal")
    model = DiT(width=256, depth=8, heads=4, patch=4)
    training = Training(
        images_per_step=256,
        duration="10 epochs",
        learning_rate=5e-4,
        warmup="300 steps",
        rate="cosine",
        ema_half_life="100000 images",
        checkpoint_every="10 epochs",
    )
    sampling = Sampling(sampler="heun", steps=20, guidance_scale=2.0)
    evaluation = Evaluation(every="10 epochs", samples=300)
    decision = Decision(
        title="Draw clothing by rectified flow",
        context="Rectified flow has straighter paths than DDPM, so that few steps of an ODE solver suffice.",
        chosen="A DiT of 256 features and eight blocks, patches of 4x4, 20 steps of Heun with guidance 2.",
        seeds=(0, 1, 2),
        accept_when=(
            metric("val/denoising").falls(by="50%", against="untrained"),
            metric("samples/coherence").rises(by=0.2, against="noise"),
            metric("samples/class_accuracy") >= 0.6,
        ),
        reject_when=(metric("samples/class_accuracy") <= 0.2,),
    )
