"""One typed Python file per diffusion experiment: validated, sized, trained, judged and recorded.

The names that an experiment file needs are importable from here; each is loaded on first use.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ddpm_exp.spec.condition import ClassLabels, Prompts, Unconditional
    from ddpm_exp.spec.data import CIFAR10, Digits, FashionMNIST, ImageFolder
    from ddpm_exp.spec.decision import Alternative, Consequences, Decision, metric
    from ddpm_exp.spec.diffusion import Diffusion
    from ddpm_exp.spec.evaluation import FID, Evaluation
    from ddpm_exp.spec.experiment import Experiment
    from ddpm_exp.spec.hardware import Hardware
    from ddpm_exp.spec.model import UNet
    from ddpm_exp.spec.sampling import Sampling
    from ddpm_exp.spec.tracking import Tracking
    from ddpm_exp.spec.training import Training

__version__ = "0.1.0"

_HOMES = {
    "condition": ("ClassLabels", "Prompts", "Unconditional"),
    "data": ("CIFAR10", "Digits", "FashionMNIST", "ImageFolder"),
    "decision": ("Alternative", "Consequences", "Decision", "metric"),
    "diffusion": ("Diffusion",),
    "evaluation": ("FID", "Evaluation"),
    "experiment": ("Experiment",),
    "hardware": ("Hardware",),
    "model": ("UNet",),
    "sampling": ("Sampling",),
    "tracking": ("Tracking",),
    "training": ("Training",),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "CIFAR10",
    "FID",
    "Alternative",
    "ClassLabels",
    "Consequences",
    "Decision",
    "Diffusion",
    "Digits",
    "Evaluation",
    "Experiment",
    "FashionMNIST",
    "Hardware",
    "ImageFolder",
    "Prompts",
    "Sampling",
    "Tracking",
    "Training",
    "UNet",
    "Unconditional",
    "metric",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module 'ddpm_exp' has no attribute {name!r}")
    return getattr(import_module(f"ddpm_exp.spec.{_HOME_OF[name]}"), name)
