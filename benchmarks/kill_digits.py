"""A few seconds of training on digits that writes checkpoints nearly all the time, for what kills and logging cost."""

from ddpm_exp import ClassLabels, Diffusion, Digits, Evaluation, Experiment, Sampling, Tracking, Training, UNet


class KillDigits(Experiment):
    data = Digits(image_size=8)
    condition = ClassLabels()
    diffusion = Diffusion(schedule="cosine", timesteps=100)
    model = UNet(base_channels=32, multipliers=(1, 2), blocks_per_level=1, attention_resolutions=(), groups=8, dropout=0.1)
    training = Training(
        images_per_step=16,
        duration="80 steps",
        learning_rate=1e-3,
        warmup="10 steps",
        rate="cosine",
        log_every="5 steps",
        checkpoint_every="5 steps",
        keep_best=True,
        ema_half_life="400 images",
    )
    sampling = Sampling(steps=2)
    evaluation = Evaluation(
        every="20 steps", held_out=32, samples=20, classifier=False, log_snr=(0.0,), reconstruction_log_snr=(0.0,)
    )
    tracking = Tracking(wandb="off")
