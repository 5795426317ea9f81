"""Where the images of a folder or of shards would be on each GPU, told before a run. Decodes, unpacks and fetches nothing."""

from __future__ import annotations

from collections.abc import Sequence

import psutil

from ddpm_exp.data.place import in_words, room_for
from ddpm_exp.data.shard_files import is_plain_here
from ddpm_exp.data.shard_names import shards_of
from ddpm_exp.spec.data import ImageFolder, Shards
from ddpm_exp.spec.errors import UserError
from ddpm_exp.spec.experiment import Experiment
from ddpm_exp.spec.hardware import Gpu


def places_of(experiment: Experiment, gpus: Sequence[Gpu]) -> tuple[str, ...]:
    """One sentence for each choice, with the GPUs that it holds for; nothing where there is no choice, or no data here."""
    data, hardware = experiment.data, experiment.hardware
    if not isinstance(data, ImageFolder | Shards):
        return ()
    # Here, since they take torch: what is not here is told without it.
    from ddpm_exp.data.datasets import index_files
    from ddpm_exp.memory.kernels import is_cuda

    try:
        if isinstance(data, Shards) and not _is_indexed_quickly(data):
            return ("data: its size is known once the shards are unpacked or fetched, which a run does first",)
        train, held_out = index_files(data)
    except UserError:
        return ()  # a run says it; what is not here is told beside this
    size = train.pixel_bytes + held_out.pixel_bytes
    told: dict[str, list[str]] = {}
    for gpu in gpus:
        device_bytes = gpu.usable_bytes if is_cuda(gpu) else None
        room = room_for(hardware.data_in, device_bytes=device_bytes, host_bytes=psutil.virtual_memory().total)
        told.setdefault(in_words(size, len(train), room, hardware.workers), []).append(gpu.name)
    return tuple(f"{', '.join(names)}: {sentence}" for sentence, names in told.items())


def missing_shards(experiment: Experiment) -> dict[str, str]:
    """The fields whose local shards are not all on this machine, with their patterns."""
    data = experiment.data
    if not isinstance(data, Shards):
        return {}
    found: dict[str, str] = {}
    for field, pattern in (("data.train", data.train), ("data.held_out", data.held_out)):
        try:
            if pattern is not None:
                shards_of(pattern, field)
        except UserError:
            found[field] = pattern or ""
    return found


def _is_indexed_quickly(data: Shards) -> bool:
    shards = shards_of(data.train, "data.train")
    if data.held_out is not None:
        shards += shards_of(data.held_out, "data.held_out")
    return all(is_plain_here(shard, data.cache) for shard in shards)
