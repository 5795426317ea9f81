"""From the pattern of a `Shards` field to the shards it names, in order. Opens none."""

from __future__ import annotations

import itertools
import re
from glob import glob
from pathlib import Path

from ddpm_exp.spec.errors import UserError

_BRACES = re.compile(r"\{([^{}]*)\}")
_RANGE = re.compile(r"(\d+)\.\.(\d+)")
ENDINGS = (".tar", ".tar.gz", ".tgz")


def is_remote(shard: str) -> bool:
    """Whether `shard` is an address rather than a path."""
    return shard.startswith(("http://", "https://"))


def shards_of(pattern: str, field: str) -> list[str]:
    """Every shard that `pattern` names: addresses as they are written, paths as they are found. Raises UserError, naming `field`,
    for a local shard that is missing, a pattern that matches nothing and a name that is no tar file's."""
    found: list[str] = []
    for name in _expanded(pattern):
        if is_remote(name):
            found.append(name)
            continue
        path = str(Path(name).expanduser())
        matches = sorted(glob(path)) if any(sign in path for sign in "*?[") else [path]  # noqa: PTH207 - the pattern may be absolute
        missing = [match for match in matches if not Path(match).is_file()]
        if missing or not matches:
            raise UserError(
                f"the shard {missing[0]} does not exist" if missing else f"no file matches {path}",
                field=field,
                value=pattern,
                fix=f"write the path of existing shards (seen from {Path.cwd()})",
            )
        found += matches
    for name in found:
        if not name.split("?", 1)[0].endswith(ENDINGS):
            raise UserError(
                f"a shard's name ends in {', '.join(ENDINGS)}, unlike {name}", field=field, value=pattern, fix="name tar files"
            )
    return found


def _expanded(pattern: str) -> list[str]:
    """`{0..2}` to 0, 1, 2 (as many digits as the first has) and `{a,b}` to a, b; several give every combination."""
    pieces = _BRACES.split(pattern)  # text and the insides of braces in turn
    choices = [_choices(piece) if place % 2 else [piece] for place, piece in enumerate(pieces)]
    return ["".join(chosen) for chosen in itertools.product(*choices)]


def _choices(inside: str) -> list[str]:
    numbers = _RANGE.fullmatch(inside)
    if numbers is None:
        return inside.split(",")
    first, last = numbers.groups()
    return [str(number).zfill(len(first)) for number in range(int(first), int(last) + 1)]
