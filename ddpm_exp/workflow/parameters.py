"""How many numbers an experiment's network learns, counted on the real network without memory for it."""

from __future__ import annotations

from ddpm_exp.spec.data import class_count
from ddpm_exp.spec.errors import UserError
from ddpm_exp.spec.experiment import Experiment


def parameter_count(experiment: Experiment) -> int | None:
    """Parameters of the network, the condition's encoder included; None where only the data can tell (class names of a folder)."""
    from ddpm_exp.memory.estimate import meta_network_of

    unknown = experiment.data.kind in ("folder", "shards") and class_count(experiment.data) is None
    if unknown and experiment.condition.kind not in ("none", "image"):
        return None
    try:
        network = meta_network_of(experiment)
    except UserError:
        return None
    return sum(weight.numel() for weight in network.parameters())
