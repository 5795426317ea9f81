"""Amendments of a plan: seeds that were added after runs were made, beside those runs. Judges nothing."""

from __future__ import annotations

import os
from pathlib import Path

from pydantic import Field, ValidationError

from ddpm_exp.records.atomic import refusal
from ddpm_exp.records.manifest import now
from ddpm_exp.records.redaction import redact
from ddpm_exp.spec.base import Spec
from ddpm_exp.spec.errors import RunError

AMENDMENTS = "amendments.jsonl"


class Amendment(Spec):
    """One extension of the planned seeds."""

    created: str = Field(default_factory=now)
    """ISO 8601, UTC."""

    why: str
    before: tuple[int, ...]
    """Seeds planned until then."""

    after: tuple[int, ...]
    """Seeds planned from then on: those before, and more."""

    look: int
    """Which look at the criteria the runs of all these seeds are, counted from 1."""

    error_share: float
    """How much of each criterion's error (1 - confidence) that look may spend."""


class AmendmentLog:
    """`runs/<experiment>/<science-hash>/amendments.jsonl`, append-only: a line per amendment, oldest first."""

    def __init__(self, root: Path, name: str, science_hash: str) -> None:
        self.path = root / name / science_hash / AMENDMENTS

    def read(self) -> tuple[Amendment, ...]:
        """All of them; none where there is no file. Raises RunError where a line cannot be read."""
        try:
            lines = self.path.read_text(encoding="utf-8").splitlines()
        except FileNotFoundError:
            return ()
        except OSError as error:
            raise refusal(self.path, error) from error
        return tuple(self._parse(line, number) for number, line in enumerate(lines, 1))

    def append(self, amendment: Amendment) -> None:
        """Record one more, safe on disk on return. Raises RunError where the disk refuses."""
        line = redact(amendment.model_dump_json()) + "\n"
        try:
            descriptor = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
            try:
                os.write(descriptor, line.encode())
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        except OSError as error:
            raise refusal(self.path, error) from error

    def _parse(self, line: str, number: int) -> Amendment:
        try:
            return Amendment.model_validate_json(line)
        except ValidationError as error:
            raise RunError(
                f"line {number} is damaged: {error.errors()[0]['msg']}",
                field=str(self.path),
                value=line[:60],
                fix="restore it: without it, nobody knows how often these criteria were looked at",
            ) from None
