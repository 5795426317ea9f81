"""Which weights autocast casts to 16 bits at every call, so that a caller can cast them once instead. Casts nothing itself."""

from __future__ import annotations

from torch import Tensor, nn

from ddpm_exp.models.embeddings import TimeEmbedding


def cast_by_autocast(network: nn.Module) -> dict[str, Tensor]:
    """By name: weights of convolutions and linear maps, and biases of the latter.

    Not those of the time embedding, which is computed in float32, nor biases of convolutions, which fused kernels add in float32.
    """
    apart = {id(part) for module in network.modules() if isinstance(module, TimeEmbedding) for part in module.modules()}
    found: dict[str, Tensor] = {}
    for name, module in network.named_modules():
        if id(module) in apart or not isinstance(module, nn.Linear | nn.Conv1d | nn.Conv2d):
            continue
        found[f"{name}.weight"] = module.weight
        if isinstance(module, nn.Linear) and module.bias is not None:
            found[f"{name}.bias"] = module.bias
    return found
