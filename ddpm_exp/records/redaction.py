"""Takes secrets out of text before it is written or sent: what every text of a run passes through."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

MARK = "[redacted]"

_WORD = r"(?:key|token|secret|password|passwd|passphrase|credential)s?"
# The word must end the name or a part of it: TOKENIZERS_PARALLELISM and KEYBOARD hold no secret.
_SECRET_NAME = re.compile(rf"{_WORD}(?:_|\d|$)", re.IGNORECASE)
_NOT_A_VALUE = re.compile(r"(?:_FILE|_PATH|_DIR|_SOCK|_URL)$", re.IGNORECASE)
_SHORTEST = 6
"""Shorter values are words such as `true`, which would be taken out of every sentence."""

_URL_CREDENTIALS = re.compile(r"(?P<scheme>\b[a-zA-Z][a-zA-Z0-9+.-]*://)[^/\s@\"'`<>]+@")
_URL_PARAMETER = re.compile(rf"(?P<name>[?&][\w.-]*{_WORD}=)[^&\s\"'`#]+", re.IGNORECASE)
_OPTION = re.compile(rf"(?P<name>(?<![\w-])--?[\w-]*{_WORD}(?:=|\s+))(?!-)[^\s\"'`]+", re.IGNORECASE)
# NAME = "value", NAME: 'value', {"name": "value"}: a literal follows, never code such as os.environ[...]. A plain `key` or
# `token` is an everyday name: there, only a value with a digit or of 16 characters and more is taken for a secret.
_ASSIGNED = r"[\"']?\s*(?::\s*\w+\s*)?[:=]\s*)(?P<quote>[\"'])"
_QUOTED = re.compile(
    r"(?P<name>\b\w*(?:(?:api|access|secret|private|auth|deploy|signing|account)[_-]?key|secret|passw(?:or)?d|passphrase|credential)s?"
    + _ASSIGNED
    + r"[^\"'\\\n]{6,}(?P=quote)",
    re.IGNORECASE,
)
_QUOTED_TOKEN = re.compile(
    r"(?P<name>\b\w*(?:token|key)" + _ASSIGNED + r"(?:(?=[^\"'\s]*\d)[\w./+=-]{8,}|[\w/+=-]{16,})(?P=quote)", re.IGNORECASE
)
_BARE = re.compile(r"(?P<name>\b[A-Z0-9_]*(?:KEY|TOKEN|SECRET|PASSWORD|PASSWD)=)(?P<value>[^\s\"'`$({\[]{6,})")
_KNOWN_FORMS = re.compile(
    r"\b(?:hf_[A-Za-z0-9]{20,}|gh[pousr]_[A-Za-z0-9]{20,}|github_pat_\w{20,}|glpat-[\w-]{16,}|sk-[\w-]{20,}"
    r"|AKIA[0-9A-Z]{16}|xox[abpr]-[\w-]{10,}|wandb_v\d+_\w{20,})\b"
)


def secret_values(environment: Mapping[str, str] | None = None) -> tuple[str, ...]:
    """The values of environment variables whose names say that they are secret, longest first.

    A value of several lines counts whole and line by line.
    """
    found: set[str] = set()
    for name, value in (os.environ if environment is None else environment).items():
        if _SECRET_NAME.search(name) and not _NOT_A_VALUE.search(name):
            found.update(part.strip() for part in (value, *value.splitlines()))
    return tuple(sorted((value for value in found if len(value) >= _SHORTEST), key=len, reverse=True))


def redact(text: str, environment: Mapping[str, str] | None = None) -> str:
    """`text` without secrets; each is replaced by `[redacted]`.

    Taken out are the secret values of the environment (also percent-encoded), user and password in URLs, values of
    secret-looking options, assignments and URL parameters, and tokens of well-known forms. Source code keeps its shape.
    """
    for value in secret_values(environment):
        text = text.replace(value, MARK)
        encoded = quote(value, safe="")
        if encoded != value:
            text = text.replace(encoded, MARK)
    text = _URL_CREDENTIALS.sub(rf"\g<scheme>{MARK}@", text)
    text = _URL_PARAMETER.sub(rf"\g<name>{MARK}", text)
    text = _QUOTED.sub(rf"\g<name>\g<quote>{MARK}\g<quote>", text)
    text = _QUOTED_TOKEN.sub(rf"\g<name>\g<quote>{MARK}\g<quote>", text)
    text = _BARE.sub(rf"\g<name>{MARK}", text)
    text = _OPTION.sub(rf"\g<name>{MARK}", text)
    return _KNOWN_FORMS.sub(MARK, text)


def redact_command(words: list[str]) -> list[str]:
    """A command line without secrets: also the word that follows an option such as `--api-key`."""
    clean: list[str] = []
    hide_next = False
    for word in words:
        clean.append(MARK if hide_next and not word.startswith("-") else redact(word))
        hide_next = word.startswith("-") and "=" not in word and _SECRET_NAME.search(word) is not None
    return clean


def redact_all(value: Any) -> Any:
    """Plain JSON data with every text in it redacted; numbers, names of keys and the shape stay."""
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, Mapping):
        return {key: redact_all(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [redact_all(item) for item in value]
    return value
