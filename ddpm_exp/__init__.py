"""One typed Python file per diffusion experiment: validated, sized, trained, judged and recorded.

The names that an experiment file needs are importable from here; each is loaded on first use. So is `load`, which gives the
network and the sampler of a recorded run to a notebook.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ddpm_exp.spec.condition import ClassLabels, ContinuousValues, ImageCondition, Prompts, Several, Unconditional
    from ddpm_exp.spec.data import CIFAR10, Digits, FashionMNIST, ImageFolder, Shards
    from ddpm_exp.spec.decision import Alternative, Consequences, Decision, metric
    from ddpm_exp.spec.diffusion import Diffusion
    from ddpm_exp.spec.evaluation import FD, FID, Evaluation
    from ddpm_exp.spec.experiment import Experiment
    from ddpm_exp.spec.hardware import Gpu, Hardware, add_gpu
    from ddpm_exp.spec.model import MLP, DiT, EncoderDecoder, UNet
    from ddpm_exp.spec.phases import Phase
    from ddpm_exp.spec.sampling import Sampling
    from ddpm_exp.spec.scaling import scaled_rate
    from ddpm_exp.spec.stopping import EarlyStopping
    from ddpm_exp.spec.tracking import Tracking
    from ddpm_exp.spec.training import Training
    from ddpm_exp.spec.vectors import Gaussians, Points, Sequences, Table
    from ddpm_exp.workflow.load import load as load

__version__ = "0.1.0"

_HOMES = {
    "spec.condition": ("ClassLabels", "ContinuousValues", "ImageCondition", "Prompts", "Several", "Unconditional"),
    "spec.data": ("CIFAR10", "Digits", "FashionMNIST", "ImageFolder", "Shards"),
    "spec.decision": ("Alternative", "Consequences", "Decision", "metric"),
    "spec.diffusion": ("Diffusion",),
    "spec.evaluation": ("FD", "FID", "Evaluation"),
    "spec.experiment": ("Experiment",),
    "spec.hardware": ("Gpu", "Hardware", "add_gpu"),
    "spec.phases": ("Phase",),
    "spec.scaling": ("scaled_rate",),
    "spec.stopping": ("EarlyStopping",),
    "spec.model": ("MLP", "DiT", "EncoderDecoder", "UNet"),
    "spec.sampling": ("Sampling",),
    "spec.tracking": ("Tracking",),
    "spec.training": ("Training",),
    "spec.vectors": ("Gaussians", "Points", "Sequences", "Table"),
    "workflow.load": ("load",),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "CIFAR10",
    "FD",
    "FID",
    "MLP",
    "Alternative",
    "ClassLabels",
    "Consequences",
    "ContinuousValues",
    "Decision",
    "DiT",
    "Diffusion",
    "Digits",
    "EarlyStopping",
    "EncoderDecoder",
    "Evaluation",
    "Experiment",
    "FashionMNIST",
    "Gaussians",
    "Gpu",
    "Hardware",
    "ImageCondition",
    "ImageFolder",
    "Phase",
    "Points",
    "Prompts",
    "Sampling",
    "Sequences",
    "Several",
    "Shards",
    "Table",
    "Tracking",
    "Training",
    "UNet",
    "Unconditional",
    "add_gpu",
    "metric",
    "scaled_rate",
]
"""What an experiment file needs. `load` is left out: a star import in such a file must not take torch."""


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module 'ddpm_exp' has no attribute {name!r}")
    return getattr(import_module(f"ddpm_exp.{_HOME_OF[name]}"), name)
