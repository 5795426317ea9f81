"""What a run is, written once when it starts: everything needed to understand, repeat and judge it. No results."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, ValidationError

from ddpm_exp.records.redaction import redact_all
from ddpm_exp.spec.base import Spec
from ddpm_exp.spec.errors import RunError
from ddpm_exp.spec.identity import SCHEMA_VERSION

_OLDEST_READ = 1


def now() -> str:
    """The time in UTC, ISO 8601, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


class Units(Spec):
    """What turns steps and epochs into images seen."""

    images_per_step: int
    images_per_epoch: int
    total_images: int
    """Images that the run is to see from beginning to end."""


class GitFacts(Spec):
    """The state of the repository that the run started from; empty where there is none."""

    sha: str | None = None
    branch: str | None = None
    remote: str | None = None
    """URL of the remote without user and password."""
    dirty_patch: str | None = None
    """`git diff HEAD`, redacted; None where nothing tracked was changed."""
    patch_cut: bool = False
    """The patch was longer than the limit and is not complete."""


class Manifest(Spec):
    """A run's manifest. Texts are redacted when it is written, so no field may hold what must survive redaction."""

    schema_version: int = SCHEMA_VERSION
    experiment: str
    """Name of the experiment file without its ending."""
    experiment_id: str
    """`ADR-0002`, or the file's name where it is no ADR."""
    class_name: str = ""
    science_hash: str
    criteria_hash: str | None = None
    seed: int
    config: dict[str, Any] = Field(default_factory=dict)
    """Dotted path to plain value of every field of the experiment, resolved."""
    diff: list[dict[str, Any]] = Field(default_factory=list)
    """`{path, before, after}` for each science or execution field that differs from the baseline."""
    baseline_id: str | None = None
    baseline_hash: str | None = None
    """Science hash of the baseline."""
    precision: str = "fp32"
    """Resolved: never `auto`."""
    plan: dict[str, Any] = Field(default_factory=dict)
    evaluation_noise: Literal["shared", "per-seed"] = "shared"
    """`per-seed`: evaluations draw their noise by the run's seed. `shared`: by 0 in every run, as runs did that do not say."""
    data_fingerprint: str = ""
    """Hash of the pixels, labels and order of the images."""
    units: Units
    overrides: list[str] = Field(default_factory=list)
    """Overrides as typed."""
    sources: dict[str, str] = Field(default_factory=dict)
    """File name to text: the experiment's file and the files of its bases, whether git tracks them or not."""
    command_line: list[str] = Field(default_factory=list)
    created: str = Field(default_factory=now)
    git: GitFacts = GitFacts()
    packages: dict[str, str] = Field(default_factory=dict)
    host: dict[str, Any] = Field(default_factory=dict)
    """System, processor, memory and device; no host name."""
    decision: dict[str, Any] | None = None
    job_type: Literal["baseline", "variant"] = "variant"
    arm_of: list[str] = Field(default_factory=list)
    """Names of the experiments whose decision this run was made for."""

    def to_json(self) -> str:
        """Strict JSON, indented, without secrets."""
        return json.dumps(redact_all(self.model_dump(mode="json")), indent=2, allow_nan=False, ensure_ascii=False) + "\n"

    @classmethod
    def from_json(cls, text: str, path: Path | None = None) -> Self:
        """Read a manifest. `path` is only for the message.

        Raises RunError where it is not JSON, of another schema version, or incomplete.
        """
        where = str(path) if path else "manifest.json"
        damaged = "the run cannot be read; move its directory away, or restore manifest.json from a backup or from W&B's artifact"
        try:
            values = json.loads(text)
        except ValueError as error:
            raise RunError(f"not valid JSON ({error})", field=where, fix=damaged) from None
        version = values.get("schema_version") if isinstance(values, dict) else None
        if not isinstance(version, int):
            raise RunError("a manifest states its schema_version", field=where, fix=damaged)
        if not _OLDEST_READ <= version <= SCHEMA_VERSION:
            raise RunError(
                f"this manifest has schema version {version}; this ddpm-exp reads {_OLDEST_READ} to {SCHEMA_VERSION}",
                field=where,
                value=version,
                fix="upgrade ddpm-exp" if version > SCHEMA_VERSION else "read it with the ddpm-exp version under `packages` in it",
            )
        try:
            return cls.model_validate_json(text)
        except ValidationError as error:
            first = error.errors()[0]
            name = ".".join(str(part) for part in first["loc"])
            raise RunError(f"damaged manifest: {name}: {first['msg']}", field=where, fix=damaged) from None
