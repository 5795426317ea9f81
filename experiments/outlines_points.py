"""Clouds of points: outlines of circles, squares and triangles, drawn by a transformer that knows no order. A minute on a CPU."""

from ddpm_exp import ClassLabels, Decision, Diffusion, DiT, Evaluation, Experiment, Points, Sampling, Training, metric


class OutlinesPoints(Experiment):
    """Each point is a token without a position, so that a cloud is the same cloud in any order (guide 002's point clouds)."""

    data = Points(source="outlines", count=64)
    condition = ClassLabels()
    diffusion = Diffusion(
        schedule="ve", preconditioning="edm", prediction="x0", weight="edm", time_density="log-normal-sigma", sigma_data=1.0
    )
    model = DiT(width=128, depth=4, heads=4, time_features="fourier")
    training = Training(
        images_per_step=128,
        duration="3000 steps",
        learning_rate=1e-3,
        warmup="200 steps",
        rate="cosine",
        ema_half_life="20000 images",
        checkpoint_every="3000 steps",
        log_every="100 steps",
    )
    sampling = Sampling(sampler="edm-stochastic", steps=24, grid="karras", churn=10.0)
    evaluation = Evaluation(every="3000 steps", samples=300, classifier=False)
    decision = Decision(
        title="Draw clouds of points by a transformer without positions",
        context="The points of a cloud have no order, which convolutions and positions would make up.",
        chosen="A DiT of 128 features and four blocks without positions, EDM preconditioning, 24 steps of its sampler.",
        seeds=(0, 1, 2),
        accept_when=(
            metric("samples/sliced_wasserstein").falls(by="50%", against="untrained"),
            metric("samples/sliced_wasserstein").falls(by="50%", against="noise"),
        ),
        reject_when=(metric("samples/sliced_wasserstein").rises(against="noise"),),
    )
