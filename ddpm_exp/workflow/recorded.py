"""What a run directory keeps for drawing samples without its data: experiment, facts, codec, weights. Draws nothing."""

from __future__ import annotations

import json
import warnings
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from torch import Tensor, nn

from ddpm_exp.checkpoints.store import BEST, Checkpoint, checkpoints, images_of, latest
from ddpm_exp.checkpoints.store import load as load_checkpoint
from ddpm_exp.data.codec import Codec
from ddpm_exp.data.codecs import codec_from_json
from ddpm_exp.data.datasets import load as load_data
from ddpm_exp.data.examples import Facts, Splits
from ddpm_exp.data.reference import Reference, reference_of
from ddpm_exp.records.atomic import write_atomically
from ddpm_exp.records.redaction import redact_all
from ddpm_exp.records.run_directory import RunDirectory
from ddpm_exp.spec.data import family_of
from ddpm_exp.spec.errors import RunError, UserError
from ddpm_exp.spec.experiment import Experiment
from ddpm_exp.spec.restored import experiment_of
from ddpm_exp.workflow.network import network_of

Which = Literal["last", "best"] | int
"""Which checkpoint of a run: the last one, the one with the lowest val/denoising where `training.keep_best` kept it, or the one
after so many images."""

DATA = "data.json"
"""Facts and codec of the data, in a run directory."""

REFERENCE = "reference.safetensors"
"""Mean, range and some examples of the training data, in a run directory."""


def keep_data(run: RunDirectory, splits: Splits, reference: Reference | None) -> None:
    """Write what drawing needs of the data into the run directory, unless it is there. Raises RunError where the disk refuses."""
    if reference is not None and not (run.path / REFERENCE).exists():
        write_atomically(run.path / REFERENCE, reference.to_bytes())
    if (run.path / DATA).exists():
        return
    kept = {"facts": splits.facts.to_json(), "codec": None if splits.codec is None else splits.codec.to_json()}
    text = json.dumps(redact_all(kept), indent=2, allow_nan=False, ensure_ascii=False)
    write_atomically(run.path / DATA, text.encode() + b"\n")


@dataclass(frozen=True)
class Weights:
    """A network's weights as a checkpoint kept them, on the CPU."""

    tensors: dict[str, Tensor]
    averaged: bool
    """The EMA's; else the last ones."""

    images_seen: int


class Recorded:
    """A run directory, read. Raises RunError where there is none or it is damaged, UserError where this version cannot read it."""

    def __init__(self, path: Path | str) -> None:
        self.run = RunDirectory.open(path)
        self.experiment: Experiment = _experiment(self.run)

    @property
    def facts(self) -> Facts:
        """What conditions and networks have to know of the data."""
        return self._data[0]

    @property
    def codec(self) -> Codec | None:
        """Back to the data's own units; None for images."""
        return self._data[1]

    @cached_property
    def _data(self) -> tuple[Facts, Codec | None]:
        file = self.run.path / DATA
        if not file.exists():  # a run of before there was such a file: its data says the same, where it is at hand
            splits = load_data(self.experiment.data, self.experiment.condition)
            return splits.facts, splits.codec
        try:
            kept: dict[str, Any] = json.loads(file.read_bytes())
            codec = None if kept["codec"] is None else codec_from_json(kept["codec"])
            return Facts.from_json(kept["facts"]), codec
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise RunError(
                f"what the run kept of its data cannot be read ({error})",
                field=str(file),
                fix="delete the file: the data set itself is then read instead",
            ) from error

    @cached_property
    def reference(self) -> Reference | None:
        """What sampling needs of the training data. A run of before there was such a file: read from its data where they are at
        hand, else None, of which a warning tells what follows. Raises RunError for a damaged file."""
        file = self.run.path / REFERENCE
        if file.exists():
            try:
                return Reference.from_bytes(file.read_bytes())
            except (OSError, ValueError, KeyError) as error:
                raise RunError(
                    f"what the run kept of its training examples cannot be read ({error})",
                    field=str(file),
                    fix="delete the file: the data set itself is then read instead",
                ) from error
        try:
            splits = load_data(self.experiment.data, self.experiment.condition)
        except UserError as error:
            warnings.warn(
                f"{self.run.path} is of before runs kept some training examples, and its data are not here ({error.rule}): "
                "its samples are not calibrated (sampling.calibrate), and only images are clipped",
                stacklevel=2,
            )
            return None
        return reference_of(splits, family_of(self.experiment.data))

    def weights(self, *, averaged: bool = True, checkpoint: Which = "last") -> Weights:
        """Of the last whole checkpoint (or of another): the averages if there are any and `averaged` asks for them, else the last
        ones.

        Raises RunError if there is no checkpoint, UserError if no best one or none after so many images was kept.
        """
        if isinstance(checkpoint, int):
            return _weights(load_checkpoint(self._after(checkpoint)), averaged)
        found = latest(self.run.checkpoints, series=BEST if checkpoint == "best" else "")
        if found is None:
            raise self._without(checkpoint)
        return _weights(found[1], averaged)

    def require(self, checkpoint: Which) -> None:
        """Raise as `weights` does where there is no such checkpoint; reads none."""
        if isinstance(checkpoint, int):
            self._after(checkpoint)
        elif not checkpoints(self.run.checkpoints, series=BEST if checkpoint == "best" else ""):
            raise self._without(checkpoint)

    def _without(self, checkpoint: Which) -> UserError:
        if checkpoint == "best":
            return UserError(
                "this run keeps no best checkpoint, or has not evaluated since its beginning",
                field="checkpoint",
                value="best",
                fix="train with training.keep_best=True, or take the last checkpoint",
            )
        return RunError(
            "this run has no checkpoint yet",
            field=str(self.run.path),
            fix="train it: give the command that began it again, or choose another run (`ddpm-exp runs` lists them)",
        )

    def _after(self, images: int) -> Path:
        kept = {images_of(path): path for path in checkpoints(self.run.checkpoints)}
        if images not in kept:
            raise UserError(
                "this run keeps no checkpoint after so many images",
                field="checkpoint",
                value=images,
                fix=f"take {' or '.join(map(str, ['last', *sorted(kept)]))}; training.keep_checkpoints keeps more of them",
            )
        return kept[images]

    def network(self, weights: Weights) -> nn.Module:
        """The network with these weights, on the CPU, frozen and without dropout. Raises RunError if they are another's."""
        network = network_of(self.experiment, self.facts)
        try:
            network.load_state_dict(weights.tensors)
        except RuntimeError as error:
            raise RunError(
                f"the checkpoint does not fit the network that its manifest describes: {str(error).splitlines()[-1].strip()}",
                field=str(self.run.path),
                fix="read the run with the version of ddpm-exp that its manifest names under `packages`",
            ) from error
        return network.eval().requires_grad_(False)


def _weights(state: Checkpoint, averaged: bool) -> Weights:
    takes_average = averaged and "ema" in state.tensors
    return Weights(state.tensors["ema" if takes_average else "network"], takes_average, state.images_seen)


def _experiment(run: RunDirectory) -> Experiment:
    try:
        return experiment_of(run.manifest.config)
    except UserError as error:
        raise UserError(
            f"this version of ddpm-exp cannot read the experiment of this run: {error.rule}",
            field=f"{run.path}: {error.field}" if error.field else str(run.path),
            value=error.value,
            fix=error.fix,
        ) from error
