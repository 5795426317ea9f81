"""Sequences: damped oscillations of three kinds, drawn by a one-dimensional diffusion transformer. A minute on a CPU."""

from ddpm_exp import ClassLabels, Decision, Diffusion, DiT, Evaluation, Experiment, Sampling, Sequences, Training, metric


class WavesSequence(Experiment):
    """Pieces of four steps are the tokens of a small DiT (guide 002's network for sequences); AdaLN-zero tells it time and kind."""

    data = Sequences(source="waves", length=64)
    condition = ClassLabels()
    diffusion = Diffusion(schedule="rectified-flow", prediction="velocity", time_density="logit-normal")
    model = DiT(width=128, depth=4, heads=4, patch=4)
    training = Training(
        images_per_step=128,
        duration="4000 steps",
        learning_rate=1e-3,
        warmup="200 steps",
        rate="cosine",
        ema_half_life="20000 images",
        checkpoint_every="4000 steps",
        log_every="100 steps",
    )
    sampling = Sampling(sampler="heun", steps=20)
    evaluation = Evaluation(every="4000 steps", samples=300)
    decision = Decision(
        title="Draw oscillations by a transformer",
        context="Measured signals are sequences: places matter, and there is one dimension of them.",
        chosen="A DiT of 128 features and four blocks on pieces of four steps, rectified flow, 20 steps of Heun.",
        seeds=(0, 1, 2),
        accept_when=(
            metric("samples/sliced_wasserstein").falls(by="50%", against="untrained"),
            metric("samples/sliced_wasserstein").falls(by="50%", against="noise"),
            metric("samples/class_accuracy") >= 0.6,
        ),
        reject_when=(metric("samples/sliced_wasserstein").rises(against="noise"),),
    )
