"""Small tar shards of random images, with classes."""

import io
import tarfile
from pathlib import Path

import numpy as np
from PIL import Image

COLOURS = 3


def write_shard(path: Path, keys: list[str], *, ending: str = ".cls", classes: bool = True, side: int = 12) -> Path:
    """A shard (packed if its name says so) with one PNG per key; the class is the key's number modulo 3."""
    with tarfile.open(path, "w:gz" if path.name.endswith("gz") else "w") as tar:
        for key in keys:
            number = int(key)
            pixels = np.random.default_rng(number).integers(0, 256, (side, side, 3), dtype=np.uint8)
            encoded = io.BytesIO()
            Image.fromarray(pixels).save(encoded, "PNG")
            add(tar, f"{key}.png", encoded.getvalue())
            if classes:
                add(
                    tar, key + ending, str(number % COLOURS).encode() if ending == ".cls" else b'{"label": %d}' % (number % COLOURS)
                )
    return path


def add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    """One more entry."""
    info = tarfile.TarInfo(name)
    info.size = len(content)
    tar.addfile(info, io.BytesIO(content))


def write_shards(folder: Path, ending: str = ".tar") -> str:
    """Three shards of 20 images; their pattern."""
    folder.mkdir(parents=True, exist_ok=True)
    for shard in range(3):
        write_shard(folder / f"train-{shard:02d}{ending}", [f"{20 * shard + k:04d}" for k in range(20)])
    return str(folder / f"train-{{00..02}}{ending}")
