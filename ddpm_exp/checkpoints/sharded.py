"""Checkpoints of a training that is spread over processes, each writing its own parts: a folder that any number of them reads.

The tensors are in the form of torch.distributed.checkpoint; what is not a tensor, and a checksum of every file, is in `WHOLE`,
which is written last. A folder without it, or whose name ends in `.tmp`, is what a killed process left.
"""

from __future__ import annotations

import hashlib
import json
import pickle
import shutil
import warnings
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.filesystem import FileSystemReader, FileSystemWriter
from torch.distributed.checkpoint.state_dict_loader import load as load_parts
from torch.distributed.checkpoint.state_dict_saver import save as save_parts

from ddpm_exp.checkpoints.atomic import TEMPORARY, refused, sync_folder, whole_file, write_whole
from ddpm_exp.ranks.ranks import Ranks
from ddpm_exp.spec.errors import RunError

WHOLE = "whole.json"
ENDING = ".dcp"
FORMAT = 1

_PICKLED = ("torch", "torch.distributed.checkpoint", "torch.serialization", "collections", "pathlib", "_codecs")
_BUILTINS = {"set", "dict", "list", "tuple", "slice"}


def save(folder: Path, images_seen: int, tensors: dict[str, Any], facts: dict[str, Any], ranks: Ranks) -> Path:
    """Write `folder`/<images seen, 12 digits>.dcp together with all other processes, which call this with the same arguments.

    Returns when it is whole and durable. Raises RunError if the disk refuses.
    """
    path = folder / f"{images_seen:012d}{ENDING}"
    temporary = folder / f"{path.name}{TEMPORARY}"
    flat: dict[str, Tensor] = {}
    shape = _flatten(tensors, "", flat)
    try:
        if ranks.leads:
            folder.mkdir(parents=True, exist_ok=True)
            for left in folder.glob(f"*{ENDING}*{TEMPORARY}"):  # by a killed process
                shutil.rmtree(left, ignore_errors=True)
            temporary.mkdir()
        ranks.wait()
        save_parts(flat, storage_writer=FileSystemWriter(temporary), process_group=ranks.host)
        digests = _gather(_digests_of(temporary, f"__{ranks.rank}_*.distcp"), ranks)
        if ranks.leads:
            digests |= _digests_of(temporary, ".metadata")
            content = {"format": FORMAT, "images_seen": images_seen, "facts": facts, "tensors": shape, "sha256": digests}
            with whole_file(temporary / WHOLE) as file:
                write_whole(file, lambda writer: writer.write(json.dumps(content).encode()))
            before = folder / f"{path.name}.before{TEMPORARY}"
            if path.exists():
                path.rename(before)
            temporary.rename(path)
            sync_folder(folder)
            shutil.rmtree(before, ignore_errors=True)
        ranks.wait()
    except OSError as error:
        raise refused(path, error) from error
    except CheckpointException as error:
        raise refused(path, OSError(str(error).splitlines()[0])) from error
    return path


def load(path: Path) -> tuple[int, dict[str, Any], dict[str, Any]]:
    """Images seen, whole tensors on the CPU, and facts; in one process, whoever wrote it. Never runs code from its files.

    Raises RunError for a folder that is not whole.
    """
    content = verified(path)
    flat: dict[str, Tensor] = {}
    tensors = _unflatten(content["tensors"], lambda leaf: flat.setdefault(leaf["tensor"], _empty(leaf)))
    _read(path, flat, no_dist=True)
    return int(content["images_seen"]), tensors, dict(content["facts"])


def load_into(path: Path, tensors: dict[str, Any], ranks: Ranks) -> tuple[int, dict[str, Any], dict[str, Any]]:
    """As `load`, each process reading the parts that its own `tensors` need, which are overwritten. All processes call this."""
    content = verified(path) if ranks.leads else _content(path)
    held: dict[str, Tensor] = {}
    _flatten(tensors, "", held)
    flat: dict[str, Tensor] = {}
    found = _unflatten(content["tensors"], lambda leaf: flat.setdefault(leaf["tensor"], _held(held, leaf, path)))
    _read(path, flat, process_group=ranks.host)
    return int(content["images_seen"]), found, dict(content["facts"])


def _read(path: Path, flat: dict[str, Tensor], **how: Any) -> None:
    """Fill `flat` from the parts in `path`."""
    reader = _Reader(path)
    reader.read_metadata()  # the library would wrap what is wrong with it into errors of its own
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="torch.distributed is disabled")  # as it should be in one process
            load_parts(flat, storage_reader=reader, **how)
    except CheckpointException as error:
        raise _broken(path, f"its parts cannot be read ({str(error).splitlines()[0]})") from error


def _flatten(value: Any, name: str, into: dict[str, Tensor]) -> Any:
    """`value` as JSON with a name in place of each tensor, which goes `into` a flat dict. Keys keep their type."""
    if isinstance(value, Tensor):
        into[name] = value
        return {"tensor": name, "shape": list(value.shape), "dtype": str(value.dtype).removeprefix("torch.")}
    if isinstance(value, dict):
        return {"dict": [[key, _flatten(item, f"{name}/{key}", into)] for key, item in value.items()]}
    if isinstance(value, list | tuple):
        kind = "list" if isinstance(value, list) else "tuple"
        return {kind: [_flatten(item, f"{name}/{place}", into) for place, item in enumerate(value)]}
    if value is not None and type(value) not in (bool, int, float, str):
        raise TypeError(f"{name} is a {type(value).__name__}; a checkpoint holds tensors, numbers, text and None")
    return {"value": value}


def _unflatten(shape: Any, tensor: Any) -> Any:
    (kind, content), *_ = shape.items()
    if kind == "tensor":
        return tensor(shape)
    if kind == "dict":
        return {key: _unflatten(item, tensor) for key, item in content}
    if kind in ("list", "tuple"):
        items = [_unflatten(item, tensor) for item in content]
        return items if kind == "list" else tuple(items)
    return content


def _empty(leaf: dict[str, Any]) -> Tensor:
    return torch.empty(leaf["shape"], dtype=getattr(torch, leaf["dtype"]))


def _held(held: dict[str, Tensor], leaf: dict[str, Any], path: Path) -> Tensor:
    found = held.get(leaf["tensor"])
    if found is None or list(found.shape) != leaf["shape"]:
        raise RunError(
            f"the checkpoint does not fit this network: {leaf['tensor']} is {leaf['shape']} in it",
            field=str(path),
            fix="start again with --fresh; the old run stays where it is",
        )
    return found


def _content(path: Path) -> dict[str, Any]:
    try:
        content = json.loads((path / WHOLE).read_text())
    except (OSError, ValueError) as error:
        raise _broken(path, f"{WHOLE}, which is written last, cannot be read") from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise _broken(path, f"it is not of format {FORMAT}")
    return content


def verified(path: Path) -> dict[str, Any]:
    """What `path` says of itself. Raises RunError unless it is whole and every file has its checksum."""
    content = _content(path)
    for name, digest in content["sha256"].items():
        if _digests_of(path, name).get(name) != digest:
            raise _broken(path, f"{name} is missing or damaged: its checksum differs")
    return content


def _digests_of(folder: Path, pattern: str) -> dict[str, str]:
    found = {}
    for path in folder.glob(pattern):
        with path.open("rb") as file:
            found[path.name] = hashlib.file_digest(file, "sha256").hexdigest()
    return found


def _gather(own: dict[str, str], ranks: Ranks) -> dict[str, str]:
    if ranks.size == 1:
        return own
    parts: list[Any] = [None] * ranks.size
    dist.all_gather_object(parts, own, group=ranks.host)
    return {name: digest for part in parts for name, digest in part.items()}


class _Reader(FileSystemReader):
    """Reads the library's pickled table of contents without running what else a pickle may name."""

    def read_metadata(self, *args: Any, **kwargs: Any) -> Any:
        try:
            with (Path(self.path) / ".metadata").open("rb") as file:
                metadata = _Tables(file).load()
        except (OSError, pickle.UnpicklingError) as error:
            raise _broken(Path(self.path), f".metadata cannot be used ({error})") from error
        if getattr(metadata, "storage_meta", None) is not None:
            metadata.storage_meta.load_id = self.load_id
        return metadata


class _Tables(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if module == "builtins":
            allowed = name in _BUILTINS
        else:
            allowed = module in _PICKLED or module.startswith("torch.distributed.checkpoint.")
            allowed = allowed and not (module == "torch" and not isinstance(getattr(torch, name), type | torch.dtype))
        if not allowed:
            raise pickle.UnpicklingError(f"{module}.{name} has no place in a checkpoint")
        return super().find_class(module, name)


def _broken(path: Path, what: str) -> RunError:
    return RunError(f"this checkpoint cannot be used: {what}", field=str(path), fix="take the checkpoint before it")
