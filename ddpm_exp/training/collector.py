"""Python's cycle collector kept out of a training's way."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def passed_over(device: str) -> Iterator[None]:
    """Meanwhile the collector does not look again at what is there already: with torch imported some 400,000 objects, which take it
    0.2 s and more, whenever enough new ones have come, such as those of a checkpoint, and in which no step is launched.

    Only on CUDA, where a step takes less than that. What is garbage now is collected first.
    """
    if device != "cuda":
        yield
        return
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
