"""How the network learns: images per step, duration, learning rate, optimizer, EMA, clipping, precision."""

from __future__ import annotations

from typing import Annotated, Literal

from annotated_types import Ge, Gt, Le, Lt
from pydantic import model_validator

from ddpm_exp.spec.base import EXECUTION, Spec, broken, require_belonging
from ddpm_exp.spec.phases import Phase
from ddpm_exp.spec.progress import Amount, PositiveAmount, to_images
from ddpm_exp.spec.stopping import EarlyStopping

Precision = Literal["fp32", "bf16", "fp16"]
"""Arithmetic of the network's matrix products; weights, optimizer and schedule stay in fp32."""


_OF_RATES = {
    "final_rate": ("linear", "cosine", "warm-restarts", "one-cycle"),
    "cycle": ("warm-restarts", "step"),
    "cycle_growth": ("warm-restarts",),
    "step_factor": ("step",),
}
"""Schedules of the rate that a field means something for; elsewhere it must stay at its default."""


class Training(Spec):
    """An optimizer on the loss of `Diffusion`. Learning rate, EMA and duration are functions of images seen, not of steps."""

    images_per_step: Annotated[int, Ge(1)] = 128
    """Images that one optimizer step averages over, on all devices together. Never changed to fit memory:
    the plan slices it into micro-batches."""

    duration: PositiveAmount = "100 epochs"
    """How long to train."""

    learning_rate: Annotated[float, Gt(0), Le(0.1)] = 2e-4
    """Peak rate of the optimizer."""

    warmup: Amount = "0 images"
    """Linear rise of the rate from zero. Guide 003: 1,000 to 10,000 steps, or 5 % of the training."""

    rate: Literal["constant", "linear", "cosine", "warm-restarts", "step", "inverse-sqrt", "one-cycle"] = "constant"
    """The rate after warm-up. `linear`, `cosine`: down to `final_rate` at the end of `duration`, in a line or as half a cosine
    (Loshchilov & Hutter 2017, eq. 5). `warm-restarts`: the same half cosine over each cycle, from the peak again (guide
    001). `step`: times `step_factor` at the end of each cycle (guide 000). `inverse-sqrt`: in proportion to the inverse root of
    images seen, from the end of warm-up on (Vaswani et al. 2017). `one-cycle`: cosine up over the first 30 % of
    `duration` from 1/25 of the peak, then cosine down to `final_rate`; `warmup` is then ignored."""

    final_rate: Annotated[float, Ge(0), Le(1)] = 0.0
    """The rate at the end (of each cycle) as a share of `learning_rate`, for the schedules that fall to one."""

    cycle: PositiveAmount = "30 epochs"
    """Length of the first cycle of `warm-restarts`, of every one of `step`. Guide 000's steps are of 30 epochs."""

    cycle_growth: Annotated[float, Ge(1), Le(10)] = 1.0
    """How many times longer each cycle of `warm-restarts` is than the one before."""

    step_factor: Annotated[float, Gt(0), Lt(1)] = 0.1
    """What a step multiplies the rate by. Guide 000: 0.1."""

    optimizer: Literal["adamw", "adam", "muon"] = "adamw"
    """`adamw`: Loshchilov & Hutter 2019. `adam`: Kingma & Ba 2015, whose weight decay is added to the gradient. `muon`: orthogonal
    updates of hidden matrices and convolutions (Jordan et al. 2024), scaled so that rates of AdamW carry over (Liu et al. 2025,
    eq. 4), and AdamW for embeddings, first and last layers, norms and biases."""

    weight_decay: Annotated[float, Ge(0), Le(1)] = 0.0
    """Decoupled weight decay of AdamW and Muon; of Adam, the factor of the weights in the gradient. Guide 002 uses 0.01."""

    betas: tuple[Annotated[float, Ge(0), Lt(1)], Annotated[float, Ge(0), Lt(1)]] = (0.9, 0.999)
    """Decay of Adam's and AdamW's first and second moments."""

    muon_momentum: Annotated[float, Ge(0), Lt(1)] = 0.95
    """Decay of Muon's momentum."""

    gradient_clip: Annotated[float, Gt(0)] | None = 1.0
    """Largest norm of the whole gradient; None leaves it as it is. Guide 003: 0.5 to 2; guide 001 clips at 0.5."""

    ema_half_life: PositiveAmount | None = "887000 images"
    """Images over which the average forgets half of the past; None: no EMA. A decay b per step is the half-life
    images_per_step x ln(1/2) / ln(b): 0.9999 at 128 images per step is 887,000 images."""

    ema_ramp: Annotated[float, Gt(0), Le(1)] | None = 0.05
    """The half-life is at most this share of the images seen so far, so that early averages are not stuck at the
    initial weights; None: no ramp."""

    ema_sigma_rel: Annotated[float, Gt(0.001), Lt(0.28)] | None = None
    """Relative width of a power-function average, in place of `ema_half_life` (then None): the average's profile reaches back
    over the same share of the training at any time (Karras et al. 2024, section 3.1, there 0.05 to 0.25)."""

    ema_snapshots: Annotated[PositiveAmount | None, EXECUTION] = None
    """How often to keep two further averages, of relative widths 0.05 and 0.10, in the run's folder `ema`: afterwards,
    `ddpm_exp.load(run, sigma_rel=...)` has an average of any width about these (Karras et al. 2024, section 3.2). Each time takes
    the disk twice the network; some 30 times in a training are enough. None: none are kept."""

    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    """`auto`: bf16 where the GPU has it in hardware, else fp16 on GPUs with tensor cores, else fp32."""

    tf32: bool = False
    """On GPUs from Ampere on, let fp32 products and convolutions round their inputs to TF32: several times faster, 10 bits of
    mantissa. False: fp32 is fp32. In bf16 and fp16 it concerns the few parts that stay in fp32."""

    checkpoint_every: Annotated[PositiveAmount, EXECUTION] = "10 epochs"
    """How often a checkpoint is written; one is always written at the end and on interruption."""

    keep_checkpoints: Annotated[int, Ge(1), EXECUTION] = 2
    """How many of the last checkpoints are kept. Should one be damaged, the run goes on from the one before."""

    keep_best: Annotated[bool, EXECUTION] = False
    """Also keep the checkpoint of the evaluation with the lowest val/denoising: `ddpm_exp.load(run, checkpoint="best")`."""

    log_every: Annotated[PositiveAmount, EXECUTION] = "100 steps"
    """How often losses are read from the device and recorded, as means since the last time."""

    init_from: str | None = None
    """Where the initial weights come from: a folder of a diffusers UNet2DModel (or of a pipeline with one), the directory of a
    run, of which the last checkpoint is taken, or one of its checkpoints. All must be found there in the same shapes. None:
    fresh ones."""

    init_weights: Literal["ema", "raw"] = "ema"
    """Which weights of a run or checkpoint are taken: the average, if there is one, or the last ones."""

    phases: tuple[Phase, ...] = ()
    """First parts of `duration` that are easier than the rest, one after the other (guide 000's progressive training). Rate,
    average and optimizer go on through them; evaluation is always of the whole task."""

    stop_early: EarlyStopping | None = None
    """Ends the run when a measure on held-out examples no longer gets better; None: `duration` alone ends it."""

    stop_after_bad_steps: Annotated[int, Ge(1)] = 20
    """Steps in a row with a non-finite loss or gradient (each is skipped) after which the run stops, or does its `remedy`."""

    remedy: Literal["stop", "rollback"] = "stop"
    """What follows `stop_after_bad_steps`. `rollback`: the run goes back to the last checkpoint from before them and on with half
    the learning rate, at most three times, and tells of it."""

    @model_validator(mode="after")
    def _rate_fields_belong(self) -> Training:
        require_belonging(self, self.rate, _OF_RATES, kind="rate")
        if self.init_weights == "raw" and self.init_from is None:
            raise broken(
                "weights are chosen from those of a run, and this training begins with fresh ones",
                field="init_weights",
                value="raw",
                fix="name a run or a checkpoint in training.init_from, or leave init_weights out",
            )
        require_belonging(self, self.optimizer, {"muon_momentum": ("muon",)}, kind="optimizer")
        if self.rate == "inverse-sqrt" and self.warmup.startswith("0 "):
            raise broken(
                "inverse-sqrt falls from the peak that warm-up ends at, and without warm-up there is none",
                field="warmup",
                value=self.warmup,
                fix="set training.warmup to '1000 steps', or another rate",
            )
        return self

    @property
    def averages(self) -> bool:
        """Whether there is an average of the weights."""
        return self.ema_half_life is not None or self.ema_sigma_rel is not None

    @model_validator(mode="after")
    def _one_average(self) -> Training:
        if self.ema_half_life is not None and self.ema_sigma_rel is not None:
            raise broken(
                "a power-function average has a relative width and no half-life",
                field="ema_sigma_rel",
                value=self.ema_sigma_rel,
                fix="set training.ema_half_life to None, or leave ema_sigma_rel out",
            )
        return self

    def images(self, amount: str, images_per_epoch: int) -> int:
        """`amount` in images seen, in whole optimizer steps of this training."""
        return to_images(amount, images_per_step=self.images_per_step, images_per_epoch=images_per_epoch)
