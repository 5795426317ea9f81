"""`load`: from a run directory to its network, on any machine and without the data it was trained on. Draws nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import torch

from ddpm_exp.diffusion.paths import build_path
from ddpm_exp.spec.errors import UserError
from ddpm_exp.spec.training import Precision
from ddpm_exp.workflow.averages import average_of
from ddpm_exp.workflow.loaded_run import LoadedRun
from ddpm_exp.workflow.network import conditions_of, placed
from ddpm_exp.workflow.recorded import Recorded, Which


def load(
    run: Path | str,
    *,
    weights: Literal["ema", "raw"] | None = None,
    checkpoint: Which = "last",
    sigma_rel: float | None = None,
    device: str | None = None,
) -> LoadedRun:
    """The network of the run directory `run`, from its last checkpoint, finished or not; its data is not needed.

    `weights`: the average or the last ones; None: as the experiment draws. `checkpoint`: "best" takes the one with the lowest
    val/denoising, where `training.keep_best` kept it; a number the one after so many images. `sigma_rel`: an average of this
    relative width, made from the snapshots that `training.ema_snapshots` kept. `device`: None takes a GPU if there is one. There
    the arithmetic is as in training, on the CPU it is fp32. Raises RunError where the directory is damaged or has no checkpoint
    yet, UserError where this version cannot read it or there is no such device.
    """
    recorded, where = Recorded(Path(run).expanduser()), _device(device)
    experiment, facts = recorded.experiment, recorded.facts
    if checkpoint not in ("last", "best") and (not isinstance(checkpoint, int) or isinstance(checkpoint, bool)):
        raise UserError(
            "which checkpoint is either of two words, or a number of images",
            field="checkpoint",
            value=checkpoint,
            fix="write 'last' or 'best'",
        )
    if sigma_rel is not None:
        if weights == "raw" or checkpoint != "last":
            raise UserError(
                "an average of a chosen width is made from snapshots of averages, up to the last",
                field="sigma_rel",
                value=sigma_rel,
                fix="leave out either sigma_rel, or the last weights and another checkpoint",
            )
        found = average_of(recorded, sigma_rel)
    else:
        found = recorded.weights(averaged=(weights or experiment.sampling.weights) == "ema", checkpoint=checkpoint)
    network = placed(recorded.network(found), experiment, where)
    return LoadedRun(
        directory=recorded.run.path,
        experiment=experiment,
        network=network,
        path=build_path(experiment.diffusion, where),
        conditions=conditions_of(experiment, facts),
        facts=facts,
        codec=recorded.codec,
        reference=recorded.reference,
        averaged=found.averaged,
        sigma_rel=sigma_rel,
        images_seen=found.images_seen,
        device=where,
        precision=_precision(recorded.run.manifest.precision, where),
    )


def _device(name: str | None) -> torch.device:
    if name is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        first = str(error).splitlines()[0]
        raise UserError(f"torch cannot compute there ({first})", field="device", value=name, fix="take cpu or cuda") from None
    return device


def _precision(recorded: str, device: torch.device) -> Precision:
    """The training's on a GPU that has it in hardware, else fp32."""
    if device.type != "cuda" or (recorded == "bf16" and not torch.cuda.is_bf16_supported(including_emulation=False)):
        return "fp32"
    return recorded  # type: ignore[return-value]
