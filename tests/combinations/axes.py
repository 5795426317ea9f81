"""The choices of an experiment that depend on each other, each small enough to be trained within a test."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any, NamedTuple

from pydantic import ValidationError

from ddpm_exp.spec.condition import ClassLabels, Condition, ContinuousValues, ImageCondition, Prompts, Several, Unconditional
from ddpm_exp.spec.data import Data, Digits
from ddpm_exp.spec.diffusion import Diffusion
from ddpm_exp.spec.evaluation import Evaluation
from ddpm_exp.spec.experiment import Experiment
from ddpm_exp.spec.model import MLP, DiT, EncoderDecoder, Model, UNet
from ddpm_exp.spec.sampling import Sampling
from ddpm_exp.spec.training import Training
from ddpm_exp.spec.vectors import Gaussians, Points, Sequences, Table

PATHS: dict[str, dict[str, Any]] = {
    "linear": {},
    "linear to zero SNR": {"zero_terminal_snr": True},
    "scaled-linear": {"schedule": "scaled-linear", "beta_start": 0.00085, "beta_end": 0.012},
    "cosine": {"schedule": "cosine"},
    "sigmoid": {"schedule": "sigmoid"},
    "vp-linear": {"schedule": "vp-linear"},
    "vp-cosine": {"schedule": "vp-cosine"},
    "rectified-flow": {"schedule": "rectified-flow"},
    "ve": {"schedule": "ve"},
    "ve, EDM": {"schedule": "ve", "preconditioning": "edm"},
    "cosine, learned variance": {"schedule": "cosine", "learned_variance": True},
}
PREDICTIONS = ("eps", "x0", "v", "score", "velocity")
WEIGHTS = ("simple", "elbo", "snr", "truncated-snr", "min-snr", "soft-min-snr", "p2", "edm")
DENSITIES = ("uniform", "stratified", "logit-normal", "log-normal-sigma", "importance")

_UNET = UNet(
    base_channels=8, multipliers=(1, 2), blocks_per_level=1, attention_resolutions=(4,), groups=4, time_embedding=16, dropout=0.0
)
_DIT = DiT(width=16, depth=1, heads=2, patch=4)
NETWORKS: dict[str, tuple[Model, Data]] = {
    "unet": (_UNET, Digits(subset=64)),
    "unet, adagn": (_UNET.but(time_conditioning="adagn", skip_scaling=True, resample="interpolation"), Digits(subset=64)),
    "unet, concatenated": (_UNET.but(time_conditioning="concatenated", time_features="fourier"), Digits(subset=64)),
    "unet, learned times": (_UNET.but(time_features="learned", zero_init=False, initialization="kaiming"), Digits(subset=64)),
    "encoder-decoder": (EncoderDecoder(hidden_dim=16, time_emb_dim=8, initialization="orthogonal"), Digits(subset=64)),
    "mlp": (MLP(hidden_dim=16, layers=1, time_embedding=8), Table(source="wine")),
    "mlp, adaln": (MLP(hidden_dim=16, layers=1, time_embedding=8, time_conditioning="adaln"), Gaussians(count=200)),
    "dit of images": (_DIT, Digits(subset=64)),
    "dit of sequences": (_DIT, Sequences(subset=64, length=16)),
    "dit of points": (_DIT, Points(subset=64, count=8)),
}
_VALUES = {"table": ("alcohol",), "gaussians": (), "sequences": ("frequency",), "points": ("size",), "digits": ("brightness",)}

SAMPLERS = {
    **{name: Sampling(sampler=name, steps=3) for name in ("ddim", "ddpm", "euler", "heun", "edm-stochastic", "dpm++2m")},  # type: ignore[arg-type]
    "dpm++3m-sde": Sampling(sampler="dpm++3m-sde", steps=4),
    "unipc": Sampling(sampler="unipc", steps=4, grid="karras"),
    "ddpm, learned": Sampling(sampler="ddpm", variance="learned", steps=3),
    "ddim, guided": Sampling(steps=3, guidance_scale=2.0, guidance_rescale=0.7, guidance_interval=(0.1, 10.0)),
    "ddim, thresholded": Sampling(steps=3, dynamic_threshold=0.9),
}


def conditions(data: Data) -> dict[str, Condition]:
    """Every kind of condition, by how the network takes it in; values are those that the data has."""
    found: dict[str, Condition] = {"none": Unconditional()}
    for by in ("embedding", "concatenation", "cross-attention"):
        found[f"class by {by}"] = ClassLabels(by=by)  # type: ignore[arg-type]
        found[f"prompt by {by}"] = Prompts(by=by, width=8, layers=1)  # type: ignore[arg-type]
        names = _VALUES[data.kind] or ("brightness",)
        found[f"values by {by}"] = ContinuousValues(names=names, by=by)  # type: ignore[arg-type]
    found["inpainting"] = ImageCondition()
    found["super-resolution"] = ImageCondition(task="super-resolution", factor=2)
    found["class and values"] = Several(of=(ClassLabels(), ContinuousValues(names=_VALUES[data.kind] or ("brightness",))))
    return found


class Choice(NamedTuple):
    """One combination, by the names of its parts."""

    path: str
    prediction: str
    weight: str
    density: str
    sampler: str
    network: str
    condition: str


def diffusions() -> dict[tuple[str, str, str, str], Diffusion | ValidationError]:
    """Every combination of path, prediction, weight and time density, or why there is none."""
    found: dict[tuple[str, str, str, str], Diffusion | ValidationError] = {}
    for path, prediction, weight, density in itertools.product(PATHS, PREDICTIONS, WEIGHTS, DENSITIES):
        fields = {**PATHS[path], "prediction": prediction, "weight": weight, "time_density": density}
        try:
            found[path, prediction, weight, density] = Diffusion(**fields)
        except ValidationError as error:
            found[path, prediction, weight, density] = error
    return found


TRAINING = Training(images_per_step=4, duration="1 steps", warmup="0 images", learning_rate=1e-4)
EVALUATION = Evaluation(held_out=4, samples=4, grid_columns=2, classifier=False, log_snr=(0.0,), reconstruction_log_snr=(0.0,))


def experiment(diffusion: Diffusion, sampler: str, network: str, condition: Condition) -> Experiment:
    """The combination as an experiment. Raises ValidationError where it is impossible."""
    model, data = NETWORKS[network]
    return Experiment(
        data=data,
        condition=condition,
        diffusion=diffusion,
        model=model,
        training=TRAINING,
        sampling=SAMPLERS[sampler],
        evaluation=EVALUATION,
    )


def choices(valid: dict[tuple[str, str, str, str], Diffusion], network: str) -> Iterator[tuple[Choice, Diffusion, Condition]]:
    """The full product of the possible diffusions with every sampler and condition, for one network and its data."""
    told = conditions(NETWORKS[network][1])
    for (keys, diffusion), sampler, (name, condition) in itertools.product(valid.items(), SAMPLERS, told.items()):
        yield Choice(*keys, sampler, network, name), diffusion, condition
