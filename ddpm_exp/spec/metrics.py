"""The metric catalogue: every number that a run records, its direction and unit."""

from __future__ import annotations

from typing import Literal, NamedTuple


class Metric(NamedTuple):
    """What a recorded number means."""

    name: str
    better: Literal["lower", "higher", "neither"]
    unit: str
    says: str
    """One sentence for the decision page."""


METRICS: tuple[Metric, ...] = (
    Metric("train/loss", "neither", "loss", "training loss; compares only within one schedule, prediction and weight"),
    Metric("train/gradient_norm", "neither", "norm", "norm of the gradient before clipping"),
    Metric("train/learning_rate", "neither", "rate", "learning rate"),
    Metric("train/bad_steps", "lower", "steps", "steps skipped because loss or gradient was not finite"),
    Metric("speed/images_per_second", "higher", "images/s", "training speed without evaluation"),
    Metric("speed/epoch_seconds", "lower", "s", "time per epoch without evaluation"),
    Metric("speed/data_wait_share", "lower", "share", "share of the training time in which an idle device waited for data"),
    Metric("speed/checkpoint_seconds", "lower", "s", "longest time that training stood still for a checkpoint"),
    Metric("speed/throttled", "lower", "", "1 where the device held its clock down for heat or power when it was asked"),
    Metric("memory/peak_bytes", "lower", "B", "peak memory of the device"),
    Metric("val/loss", "neither", "loss", "loss on held-out images; compares only within one schedule, prediction and weight"),
    Metric("val/denoising", "lower", "MSE", "error of the predicted clean image on held-out images, over one grid of noise levels"),
    Metric(
        "val/denoising_fall_per_epoch", "higher", "MSE/epoch", "mean fall of val/denoising per epoch since before the first step"
    ),
    Metric("val/reconstruction", "lower", "MSE", "error of held-out images reconstructed in one step from several noise levels"),
    Metric(
        "val/bits_per_dimension",
        "lower",
        "bits",
        "variational bound on the negative log-likelihood of held-out images, per pixel and channel; other data: of their density",
    ),
    Metric("samples/coherence", "higher", "correlation", "correlation of neighbouring pixels in drawn images: 0 for white noise"),
    Metric("samples/coherence_of_real", "higher", "share", "samples/coherence divided by that of the real images"),
    Metric(
        "samples/prompt_distance",
        "higher",
        "share",
        "distance of images drawn for different classes from the same noise, relative to real images of different classes: "
        "0 where the condition does nothing",
    ),
    Metric(
        "samples/class_accuracy",
        "higher",
        "share",
        "share of drawn images that an independent classifier takes for what was asked; prompts in held-out wording",
    ),
    Metric(
        "samples/class_accuracy_of_real",
        "neither",
        "share",
        "share of unseen real images that the same classifier gets right; guided samples are more typical and may exceed it",
    ),
    Metric(
        "samples/sliced_wasserstein",
        "lower",
        "std",
        "sliced Wasserstein distance of drawn tables, sequences or clouds to held-out ones, in standard deviations of the data",
    ),
    Metric(
        "samples/sliced_wasserstein_of_real",
        "neither",
        "std",
        "the same distance between training and held-out examples: what perfect samples would have",
    ),
    Metric(
        "samples/correlation_error",
        "lower",
        "correlation",
        "mean difference between the correlations of drawn and held-out features",
    ),
    Metric(
        "samples/value_error",
        "lower",
        "std",
        "mean difference between the continuous values asked for and those that an independent regression reads off the samples",
    ),
    Metric("samples/value_error_of_real", "neither", "std", "error of the same regression on unseen real examples"),
    Metric(
        "samples/restored_error",
        "lower",
        "MSE",
        "error of what an image condition hid (the hole, or the full resolution) against the original",
    ),
    Metric("samples/fid", "lower", "FID", "Frechet inception distance to the training images"),
)

_BY_NAME = {metric.name: metric for metric in METRICS}

METRIC_NAMES: tuple[str, ...] = tuple(_BY_NAME)


def find_metric(name: str) -> Metric:
    """The catalogue's entry. Raises KeyError."""
    return _BY_NAME[name]
