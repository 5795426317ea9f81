"""One run on disk: runs/<experiment>/<science-hash>/<seed>-<id>/. The truth about the run; W&B shows a copy."""

from __future__ import annotations

import contextlib
import json
import secrets
from pathlib import Path
from typing import Any, Self

from pydantic import ValidationError

from ddpm_exp.records.atomic import refusal, write_atomically
from ddpm_exp.records.evaluations import EVALUATIONS, EvaluationsLog
from ddpm_exp.records.events import EVENTS, EventsLog
from ddpm_exp.records.manifest import Manifest, now
from ddpm_exp.records.metrics_log import MetricsLog
from ddpm_exp.records.redaction import redact, redact_all
from ddpm_exp.records.status import State, Status, as_observed, this_process
from ddpm_exp.spec.errors import RunError

MANIFEST = "manifest.json"
STATUS = "status.json"
METRICS = "metrics.jsonl"


class RunDirectory:
    """A run's files: `manifest.json`, `status.json`, `metrics.jsonl`, `events.jsonl`, `evaluations.jsonl`, `sources/`, `samples/`,
    `checkpoints/` and what is written by name.

    Every text passes through `redact`; every file of anything but lines is written atomically. Make one by `create` or `open`.
    """

    def __init__(self, path: Path, manifest: Manifest) -> None:
        self.path = path
        self.manifest = manifest
        self.metrics = MetricsLog(path / METRICS)
        self.events = EventsLog(path / EVENTS)
        self.evaluations = EvaluationsLog(path / EVALUATIONS)

    @classmethod
    def create(cls, root: Path, name: str, science_hash: str, seed: int, manifest: Manifest) -> Self:
        """A new run under `root`, in state "running" and with a fresh id. The manifest is the last file to appear,
        so a directory that has one is complete.

        Raises RunError where the disk refuses, ValueError where the manifest is another run's.
        """
        if (manifest.experiment, manifest.science_hash, manifest.seed) != (name, science_hash, seed):
            raise ValueError("the manifest names another experiment, science hash or seed than the directory")
        path = root / name / science_hash / f"{seed}-{secrets.token_hex(4)}"
        run = cls(path, manifest)
        try:
            for folder in (run.samples, run.checkpoints):
                folder.mkdir(parents=True)
        except OSError as error:
            raise refusal(path, error) from error
        for file, text in manifest.sources.items():
            run.write_text(f"sources/{Path(file).name}", text)
        run.set_status("running", total_images=manifest.units.total_images)
        write_atomically(path / MANIFEST, manifest.to_json().encode())
        return run

    @classmethod
    def open(cls, path: Path | str) -> Self:
        """The run at `path`. Raises RunError where there is none or its manifest cannot be read."""
        path = Path(path)
        file = path / MANIFEST
        try:
            text = file.read_bytes().decode()
        except (FileNotFoundError, NotADirectoryError):
            raise RunError(
                "no run here: a run directory holds a manifest.json",
                field=str(path),
                fix="`ddpm-exp runs` lists the runs on this disk",
            ) from None
        except UnicodeDecodeError as error:
            raise RunError(f"damaged manifest: {error}", field=str(file), fix="move the run directory away") from None
        except OSError as error:
            raise refusal(file, error) from error
        return cls(path, Manifest.from_json(text, file))

    @property
    def id(self) -> str:
        """The directory's last part, `<seed>-<id>`."""
        return self.path.name

    @property
    def samples(self) -> Path:
        """Folder of the sample grids."""
        return self.path / "samples"

    @property
    def checkpoints(self) -> Path:
        """Folder of the checkpoints."""
        return self.path / "checkpoints"

    def record(self) -> list[Path]:
        """The files that explain the run to a reader: decision page (once written), manifest, experiment source."""
        files = [self.path / "adr.md", self.path / MANIFEST, *sorted((self.path / "sources").glob("*"))]
        return [file for file in files if file.is_file()]

    def status(self) -> Status:
        """What the run says of itself, corrected: "running" without a living process reads "interrupted", and so
        does a run whose status file is gone.

        Raises RunError where the file is damaged.
        """
        file = self.path / STATUS
        try:
            return as_observed(Status.model_validate_json(file.read_bytes()))
        except FileNotFoundError:
            return Status(
                state="interrupted",
                total_images=self.manifest.units.total_images,
                message="its status.json is gone; give the same command again to resume",
                pid=0,
                process_started=0.0,
                host="",
            )
        except OSError as error:
            raise refusal(file, error) from error
        except ValidationError as error:
            raise RunError(
                f"damaged status: {error.errors()[0]['msg']}",
                field=str(file),
                fix="delete the file: the run then counts as interrupted, and the same command resumes it",
            ) from None

    def set_status(self, state: State, **facts: Any) -> None:
        """Write the state. `images_seen`, `total_images`, `seconds` and `message` have their own fields, anything else
        goes to `facts`; what is not given stays as it was, except the message, which belongs to one state."""
        values: dict[str, Any] = {"images_seen": 0, "total_images": self.manifest.units.total_images, "seconds": 0.0, "facts": {}}
        # No status yet, or a damaged one, has nothing to keep: what follows replaces it.
        with contextlib.suppress(OSError, ValueError, TypeError):
            before = json.loads((self.path / STATUS).read_bytes())
            values.update({name: before[name] for name in values if name in before})
        own = {name: facts.pop(name) for name in ("images_seen", "total_images", "seconds", "message") if name in facts}
        values |= own | {"facts": {**values["facts"], **facts}}
        status = Status(state=state, updated=now(), **{**values, **this_process()})
        text = json.dumps(redact_all(status.model_dump(mode="json")), indent=2, allow_nan=False, ensure_ascii=False)
        write_atomically(self.path / STATUS, text.encode() + b"\n")

    def write_text(self, name: str, text: str) -> Path:
        """Write `text`, redacted, to the file `name` ("adr.md", "samples/captions.txt"); the file's path."""
        return self.write_bytes(name, redact(text).encode())

    def write_bytes(self, name: str, data: bytes) -> Path:
        """Write `data` to the file `name`, relative to the run; the file's path. Not for text: it is not redacted."""
        path = self.path / name
        if not path.resolve().is_relative_to(self.path.resolve()):
            raise ValueError(f"{name} lies outside the run directory")
        write_atomically(path, data)
        return path
