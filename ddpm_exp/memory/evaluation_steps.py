"""What evaluations compute beside drawings, recorded on meta tensors: bits per dimension, and Inception for FID. No device."""

from __future__ import annotations

import io
from functools import lru_cache

import torch
from torch import Tensor, nn

from ddpm_exp.diffusion.likelihood import bits_per_dimension
from ddpm_exp.diffusion.network import Condition
from ddpm_exp.diffusion.paths import Path, build_path
from ddpm_exp.evaluation.extractors import LAYER
from ddpm_exp.memory.kernels import OnTarget
from ddpm_exp.memory.step import Setting, batch_of, meta_network, recorder_of
from ddpm_exp.memory.trace import Recorder, Trace, without_collector
from ddpm_exp.spec.data import Shape
from ddpm_exp.spec.diffusion import Diffusion


def likelihood_trace(setting: Setting, diffusion: Diffusion, images: int) -> Trace:
    """One term of the variational bound of `images` at once, and the decoder's, which needs most beside the network.

    `diffusion` has whole times.
    """
    network = meta_network(setting).eval().requires_grad_(False)
    target = OnTarget(setting.kernels, network)
    path = _path(diffusion)
    recorder = recorder_of(network, setting)

    def ask(x: Tensor, c_noise: Tensor, condition: Condition) -> Tensor:
        with target.autocast():
            return network(x, c_noise, condition).float()  # type: ignore[no-any-return]

    with without_collector(), recorder, torch.no_grad():
        recorder.phase("forward")
        x0, _, _, condition = batch_of(setting, images)
        numbers = torch.empty(images, dtype=torch.int64, device="meta")
        bits_per_dimension(diffusion, path, ask, x0, condition, 0, numbers, terms=1, clip_x0=setting.family == "image")
        recorder.phase("end")
    recorder.trace.heads = frozenset(target.heads)
    return recorder.trace


@lru_cache(maxsize=8)
def _path(diffusion: Diffusion) -> Path:
    return build_path(diffusion, "meta")


def inception_trace(shape: Shape, images: int, *, cuda: bool) -> Trace:
    """Features of `images` of `shape` [C, H, W], as `evaluation/image_features.py` extracts them: torch-fidelity's network, in
    fp32 and channels-first."""
    network = inception()
    recorder = Recorder([*network.parameters(), *network.buffers()], channels_last=False, workspaces=cuda)
    with without_collector(), recorder, torch.no_grad():
        recorder.phase("forward")
        network(torch.empty((images, 3, *shape[1:]), dtype=torch.uint8, device="meta"))
        recorder.phase("end")
    return recorder.trace


@lru_cache(maxsize=1)
def inception() -> nn.Module:
    """Inception without memory behind its weights. All who ask are given one, so nobody may change it."""
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    class Unloaded(FeatureExtractorInceptionV3):  # type: ignore[misc]
        """Whatever the file holds, its weights stay as they are."""

        def load_state_dict(self, *_: object) -> None:
            """Nothing."""

    file = io.BytesIO()
    torch.save({}, file)
    file.seek(0)
    with torch.device("meta"):
        network: nn.Module = Unloaded("inception-v3-compat", [LAYER], feature_extractor_weights_path=file)
    return network


def inception_weights() -> tuple[int, ...]:
    """Bytes of each of its tensors that lie on the device."""
    network = inception()
    return tuple(tensor.numel() * tensor.element_size() for tensor in (*network.parameters(), *network.buffers()))
