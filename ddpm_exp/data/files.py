"""Images of files that are indexed: all decoded, or a part for evaluation while the others stay where they are."""

from __future__ import annotations

import hashlib
import json
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import torch

from ddpm_exp.data.examples import Examples, Facts, Splits, split
from ddpm_exp.data.image_values import with_values
from ddpm_exp.data.place import REFERENCE_IMAGES, Room, in_words, stays_in_files
from ddpm_exp.data.stored import DamagedError, Stored
from ddpm_exp.spec.data import ImageFolder, Shards
from ddpm_exp.spec.errors import UserError


def load_files(
    data: ImageFolder | Shards, found: tuple[Stored, Stored], names: tuple[str, ...], room: Room, workers: int
) -> Splits:
    """Training and held-out images of `found`, decoded if both fit `room`, else the first `REFERENCE_IMAGES` of each.

    The fingerprint is over names, sizes and classes, and the same either way. Raises UserError for images that cannot be read,
    and where `names` asks for values of images that stay in their files.
    """
    train, held_out = found
    pixel_bytes = train.pixel_bytes + held_out.pixel_bytes
    outside = stays_in_files(pixel_bytes, room)
    if outside and names:
        raise UserError(
            "values are standardised over all training images, and these stay in their files",
            field="condition.names",
            value=names,
            fix="set hardware.data_in to 'device', or leave the values out",
        )
    kept = [
        _decoded(data, part.take(torch.arange(min(len(part), REFERENCE_IMAGES))) if outside else part) for part in (train, held_out)
    ]
    facts = Facts(train.shape, train.class_names)
    if names:
        kept[0], kept[1], facts = with_values(names, kept[0], kept[1])
    splits = split(kept[0], kept[1], facts)
    place = in_words(pixel_bytes, len(train), room, workers)
    return replace(splits, fingerprint=_fingerprint(train, held_out), stored=train if outside else None, place=place)


def _decoded(data: ImageFolder | Shards, part: Stored) -> Examples:
    """Pillow decodes without the interpreter's lock, so threads are enough."""
    pixels = torch.empty(len(part), *part.shape, dtype=torch.uint8)

    def one(place: int) -> str | None:
        try:
            pixels[place] = part.pixels(place)
        except DamagedError as error:
            return str(error)
        return None

    with ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1)) as pool:
        damaged = sorted(problem for problem in pool.map(one, range(len(part))) if problem is not None)
    if damaged:
        more = f" and {len(damaged) - 5} more" if len(damaged) > 5 else ""
        raise UserError(
            f"{len(damaged)} of {len(part)} images cannot be read: {'; '.join(damaged[:5])}{more}",
            field="data.root" if isinstance(data, ImageFolder) else "data.train",
            value=data.root if isinstance(data, ImageFolder) else data.train,
            fix="remove these images or replace them",
        )
    return part.examples(pixels)


def _fingerprint(*parts: Stored) -> str:
    digest = hashlib.sha256()
    for part in parts:
        labels = None if part.labels is None else part.labels.tolist()
        head = [part.names, part.entries[:, 2].tolist(), labels, part.class_names, part.shape]
        digest.update(json.dumps(head).encode() + b"\n")
    return digest.hexdigest()[:16]
