"""The metric catalogue: every number that a run records, its direction and unit."""

from __future__ import annotations

from typing import Literal, NamedTuple

Values = Literal["measured", "share", "count"]
"""`measured`: any number. `share`: k of n. `count`: events in a run, a whole number. The last two come in steps, so that equal
values over seeds are no sign of certainty."""


class Metric(NamedTuple):
    """What a recorded number means."""

    name: str
    better: Literal["lower", "higher", "neither"]
    unit: str
    says: str
    """One sentence for the decision page."""

    values: Values = "measured"
    out_of: str | None = None
    """The metric that tells of how many a share is, recorded beside it; None: a share of one, yes or no for the whole run."""


METRICS: tuple[Metric, ...] = (
    Metric("train/loss", "neither", "loss", "training loss; compares only within one schedule, prediction and weight"),
    Metric("train/gradient_norm", "neither", "norm", "norm of the gradient before clipping"),
    Metric("train/learning_rate", "neither", "rate", "learning rate"),
    Metric("train/bad_steps", "lower", "steps", "steps skipped because loss or gradient was not finite", "count"),
    Metric("speed/images_per_second", "higher", "images/s", "training speed without evaluation"),
    Metric("speed/epoch_seconds", "lower", "s", "time per epoch without evaluation"),
    Metric("speed/data_wait_share", "lower", "share", "share of the training time in which an idle device waited for data"),
    Metric("speed/checkpoint_seconds", "lower", "s", "longest time that training stood still for a checkpoint"),
    Metric("speed/throttled", "lower", "", "1 where the device held its clock down for heat or power when it was asked", "share"),
    Metric("memory/peak_bytes", "lower", "B", "peak memory of the device"),
    Metric("val/loss", "neither", "loss", "loss on held-out images; compares only within one schedule, prediction and weight"),
    Metric("val/denoising", "lower", "MSE", "error of the predicted clean image on held-out images, over one grid of noise levels"),
    Metric(
        "val/denoising_fall_per_epoch",
        "neither",
        "MSE/epoch",
        "mean fall of val/denoising per epoch since before the first step; the worse the start, the larger, so neither is better",
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
        "share",
        "samples/judged",
    ),
    Metric("samples/judged", "neither", "samples", "drawn samples of which samples/class_accuracy is a share"),
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
    Metric(
        "samples/noise_left",
        "lower",
        "share",
        "share of drawn images with visible noise left in them, grey or coloured, and more of it than 99.5 % of real images have",
        "share",
        "samples/measured",
    ),
    Metric(
        "samples/measured", "neither", "samples", "drawn samples of which samples/noise_left and samples/memorisation are shares"
    ),
    Metric(
        "samples/blur",
        "lower",
        "slope",
        "how much faster drawn images lose power towards fine detail than real ones: 0 for real images, below 0 for noise",
    ),
    Metric(
        "samples/diversity",
        "higher",
        "share",
        "mean distance of two samples, relative to that of two real examples: near 0 where all samples are alike",
    ),
    Metric(
        "samples/nearest_sample",
        "higher",
        "share",
        "median distance of a sample to the nearest other one, relative to as many real examples: near 0 for copies of each other",
    ),
    Metric(
        "samples/memorisation",
        "lower",
        "share",
        "share of samples that repeat a training example: nearer to it, for their surroundings, than 99 % of held-out examples; "
        "0.01 for real ones",
        "share",
        "samples/measured",
    ),
    Metric(
        "samples/nearest_training",
        "neither",
        "share",
        "median distance of a sample to the nearest training example, relative to held-out examples: near 0 for copies, but below "
        "1 for blurred ones too",
    ),
    Metric(
        "samples/class_coverage",
        "higher",
        "share",
        "share of classes whose samples come nearest to their own class at least half as often as real examples of it",
        "share",
        "samples/classes",
    ),
    Metric("samples/classes", "neither", "classes", "classes of which samples/class_coverage is a share"),
    Metric(
        "samples/class_distance",
        "lower",
        "share",
        "distance of the mean of a class's samples to that of its real examples, relative to that between classes; mean of classes",
    ),
    Metric("samples/fid", "lower", "FID", "Frechet inception distance to the training images"),
    Metric("samples/kid", "lower", "KID", "kernel inception distance to the training images; 0 for perfect samples of any number"),
    Metric(
        "samples/inception_score", "higher", "IS", "inception score: confident and varied in the eyes of an ImageNet classifier"
    ),
    Metric(
        "samples/fd_effnet",
        "lower",
        "FD",
        "Frechet distance to held-out images in features of EfficientNet-Lite0: no FID, and it falls with the number of samples",
    ),
    Metric("samples/fd_effnet_of_real", "neither", "FD", "the same distance of as many training images: what perfect samples have"),
    Metric(
        "samples/kid_effnet",
        "lower",
        "KID",
        "kernel distance to held-out images in features of EfficientNet-Lite0; 0 for perfect samples of any number",
    ),
    Metric("samples/kid_effnet_of_real", "neither", "KID", "the same distance of as many training images"),
    Metric(
        "samples/precision",
        "higher",
        "share",
        "share of drawn images that lie among the held-out ones, in features: fidelity",
        "share",
        "samples/fd_generated",
    ),
    Metric("samples/precision_of_real", "neither", "share", "the same share of as many training images"),
    Metric(
        "samples/recall",
        "higher",
        "share",
        "share of held-out images that lie among the drawn ones, in features: variety",
        "share",
        "samples/fd_reals",
    ),
    Metric(
        "samples/class_coverage_effnet",
        "higher",
        "share",
        "samples/class_coverage in features of EfficientNet-Lite0, which tell classes of photographs far better than pixels do",
        "share",
        "samples/classes_effnet",
    ),
    Metric("samples/classes_effnet", "neither", "classes", "classes of which samples/class_coverage_effnet is a share"),
    Metric(
        "samples/class_distance_effnet",
        "lower",
        "share",
        "samples/class_distance in features of EfficientNet-Lite0",
    ),
    Metric("samples/recall_of_real", "neither", "share", "the same share with as many training images in place of drawn ones"),
    Metric("samples/fd_generated", "neither", "samples", "drawn images of which samples/fd_effnet and its like are measured"),
    Metric("samples/fd_reals", "neither", "images", "held-out images with which they are compared"),
)

_BY_NAME = {metric.name: metric for metric in METRICS}

METRIC_NAMES: tuple[str, ...] = tuple(_BY_NAME)


AT_THE_END: tuple[str, ...] = tuple(
    f"samples/{name}"
    for name in ("fid", "fid_generated", "fid_reals", "kid", "inception_score", "fd_effnet", "kid_effnet", "precision", "recall")
)
"""Measured once, when a run is complete, by `evaluation.fid` and `evaluation.fd`."""


def find_metric(name: str) -> Metric:
    """The catalogue's entry. Raises KeyError."""
    return _BY_NAME[name]
