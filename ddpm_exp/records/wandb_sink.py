"""Weights & Biases through its real client: a copy of the run, offline by default. A failure warns once and ends the sink only."""

from __future__ import annotations

import contextlib
import math
import os
import ssl
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ddpm_exp.records.manifest import Manifest
from ddpm_exp.records.redaction import redact, redact_all
from ddpm_exp.records.sink import NoSink, Sink
from ddpm_exp.records.wandb_mode import Mode, wandb_mode
from ddpm_exp.spec.tracking import Tracking

if TYPE_CHECKING:
    import wandb

INIT_SECONDS = 20.0
REACH_SECONDS = 8.0
"""How long the server may take to answer at all; the client's own patience with a dead one is much longer."""

FINISH_SECONDS = 30.0
"""How long the end of a run waits for uploads; what is left lies on disk for `wandb sync`."""


def build_sink(tracking: Tracking, *, online: bool | None = None, warn: Callable[[str], None]) -> Sink:
    """The sink that `tracking`, `--online` and the environment ask for; `warn` hears of trouble, once."""
    mode = wandb_mode(tracking, online)
    return NoSink() if mode == "off" else WandbSink(tracking, mode, warn)


class WandbSink:
    """A W&B run beside the run directory, in its `wandb/` folder. No method raises."""

    def __init__(self, tracking: Tracking, mode: Mode, warn: Callable[[str], None]) -> None:
        self._tracking, self._mode, self._warn = tracking, mode, warn
        self._warned = False
        self._run: wandb.Run | None = None
        self.where: str | None = None

    def start(self, manifest: Manifest, run_path: Path) -> None:
        """Begin a W&B run with the manifest's facts as its config, or go on with the one of the same directory.

        Online without a login or a reachable server becomes offline, with one warning. An agent's run id and sweep
        are taken over.
        """
        with self._never_stopping():
            arguments = _arguments(manifest, run_path.resolve(), self._tracking)
            self._run = (self._online(arguments) if self._mode == "online" else None) or _begin("offline", arguments)
            self._run.define_metric("images")
            self._run.define_metric("*", step_metric="images")
            folder = Path(self._run.settings.sync_dir)
            # Asking an offline run for its URL makes the client print a warning into the live display.
            self.where = f"wandb sync {_from_here(folder)}" if self._run.offline else self._run.url

    def log(self, images: int, values: Mapping[str, float]) -> None:
        """Record numbers over images seen."""
        with self._never_stopping():
            if self._run:
                self._run.log({"images": images, **{name: float(value) for name, value in values.items()}})

    def image(self, name: str, path: Path, images: int, caption: str = "") -> None:
        """Record a picture; one grid, rather than many small pictures, costs the loop little."""
        with self._never_stopping():
            if self._run:
                import wandb

                self._run.log({"images": images, name: wandb.Image(str(path), caption=redact(caption) or None)})

    def summary(self, values: Mapping[str, Any]) -> None:
        """Set results of the whole run."""
        with self._never_stopping():
            if self._run:
                self._run.summary.update({name: _finite(value) for name, value in redact_all(dict(values)).items()})

    def artifact(self, paths: Sequence[Path]) -> None:
        """Keep `paths` with the run as one artifact of type `decision-record`. Files that do not exist are left out."""
        with self._never_stopping():
            if self._run:
                import wandb

                record = wandb.Artifact(f"decision-record-{self._run.id}", type="decision-record")
                for path in paths:
                    if path.is_file():
                        # immutable: the file is read from where it lies, not copied to a folder outside the run
                        record.add_file(str(path), name=path.name, policy="immutable")
                self._run.log_artifact(record)

    def finish(self, exit_code: int = 0) -> None:
        """End the W&B run; waits a bounded time for uploads."""
        with self._never_stopping():
            if self._run:
                run, self._run = self._run, None
                run.finish(exit_code=exit_code)

    def _online(self, arguments: dict[str, Any]) -> wandb.Run | None:
        """An online run, or None and a warning where there can be none."""
        import wandb

        try:
            settings = wandb.setup(wandb.Settings(silent=True)).settings
            why_not = _unreachable(settings.base_url)
            if why_not is None and not wandb.login(prompt=False):  # a prompt would hold up the run
                why_not = "nobody is logged in: run `wandb login`, or set WANDB_API_KEY"
            if why_not is None:
                return _begin("online", arguments)
        except Exception as error:
            why_not = _short(error)
        self._say(f"W&B cannot be used online ({why_not}); this run is logged offline, `wandb sync` sends it later")
        return None

    @contextlib.contextmanager
    def _never_stopping(self) -> Iterator[None]:
        """Turn whatever the client raises into one warning and the end of this sink."""
        try:
            yield
        except Exception as error:
            self._run = None
            self._say(f"W&B is off for the rest of this run ({_short(error)}); the run directory has everything")

    def _say(self, sentence: str) -> None:
        if not self._warned:
            self._warned = True
            self._warn(redact(sentence))


def _begin(mode: Literal["online", "offline"], arguments: dict[str, Any]) -> wandb.Run:
    import wandb

    return wandb.init(mode=mode, **arguments)


def _unreachable(base_url: str) -> str | None:
    """Why nothing at `base_url` answers, or None where something does, be it with an error of its own."""
    request = urllib.request.Request(base_url, method="HEAD")
    try:
        urllib.request.urlopen(request, timeout=REACH_SECONDS).close()
    except urllib.error.HTTPError:
        return None
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        # A certificate that Python does not know may be one that the client was told to accept.
        return None if isinstance(reason, ssl.SSLError) else f"{base_url} does not answer: {reason}"
    return None


def _from_here(folder: Path) -> str:
    """`folder` as it can be typed: relative to the working directory where it lies below it."""
    here = Path.cwd()
    return str(folder.relative_to(here)) if folder.is_relative_to(here) else str(folder)


def _arguments(manifest: Manifest, run_path: Path, tracking: Tracking) -> dict[str, Any]:
    """The arguments of `wandb.init`. In a sweep the client puts the agent's run id, project and entity in their place."""
    os.environ.setdefault("WANDB_ERROR_REPORTING", "false")  # the client reports its crashes to a third party otherwise
    import wandb

    return {
        "project": tracking.project,
        "entity": tracking.entity,
        "id": os.environ.get("WANDB_RUN_ID") or f"{manifest.science_hash}-{run_path.name}",
        "dir": str(run_path),
        "name": f"{manifest.experiment} seed {manifest.seed}",
        "group": f"{manifest.experiment}-{manifest.science_hash}",
        "job_type": manifest.job_type,
        "tags": redact_all([*tracking.tags, manifest.experiment_id]),
        "config": redact_all(_config(manifest)),
        "resume": "allow",
        "settings": wandb.Settings(
            x_transaction_log_flush_interval=1.0,  # the default of 15 s is what a kill would lose
            disable_git=True,  # its capture would send remotes with their passwords
            disable_code=True,
            save_code=False,
            x_disable_meta=True,  # metadata holds the command line and the host's and user's names; the manifest has ours
            x_save_requirements=False,
            console="off",
            silent=True,
            reinit="create_new",  # a run that broke off must not be returned in place of the next one
            init_timeout=INIT_SECONDS,
            finish_timeout=FINISH_SECONDS,
            host="",
        ),
    }


def _config(manifest: Manifest) -> dict[str, Any]:
    """Flat dotted keys: the experiment's own, then what else tells runs apart."""
    return {
        **manifest.config,
        "training.precision": manifest.precision,
        "seed": manifest.seed,
        "experiment": manifest.experiment,
        "experiment_id": manifest.experiment_id,
        "science_hash": manifest.science_hash,
        "criteria_hash": manifest.criteria_hash,
        "baseline_id": manifest.baseline_id,
        "data_fingerprint": manifest.data_fingerprint,
        "diff": {change["path"]: [change["before"], change["after"]] for change in manifest.diff},
        "plan": manifest.plan,
    }


def _finite(value: Any) -> Any:
    """Numbers that are not finite as text, which every reader of a summary takes."""
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def _short(error: Exception) -> str:
    """The first line of an error."""
    return f"{type(error).__name__}: {str(error).strip()}".splitlines()[0][:200]
