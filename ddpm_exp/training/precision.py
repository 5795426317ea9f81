"""Half-precision arithmetic around fp32 weights: autocast, and the loss scale that fp16 needs."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from ddpm_exp.spec.errors import RunError
from ddpm_exp.spec.training import Precision

_DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


def half_of(precision: Precision) -> torch.dtype | None:
    """The 16-bit type that autocast casts to; None for fp32."""
    return _DTYPES.get(precision)


def autocast(device: torch.device, precision: Precision) -> torch.autocast:
    """Matrix products and convolutions in `precision`; off for fp32."""
    return torch.autocast(device.type, dtype=_DTYPES.get(precision, torch.bfloat16), enabled=precision != "fp32")


def set_arithmetic(*, tf32: bool, deterministic: bool) -> None:
    """For this process: whether fp32 products may round their inputs to TF32 (10 bits of mantissa) on CUDA, and whether each
    kernel must give the same bits every time. torch's own defaults differ between products and convolutions."""
    torch.backends.cuda.matmul.allow_tf32 = tf32
    torch.backends.cudnn.allow_tf32 = tf32
    torch.backends.cudnn.deterministic = deterministic
    if deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read when cuBLAS starts
    torch.use_deterministic_algorithms(deterministic, warn_only=True)
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]  # else a pass over every new tensor


@contextmanager
def fixed_order(*, strict: bool) -> Iterator[None]:
    """Meanwhile, where `set_arithmetic` asked for determinism, attention is not cuDNN's, whose backward pass has no fixed order.

    With `strict`, an operation that has no kernel of fixed order is an error (RunError): only then does attention's backward pass
    take its own; where torch merely warns, it takes the others.
    """
    if not torch.are_deterministic_algorithms_enabled():
        yield
        return
    cudnn: bool = torch.backends.cuda.cudnn_sdp_enabled()  # type: ignore[no-untyped-call]
    torch.backends.cuda.enable_cudnn_sdp(False)
    torch.use_deterministic_algorithms(True, warn_only=not strict)
    try:
        yield
    except RuntimeError as error:
        if not strict or "deterministic" not in str(error):
            raise
        said = str(error).splitlines()[0]
        raise RunError(
            f"torch has no kernel for this network's backward pass that gives the same bits each time: {said}",
            field="hardware.deterministic",
            value=True,
            fix="set hardware.deterministic to False",
        ) from error
    finally:
        torch.use_deterministic_algorithms(True, warn_only=True)
        torch.backends.cuda.enable_cudnn_sdp(cudnn)


class LossScale:
    """Keeps fp16 gradients above underflow: halves after a non-finite step, doubles after `interval` finite ones.

    Lives on the device and never waits for the host. For fp32 and bf16 the scale stays 1.
    """

    def __init__(self, device: torch.device, precision: Precision, interval: int = 2000) -> None:
        self.adapts = precision == "fp16"
        self._interval = interval
        self.scale = torch.tensor(2.0**16 if self.adapts else 1.0, device=device)
        self._finite_steps = torch.zeros((), device=device)

    def update(self, bad: torch.Tensor) -> None:
        """Account for one optimizer step; `bad` is 1.0 where its gradient was not finite, else 0.0."""
        if not self.adapts:
            return
        self._finite_steps = (self._finite_steps + 1) * (1 - bad)
        grown = self._finite_steps >= self._interval
        factor = torch.where(bad > 0, 0.5, torch.where(grown, 2.0, 1.0))
        self.scale = (self.scale * factor).clamp(1.0, 2.0**24)
        self._finite_steps = self._finite_steps * (~grown)

    def state(self) -> dict[str, Any]:
        """Tensors for a checkpoint."""
        return {"scale": self.scale.clone(), "finite_steps": self._finite_steps.clone()}

    def restore(self, state: dict[str, Any]) -> None:
        """Take over what `state` returned."""
        self.scale = state["scale"].to(self.scale.device)
        self._finite_steps = state["finite_steps"].to(self._finite_steps.device)
