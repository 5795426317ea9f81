"""The examples of tar shards: found by their entries, checked, split. Decodes no image."""

from __future__ import annotations

import json
import tarfile
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import torch

from ddpm_exp.data.folder import held_out_of, place_of
from ddpm_exp.data.image_files import SUFFIXES
from ddpm_exp.data.shard_files import plain_tar
from ddpm_exp.data.shard_names import shards_of
from ddpm_exp.data.stored import Stored
from ddpm_exp.spec.data import Shards
from ddpm_exp.spec.errors import UserError

_CLASS_KEYS = ("cls", "label", "class")
"""Where a .json entry may keep its class."""


@dataclass
class _Found:
    """One example of a shard, as its entries are met."""

    name: str
    file: int = 0
    offset: int = 0
    size: int = 0
    label: str | None = None


def require_shards(data: Shards) -> None:
    """Raise UserError unless every local shard is there. Fetches nothing."""
    shards_of(data.train, "data.train")
    if data.held_out is not None:
        shards_of(data.held_out, "data.held_out")


def index_shards(data: Shards) -> tuple[Stored, Stored]:
    """Training and held-out images, ordered by the hash of shard and entry name, as in a folder.

    Reads every shard's entries, and unpacks or fetches it first where it is packed or elsewhere. Raises UserError, naming shard
    and entry, for what is damaged, has no image, or has a class where others have none.
    """
    train = _index(data, data.train, "data.train")
    if data.held_out is not None:
        held_out = _index(data, data.held_out, "data.held_out")
        if (train.labels is None) != (held_out.labels is None):
            raise _wrong(
                "only one of training and held-out shards has classes", "data.held_out", data.held_out, "give both or none"
            )
        return train, held_out
    if len(train) < 2:
        raise _wrong("the shards hold a single image, and one must be held out", "data.train", data.train, "add images")
    outside = held_out_of(list(train.names), data.held_out_share)
    return train.take((~outside).nonzero().flatten()), train.take(outside.nonzero().flatten())


def _index(data: Shards, pattern: str, field: str) -> Stored:
    shards = shards_of(pattern, field)
    files = tuple(plain_tar(shard, data.cache, field) for shard in shards)
    found: list[_Found] = []
    for place, shard in enumerate(shards):
        found += _entries(shard, files[place], place, field)
    if not found:
        raise _wrong(f"the shards hold no image ({', '.join(SUFFIXES)})", field, pattern, "name shards of images")
    found.sort(key=lambda one: (place_of(one.name), one.name))
    unlabelled = next((one.name for one in found if one.label is None), None)
    labelled = next((one.name for one in found if one.label is not None), None)
    if unlabelled and labelled:
        rule = f"{unlabelled} has no class (.cls or .json beside the image), but {labelled} has one"
        raise _wrong(rule, field, pattern, "give every image a class, or none")
    labels = torch.tensor([_label(one, data, field) for one in found]) if labelled else None
    names = data.class_names
    if labels is not None and not names:
        names = tuple(str(number) for number in range(int(labels.max()) + 1))
    entries = torch.tensor([[one.file, one.offset, one.size] for one in found])
    shape = (data.channels, data.image_size, data.image_size)
    return Stored(files, entries, tuple(one.name for one in found), shape, labels, names if labels is not None else ())


def _entries(shard: str, path: Path, place: int, field: str) -> list[_Found]:
    """The examples of one shard, in its order."""
    found: dict[str, _Found] = {}
    # Without its ending, so that packing a shard changes neither order nor fingerprint.
    short = PurePosixPath(shard.split("?", 1)[0]).name.split(".tar")[0].removesuffix(".tgz")
    last = "its beginning"
    try:
        # Members are met one after another rather than listed, to say after which one the shard is damaged.
        with tarfile.open(path, "r:") as tar:
            for member in tar:
                if not member.isfile():
                    continue
                last = member.name
                folder, _, name = member.name.rpartition("/")
                key, _, ending = name.partition(".")
                one = found.setdefault(f"{folder}/{key}", _Found(f"{short}/{folder + '/' if folder else ''}{key}"))
                kind = "." + ending.lower()
                if kind in SUFFIXES:
                    one.file, one.offset, one.size = place, member.offset_data, member.size
                elif kind in (".cls", ".json"):
                    opened = tar.extractfile(member)
                    assert opened is not None  # it is a file
                    label = _said(opened.read(), kind)
                    one.label = label if label is not None else one.label
            end = tar.offset
        if end > path.stat().st_size:
            raise tarfile.ReadError("unexpected end of data")
    except (tarfile.TarError, OSError, ValueError) as error:
        raise _wrong(f"the shard {shard} is damaged after {last}: {error}", field, shard, "replace this shard") from error
    bare = next((one.name for one in found.values() if not one.size), None)
    if bare is not None:
        raise _wrong(
            f"{bare} of the shard {shard} has no image, or an empty one", field, shard, f"add one of {', '.join(SUFFIXES)}"
        )
    return list(found.values())


def _said(content: bytes, kind: str) -> str | None:
    text = content.decode().strip()
    if kind == ".cls":
        return text
    told = json.loads(text)
    value = next((told[key] for key in _CLASS_KEYS if key in told), None) if isinstance(told, dict) else None
    return None if value is None else str(value)


def _label(one: _Found, data: Shards, field: str) -> int:
    text, names = one.label or "", data.class_names
    if text in names:
        return names.index(text)
    if not text.isdecimal() or (names and int(text) >= len(names)):
        what = f"a number below {len(names)} or one of data.class_names" if names else "a number"
        raise _wrong(f"the class of {one.name} is {text!r}, which is not {what}", field, one.name, "mend the shard or class_names")
    return int(text)


def _wrong(rule: str, field: str, value: str, fix: str) -> UserError:
    return UserError(rule, field=field, value=value, fix=fix)
