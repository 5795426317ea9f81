"""Features of images by a pretrained network: each image once, as bytes in three channels, in fp32 without TF32."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator
from functools import partial
from typing import Any

import torch

from ddpm_exp.evaluation.extractors import Extractor, unusable
from ddpm_exp.evaluation.room import Room
from ddpm_exp.ranks.full_device import is_out_of_memory
from ddpm_exp.ranks.ranks import Ranks
from ddpm_exp.ranks.shares import Shares

TOGETHER = 64
"""Images that go through the network at once where memory allows."""


class Extraction:
    """One extractor on one device, made on first use, for as many sets of images as are to be compared.

    Each of several processes extracts a share; all call the same methods with the same arguments. Raises RunError for a file
    that is not the extractor's weights, and as `room` does where memory runs out.
    """

    def __init__(
        self,
        extractor: Extractor,
        layers: tuple[str, ...],
        device: torch.device,
        ranks: Ranks,
        room: Room,
        together: int = TOGETHER,
    ) -> None:
        self.extractor, self.device, self.ranks = extractor, device, ranks
        self._layers, self._room, self._together = layers, room, together
        self._network: Any = None
        self._widths: list[int] = []

    @torch.no_grad()
    def features(self, images: torch.Tensor) -> dict[str, torch.Tensor]:
        """Layer to float32 [N, D] on the CPU, of uint8 `images` [N, 1 or 3, H, W]; on processes but the first, their share."""
        with _without_tf32(), self._told():
            if self._network is None:
                make = partial(self.extractor.create, self.device, self._layers)
                self._network = self._room.once(make, f"{self.extractor.called}, which the distances need", self.device)
            network = self._network

            def extracted(part: slice) -> torch.Tensor:
                seen = network(images[part].expand(-1, 3, -1, -1).to(self.device))
                self._widths = [layer.shape[1] for layer in seen]
                return torch.cat(seen, dim=1).cpu()

            shares = Shares.of(len(images), self._together, self.ranks)
            doing = f"extracting features of {self.extractor.called}"
            whole = shares.collect(self._room.each(shares, extracted, doing, self.device))
            if not bool(whole.isfinite().all()):
                raise ValueError("features are not finite")
        return dict(zip(self._layers, torch.split(whole, self._widths, dim=1), strict=True))

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        """What the library raises for weights that do not fit, as one error that names the file."""
        try:
            yield
        except (RuntimeError, KeyError, AssertionError, OSError, ValueError) as error:
            if is_out_of_memory(error):
                raise
            raise unusable(self.extractor, f"torch-fidelity could not use {self.extractor.called}", error) from error


@contextlib.contextmanager
def _without_tf32() -> Iterator[None]:
    allowed = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = allowed


def pixel_digest(images: torch.Tensor) -> str:
    """SHA-256 over shape and bytes of uint8 `images` [N, C, H, W]."""
    digest = hashlib.sha256(str(tuple(images.shape)).encode())
    digest.update(images.contiguous().numpy().data)
    return digest.hexdigest()
