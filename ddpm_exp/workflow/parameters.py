"""How many numbers an experiment's network learns, counted on the real network without memory for it."""

from __future__ import annotations

from ddpm_exp.spec.errors import UserError
from ddpm_exp.spec.experiment import Experiment


def parameter_count(experiment: Experiment) -> int | None:
    """Parameters of the network, the condition's encoder included; None where only the data can tell (class names of a folder)."""
    import torch

    from ddpm_exp.memory.estimate import condition_size
    from ddpm_exp.models.build import build_network
    from ddpm_exp.spec.data import shape_of

    if experiment.data.kind == "folder" and experiment.condition.kind != "none":
        return None
    try:
        with torch.device("meta"):
            network = build_network(experiment.model, condition_size(experiment), shape_of(experiment.data))
    except UserError:
        return None
    return sum(weight.numel() for weight in network.parameters())
