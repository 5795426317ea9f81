"""Where training images live: decoded in memory and on the device, or in their files. Decided from sizes alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

DEVICE_SHARE = 0.25
"""Of a GPU's memory, at most so much for training images; the rest is for training."""

HOST_SHARE = 0.4
"""Of the machine's memory, for all its processes together: splitting a folder takes a copy for a while."""

REFERENCE_IMAGES = 10_000
"""Of images that stay in their files, so many of each set are decoded once, for evaluation."""

Asked = Literal["auto", "device", "workers"]


@dataclass(frozen=True)
class Room:
    """Bytes for decoded training images."""

    bytes: int | None
    """None: no limit, because `device` was asked for."""

    of: str
    """What sets the limit, in words."""


ANY = Room(None, "no limit was set")


def room_for(asked: Asked, *, device_bytes: int | None, host_bytes: int | None) -> Room:
    """The room on a machine with `host_bytes` of memory (None: not known) and a GPU of `device_bytes`, or none."""
    if asked == "device":
        return Room(None, "hardware.data_in asks for it")
    if asked == "workers":
        return Room(0, "hardware.data_in asks for it")
    host = None if host_bytes is None else int(HOST_SHARE * host_bytes)
    if device_bytes is None or (host is not None and DEVICE_SHARE * device_bytes > host):
        return Room(host, f"{HOST_SHARE:.0%} of this machine's memory")
    return Room(int(DEVICE_SHARE * device_bytes), f"{DEVICE_SHARE:.0%} of the GPU's memory")


def stays_in_files(pixel_bytes: int, room: Room) -> bool:
    """Whether images of so many decoded bytes are left in their files."""
    return room.bytes is not None and pixel_bytes > room.bytes


def in_words(pixel_bytes: int, images: int, room: Room, workers: int) -> str:
    """The choice with its reason, as one sentence."""
    size = f"{images:,} training images are {pixel_bytes / 1e9:.3g} GB decoded"
    if room.bytes in (None, 0):
        why = room.of
    else:
        more = "more" if stays_in_files(pixel_bytes, room) else "no more"
        why = f"{more} than {(room.bytes or 0) / 1e9:.3g} GB, {room.of}"
    if stays_in_files(pixel_bytes, room):
        return f"data: from files, decoded by {workers} workers of each process: {size} ({why})"
    return f"data: on the device: {size} ({why})"
