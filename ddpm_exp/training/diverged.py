"""What a training that has left the finite numbers says: which of them, at what rate, and what helps."""

from __future__ import annotations

from ddpm_exp.spec.errors import RunError
from ddpm_exp.training.statistics import BadSteps

_LARGEST_USEFUL = 2.0
"""A loss scale at or below this leaves nothing that scaling could mend."""


class Diverged(RunError):  # noqa: N818 - it names what happened to the training
    """Too many steps in a row were not finite; each was skipped, so the weights are those from before them."""

    def __init__(self, bad: BadSteps, *, images: int, rate: float, loss_scale: float | None, kept: str | None = None) -> None:
        """`images`: seen when it was noticed; `rate`: learning rate; `loss_scale`: in fp16. `kept`: what is said of the last good
        checkpoint."""
        self.bad, self.images, self.rate, self.loss_scale = bad, images, rate, loss_scale
        scaled = "" if loss_scale is None else f", with the loss scale of fp16 at {loss_scale:g}"
        super().__init__(
            f"{bad.longest} steps in a row had {self.cause}{scaled}; each was skipped (noticed at {images:,} images)",
            field="training.learning_rate",
            value=rate,
            fix=f"{self._remedies()}; {kept or 'the last good checkpoint is kept'}",
        )

    @property
    def cause(self) -> str:
        """`a loss that was not finite`, or what else it was."""
        loss, gradient = self.bad.by_loss, self.bad.by_gradient
        if not gradient:
            return "a loss that was not finite"
        if not loss:
            return "a gradient that was not finite under a finite loss"
        return f"a loss or gradient that was not finite (the loss itself in {loss}, the gradient alone in {gradient})"

    def knowing(self, kept: str) -> Diverged:
        """The same, with what is known of the last good checkpoint."""
        return Diverged(self.bad, images=self.images, rate=self.rate, loss_scale=self.loss_scale, kept=kept)

    def _remedies(self) -> str:
        lower = "lower the learning rate (guides 000 and 001: by 2 to 10), clip gradients"
        if self.loss_scale is None:
            return lower
        if self.bad.by_loss == 0 and self.loss_scale > _LARGEST_USEFUL:
            return f"wait: the loss scale halves at each such step (a larger training.stop_after_bad_steps); else {lower}"
        return f"{lower}, or use bf16 or fp32 instead of fp16"
