"""Progressive training: the first parts of a training are easier than the rest, on coarser times or smaller images."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from annotated_types import Ge
from pydantic import model_validator

from ddpm_exp.spec.base import Spec, broken
from ddpm_exp.spec.condition import parts_of
from ddpm_exp.spec.data import family_of, shape_of, training_images
from ddpm_exp.spec.progress import PositiveAmount

if TYPE_CHECKING:
    from ddpm_exp.spec.experiment import Experiment
    from ddpm_exp.spec.training import Training


class Phase(Spec):
    """A first part of the training and what is easier in it. What no phase covers is trained as the experiment says."""

    duration: PositiveAmount
    """How long the phase takes, from the end of the one before."""

    timesteps: Annotated[int, Ge(2)] | None = None
    """Draw so many of the diffusion's times, equally far apart and the last among them (guide 000: 100, then 500, then 1000). The
    path is the same, so that a noise level means the same in every phase, to the network too. None: all."""

    image_size: Annotated[int, Ge(4)] | None = None
    """Train on images of this side, the means of squares of pixels of the data's own; the network is the same (Karras et al.
    2018 grow it instead). None: the data's."""

    @model_validator(mode="after")
    def _changes_something(self) -> Phase:
        if self.timesteps is None and self.image_size is None:
            raise broken(
                "a phase differs from the rest of the training in timesteps or image_size",
                field="timesteps",
                value=None,
                fix="set one of them, or leave the phase out",
            )
        return self


def phase_ends(training: Training, images_per_epoch: int) -> tuple[int, ...]:
    """Images after which each phase ends, in whole steps. Raises the `broken` error if nothing of the training is left then."""
    ends: list[int] = []
    for phase in training.phases:
        ends.append((ends[-1] if ends else 0) + training.images(phase.duration, images_per_epoch))
    total = training.images(training.duration, images_per_epoch)
    if ends and ends[-1] >= total:
        raise broken(
            f"phases are the first parts of a training, whose last part is as the experiment says; these take {ends[-1]:,} images "
            f"of {total:,}",
            field="training.phases",
            value=tuple(phase.duration for phase in training.phases),
            fix="make them shorter, or training.duration longer",
        )
    return tuple(ends)


def in_words(training: Training) -> str:
    """`50 epochs with 100 timesteps, then the whole task to 200 epochs`; empty without phases."""
    parts = []
    for phase in training.phases:
        easier = [f"{phase.timesteps} timesteps"] if phase.timesteps is not None else []
        easier += [f"images of {phase.image_size} pixels"] if phase.image_size is not None else []
        parts.append(f"{phase.duration} with {' and '.join(easier)}")
    return ", then ".join([*parts, f"the whole task to {training.duration}"]) if parts else ""


def check_phases(e: Experiment) -> None:
    """Raise the first rule that a phase of `e` breaks: whatever passes can be trained."""
    training = e.training
    for phase in training.phases:
        if phase.timesteps is not None:
            _times(e, phase.timesteps)
        if phase.image_size is not None:
            _size(e, phase.image_size)
    amounts = (training.duration, *(phase.duration for phase in training.phases))
    images_per_epoch = training_images(e.data)
    if images_per_epoch is not None or not any(amount.endswith("epochs") for amount in amounts):
        phase_ends(training, images_per_epoch or 1)


def _times(e: Experiment, timesteps: int) -> None:
    if not e.diffusion.discrete:
        raise broken(
            f"phases of fewer times are for whole times, and {e.diffusion.schedule} has real ones",
            field="training.phases",
            value=timesteps,
            fix="leave timesteps out, or set diffusion.schedule to 'linear', 'scaled-linear', 'cosine' or 'sigmoid'",
        )
    if e.diffusion.time_density not in ("uniform", "stratified"):
        raise broken(
            f"phases of fewer times draw them equally often, and time_density is {e.diffusion.time_density}",
            field="training.phases",
            value=timesteps,
            fix="set diffusion.time_density to 'uniform' or 'stratified', or leave timesteps out",
        )
    if timesteps >= e.diffusion.timesteps:
        raise broken(
            f"a phase draws fewer times than the {e.diffusion.timesteps} of the diffusion",
            field="training.phases",
            value=timesteps,
            fix=f"take fewer than {e.diffusion.timesteps}, or leave timesteps out of the phase",
        )


def _size(e: Experiment, size: int) -> None:
    if family_of(e.data) != "image" or e.model.kind not in ("unet", "encoder-decoder"):
        raise broken(
            "smaller images are for networks of convolutions alone, which take images of any size",
            field="training.phases",
            value=size,
            fix="leave image_size out, or set model to UNet() or EncoderDecoder() with data of images",
        )
    if any(part.kind == "image" for part in parts_of(e.condition)):
        raise broken(
            "a condition that is an image has the size of the data",
            field="training.phases",
            value=size,
            fix="leave image_size out, or the image condition",
        )
    side, factor = shape_of(e.data)[-1], 2**e.model.downsamplings
    if size >= side or side % size:
        raise broken(
            f"a phase's images are whole squares of pixels of the data's, whose side is {side}",
            field="training.phases",
            value=size,
            fix=f"take a divisor of {side} below it",
        )
    if size % factor or size // factor < 2:
        raise broken(
            f"the network halves images {e.model.downsamplings} times, so a side divides by {factor} and is at least {2 * factor}",
            field="training.phases",
            value=size,
            fix="take a larger image_size, or leave it out",
        )
