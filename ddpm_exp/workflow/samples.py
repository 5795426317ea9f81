"""What was drawn: as the network sees it, in the data's own units, and as files. Draws nothing."""

from __future__ import annotations

import io
import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ddpm_exp.data.codec import Codec
from ddpm_exp.data.pixels import to_uint8
from ddpm_exp.evaluation.pictures import grid
from ddpm_exp.spec.errors import UserError
from ddpm_exp.workflow.outputs import require_free, write_new

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

CONDITION = "condition"
"""Column of a CSV with what was said of each sample."""

_ONE_OF_MANY = re.compile(r"\d{5,}\.png")


@dataclass(frozen=True)
class Samples:
    """Examples drawn from a network."""

    x: Tensor
    """float32 [N, *shape] on the CPU: images in [-1, 1], all else scaled as the training data was."""

    codec: Codec | None
    """Back to the data's own units; None for images."""

    captions: tuple[str, ...] = ()
    """What was said of each; empty where nothing was."""

    given: Tensor | None = None
    """[N, C, H, W] in [-1, 1]: what was given of each image, mid-grey where it was hidden; None where nothing was."""

    def __len__(self) -> int:
        return len(self.x)

    @property
    def are_images(self) -> bool:
        """Whether they are pictures."""
        return self.codec is None

    @property
    def data(self) -> Tensor | pd.DataFrame | NDArray[np.float64]:
        """Images as uint8 [N, C, H, W]; a table with its columns' names and types; or an array laid out as the data's file:
        sequences [N, channels, length], points [N, count, dimensions], Gaussians [N, features]."""
        return to_uint8(self.x) if self.codec is None else self.codec.decode(self.x)

    def save(self, path: Path | str, *, force: bool = False) -> Path:
        """Write them to `path`, whole or not at all; the path.

        `.png`: one grid of images. A name that ends in `/`: a folder with one PNG per image. `.csv`: a row per example that is no
        image, under the columns' names; what was said of it comes last, as `condition`. `.npy`: `data` as one array.

        Raises UserError for another ending, one that does not fit, and an existing file without `force`.
        """
        require_place(path, are_images=self.are_images, force=force)
        target = Path(path).expanduser()
        if str(path).endswith("/"):
            return self._save_singly(target, force)
        write = {".png": self._png, ".csv": self._csv, ".npy": self._npy}[target.suffix.lower()]
        return write_new(target, write(), force=force)

    def _png(self) -> bytes:
        return grid(*self._rows())

    def _rows(self) -> tuple[Tensor, list[str], str]:
        """[R, K, C, H, W] with a caption per row and one for all: a row per caption (and image that was given) if there are
        equally many of each, else a square, its rest white. Rows begin with the image that was given, where one is."""
        said = list(dict.fromkeys(self.captions))
        shown = [b""] * len(self) if self.given is None else [image.numpy().tobytes() for image in self.given]
        groups: dict[tuple[str, bytes], list[int]] = {}
        for k, image in enumerate(shown):
            groups.setdefault((self.captions[k] if said else "", image), []).append(k)
        in_groups = len(groups) > 1 and len({len(places) for places in groups.values()}) == 1
        columns = len(next(iter(groups.values()))) if in_groups else math.ceil(math.sqrt(len(self)))
        order = torch.tensor([k for places in groups.values() for k in places] if in_groups else range(len(self)))
        rest = self.x.new_ones(-len(self) % columns, *self.x.shape[1:])
        x = torch.cat([self.x[order], rest]).reshape(-1, columns, *self.x.shape[1:])
        if self.given is not None and (in_groups or len(set(shown)) == 1):
            x = torch.cat([self.given[order[::columns], None], x], dim=1)
        captions = [caption for caption, _ in groups] if in_groups and len(said) > 1 else []
        return x, captions, said[0] if len(said) == 1 else ""

    def _csv(self) -> bytes:
        assert self.codec is not None
        frame = self.codec.frame(self.x)
        if self.captions and CONDITION not in frame:
            frame[CONDITION] = self.captions
        return frame.to_csv(index=False).encode()

    def _npy(self) -> bytes:
        data: Any = self.data
        array = data.numpy() if isinstance(data, Tensor) else np.asarray(data)
        if array.dtype == object:
            raise UserError("a table with columns of text is no single array", field=".npy", fix="name a .csv file")
        stream = io.BytesIO()
        np.save(stream, array, allow_pickle=False)
        return stream.getvalue()

    def _save_singly(self, folder: Path, force: bool) -> Path:
        if folder.is_dir():
            for before in folder.iterdir():
                if _ONE_OF_MANY.fullmatch(before.name):
                    before.unlink()
        for number, image in enumerate(to_uint8(self.x).permute(0, 2, 3, 1).contiguous().numpy()):
            stream = io.BytesIO()
            Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image).save(stream, format="PNG")
            write_new(folder / f"{number:05d}.png", stream.getvalue(), force=force)
        return folder


def require_place(path: Path | str, *, are_images: bool, force: bool) -> None:
    """Raise UserError unless such samples can be written to `path`: its ending fits them, and nothing is there or `force`."""
    target = Path(path).expanduser()
    kind = "/" if str(path).endswith("/") else target.suffix.lower()
    fitting = ("/", ".png", ".npy") if are_images else (".csv", ".npy")
    if kind not in fitting:
        what = "images are written as .png, as .npy, or singly into FOLDER/" if are_images else "these are written as .csv or .npy"
        raise UserError(what, field=str(path), fix=f"name a file such as samples{'.png' if are_images else '.csv'}")
    if kind != "/":
        require_free(target, force=force)
    elif target.exists() and not target.is_dir():
        raise UserError("this is a file, and a folder is to be written", field=str(path), fix="name a folder")
    elif target.is_dir() and any(target.iterdir()) and not force:
        raise UserError("there is something in this folder", field=str(path), fix="name an empty folder, or give --force")
