"""Rules on what fits what: the network to the data, the condition to both. Impossible combinations only."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ddpm_exp.spec.base import broken
from ddpm_exp.spec.condition import PIXEL_VALUES, parts_of
from ddpm_exp.spec.data import ImageFolder, Shards, class_count, family_of, shape_of
from ddpm_exp.spec.vectors import MADE_VALUES, Gaussians, Points, Sequences, Table

if TYPE_CHECKING:
    from ddpm_exp.spec.experiment import Experiment

_TAKES = {
    "unet": ("image",),
    "encoder-decoder": ("image",),
    "mlp": ("vector",),
    "dit": ("image", "sequence", "points"),
}
"""What each network takes: see `data.Family`."""

_FITTING = {"image": "UNet(), EncoderDecoder() or DiT()", "vector": "MLP()", "sequence": "DiT()", "points": "DiT()"}

_IN_WORDS = {"image": "images", "vector": "vectors", "sequence": "sequences", "points": "clouds of points"}


def network_takes_the_data(e: Experiment) -> None:
    """An MLP draws vectors, convolutions draw images, a DiT everything that has places or points."""
    family = family_of(e.data)
    if family not in _TAKES[e.model.kind]:
        takes = " and ".join(_IN_WORDS[one] for one in _TAKES[e.model.kind])
        raise broken(
            f"the network {e.model.kind} takes {takes}, and {e.data.kind} holds {_IN_WORDS[family]}",
            field="model.kind",
            value=e.model.kind,
            fix=f"set model to {_FITTING[family]}",
        )


def image_divides(e: Experiment) -> None:
    """Images are halved as often as the network does it, and end at two pixels or more."""
    if e.model.kind not in ("unet", "encoder-decoder"):
        return
    size, factor = shape_of(e.data)[-1], 2**e.model.downsamplings
    if size % factor or size // factor < 2:
        unet = e.model.kind == "unet"
        how_often = " (one less than model.multipliers has entries)" if unet else ""
        raise broken(
            f"the image is halved {e.model.downsamplings} times{how_often}, so its side must "
            f"divide by {factor} and stay at least 2 pixels; {e.data.kind} is {size} pixels",
            field="model.multipliers" if unet else "model.kind",
            value=e.model.multipliers if e.model.kind == "unet" else e.model.kind,
            fix="take fewer multipliers or another data.image_size" if unet else "take another data.image_size, or a UNet",
        )


def attention_is_reached(e: Experiment) -> None:
    """The U-Net attends only at sizes that it passes through."""
    if e.model.kind != "unet":
        return
    sides = [shape_of(e.data)[-1] // 2**level for level in range(e.model.downsamplings + 1)]
    for resolution in e.model.attention_resolutions:
        if resolution not in sides:
            raise broken(
                f"attention is at a resolution that the network passes through: {', '.join(map(str, sides))}",
                field="model.attention_resolutions",
                value=resolution,
                fix="choose among these, or () for attention in the middle only",
            )


def patches_divide(e: Experiment) -> None:
    """A DiT's patches cut an image or a sequence without a rest; points are tokens as they are."""
    family = family_of(e.data)
    if e.model.kind != "dit":
        return
    if family == "points":
        default = type(e.model).model_fields["patch"].default
        if e.model.patch != default:
            raise broken(
                "patch belongs to images and sequences, and means nothing for points",
                field="model.patch",
                value=e.model.patch,
                fix=f"leave it out (its default is {default})",
            )
        return
    size = shape_of(e.data)[-1]
    if size % e.model.patch:
        raise broken(
            f"patches cut the {family} without a rest, and {size} does not divide by {e.model.patch}",
            field="model.patch",
            value=e.model.patch,
            fix=f"take a divisor of {size}",
        )


def learned_times_are_whole(e: Experiment) -> None:
    """A table of time embeddings has a row per whole time."""
    if e.model.time_features == "learned" and not e.diffusion.discrete:
        raise broken(
            f"learned time features are a table with a row per whole time, and {e.diffusion.schedule} has real times",
            field="model.time_features",
            value="learned",
            fix="set model.time_features to 'sinusoidal' or 'fourier', or choose a schedule on whole times",
        )


def condition_fits_the_network(e: Experiment) -> None:
    """Cross-attention needs a network that has it."""
    for part in parts_of(e.condition):
        if part.by == "cross-attention" and e.model.kind == "encoder-decoder":
            raise broken(
                "the encoder-decoder has no attention, so it cannot look at a condition's tokens",
                field="condition.by",
                value="cross-attention",
                fix="set condition.by to 'embedding' or 'concatenation', or model to UNet()",
            )
        if part.by == "cross-attention" and e.model.kind == "mlp" and e.model.hidden_dim % e.model.heads:
            raise broken(
                f"heads of cross-attention divide hidden_dim, and {e.model.hidden_dim} does not divide by {e.model.heads}",
                field="model.heads",
                value=e.model.heads,
                fix=f"take heads = 1 or a divisor of {e.model.hidden_dim}",
            )


def condition_fits_the_data(e: Experiment) -> None:
    """Classes need data with classes, image conditions need images, and small images a whole number of pixels."""
    family = family_of(e.data)
    for part in parts_of(e.condition):
        if part.kind in ("class", "prompt") and family != "image" and class_count(e.data) is None and not _labelled(e):
            raise broken(
                f"{e.data.kind} of this source has no classes",
                field="condition",
                value=part.kind,
                fix="name the column in data.label" if e.data.kind == "table" else "set condition to Unconditional()",
            )
        if part.kind == "values":
            _values_exist(e, part.names)
        if part.kind != "image":
            continue
        if family != "image":
            raise broken(
                f"an image condition needs images, and {e.data.kind} holds {_IN_WORDS[family]}",
                field="condition.kind",
                value="image",
                fix="set condition to ContinuousValues(), ClassLabels() or Unconditional()",
            )
        side = shape_of(e.data)[-1]
        if part.task == "super-resolution" and (side % part.factor or side // part.factor < 2):
            raise broken(
                f"the given image is {part.factor} times smaller, so the side must divide by it and leave at least 2 pixels; "
                f"{e.data.kind} is {side} pixels",
                field="condition.factor",
                value=part.factor,
                fix=f"take a divisor of {side}",
            )


def _values_exist(e: Experiment, names: tuple[str, ...]) -> None:
    """Refuse values that the spec alone knows the data not to have. What a table or a folder has, only its file can tell."""
    if isinstance(e.data, Table | ImageFolder):
        return
    if isinstance(e.data, Sequences | Points):
        known = MADE_VALUES.get(e.data.source, ())
    else:
        known = () if isinstance(e.data, Gaussians) else PIXEL_VALUES
    for name in names:
        if name not in known:
            raise broken(
                f"{e.data.kind} has {'the values ' + ' and '.join(known) if known else 'no values besides what is drawn'}",
                field="condition.names",
                value=names,
                fix="name one of these" if known else "set condition to ClassLabels() or Unconditional()",
            )


def workers_have_files(e: Experiment) -> None:
    """Workers decode images of a folder or of shards; all other data are in memory at once."""
    if e.hardware.data_in == "workers" and not isinstance(e.data, ImageFolder | Shards):
        raise broken(
            f"workers decode images of a folder or of shards, and {e.data.kind} is in memory at once",
            field="hardware.data_in",
            value="workers",
            fix="set it to 'auto'",
        )


def _labelled(e: Experiment) -> bool:
    return e.data.kind == "table" and e.data.label is not None


FITS = (
    network_takes_the_data,
    image_divides,
    attention_is_reached,
    patches_divide,
    learned_times_are_whole,
    condition_fits_the_network,
    condition_fits_the_data,
    workers_have_files,
)
"""In the order in which they are checked."""
