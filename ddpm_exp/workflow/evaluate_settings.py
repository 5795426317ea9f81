"""Which ways of drawing an `evaluate` compares: the product of what was named, each checked before anything is computed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from itertools import product
from typing import Any, Literal, cast

from pydantic import ValidationError

from ddpm_exp.data.shapes import shape_of
from ddpm_exp.evaluation.fidelity import fewest
from ddpm_exp.evaluation.image_measures import ImageMeasure, of_fd, of_fid
from ddpm_exp.evaluation.noise_counted import NAME as NOISE_LEFT
from ddpm_exp.evaluation.noise_counted import NoiseCount
from ddpm_exp.loading.translate import to_user_error
from ddpm_exp.spec.data import family_of
from ddpm_exp.spec.errors import UserError
from ddpm_exp.spec.evaluation import FD, FD_METRICS, FID, FID_METRICS
from ddpm_exp.spec.experiment import Experiment
from ddpm_exp.spec.sampling import Sampling
from ddpm_exp.workflow.averages import require_average
from ddpm_exp.workflow.recorded import Recorded, Which

WeightsWord = Literal["ema", "raw"]


@dataclass(frozen=True)
class Network:
    """Which weights of a run draw."""

    weights: WeightsWord | None = None
    """None: as the experiment draws, or an average of width `sigma_rel`."""

    sigma_rel: float | None = None
    checkpoint: Which = "last"


@dataclass(frozen=True)
class Compared:
    """What is measured of one run."""

    networks: tuple[Network, ...]
    samplings: tuple[Sampling, ...]
    """Each with every network."""

    measures: tuple[ImageMeasure, ...]
    images: int
    """Drawn with each of them."""

    noise_left: bool = False
    """Whether images with noise left are counted, too."""

    notes: tuple[str, ...] = ()
    """What was changed to let the settings fit together."""

    @property
    def count(self) -> int:
        """Ways of drawing."""
        return len(self.networks) * len(self.samplings)

    @property
    def names(self) -> tuple[str, ...]:
        """Of what is measured, without `samples/`."""
        return (*(name for one in self.measures for name in one.metrics), *((NOISE_LEFT,) if self.noise_left else ()))


@dataclass(frozen=True)
class Wanted:
    """What a user named; nothing: as the experiment draws, and what `evaluation.fd` measures beside the noise left."""

    n: int | None = None
    samplers: Sequence[str] = ()
    steps: Sequence[int] = ()
    grids: Sequence[str] = ()
    guidance: Sequence[float] = ()
    weights: Sequence[str] = ()
    sigma_rel: Sequence[float] = ()
    checkpoints: Sequence[Which] = ()
    metrics: Sequence[str] = ()
    inception: str | None = None
    """File of Inception weights."""


def compared(experiment: Experiment, wanted: Wanted) -> Compared:
    """The settings that `wanted` names for a run of `experiment`. Raises UserError for what does not fit it, for an unknown metric,
    and for a package or file that a metric lacks."""
    if family_of(experiment.data) != "image":
        raise UserError(
            f"distances in features are for images, and {experiment.data.kind} holds none",
            field="data.kind",
            value=experiment.data.kind,
            fix="compare samples/sliced_wasserstein of its runs, which every evaluation measures",
        )
    fd, fid = experiment.evaluation.fd, experiment.evaluation.fid
    n = wanted.n or (fd.images if fd is not None else FD().images)
    notes: list[str] = []
    axes: list[Sequence[Any]] = [wanted.samplers, wanted.steps, wanted.grids, wanted.guidance]
    ways = product(*(axis or (None,) for axis in axes))
    samplings = dict.fromkeys(_sampling(experiment, way, notes) for way in ways)
    metrics = _metrics(wanted)
    noise_left = NOISE_LEFT in metrics and NoiseCount.sees(min(shape_of(experiment.data, experiment.condition)[1:]))
    if NOISE_LEFT in metrics and not noise_left:
        notes.append(f"{NOISE_LEFT} is left out: images of so few pixels do not tell noise from strokes")
    measures = _measures(metrics, wanted, fid, n)
    return Compared(_networks(wanted), tuple(samplings), measures, n, noise_left, tuple(dict.fromkeys(notes)))


def _networks(wanted: Wanted) -> tuple[Network, ...]:
    for word in wanted.weights:
        if word not in ("ema", "raw"):
            raise UserError("weights are the average or the last ones", field="--weights", value=word, fix="write ema or raw")
    named = [Network(weights=cast(WeightsWord, word)) for word in wanted.weights]
    named += [Network(sigma_rel=width) for width in wanted.sigma_rel]
    found = [replace(one, checkpoint=checkpoint) for checkpoint in wanted.checkpoints or ("last",) for one in named or [Network()]]
    wrong = next((one for one in found if one.sigma_rel is not None and one.checkpoint != "last"), None)
    if wrong is not None:
        raise UserError(
            "an average of a chosen width is made from snapshots up to the last",
            field="--checkpoint",
            value=wrong.checkpoint,
            fix="leave out --checkpoint or --sigma-rel",
        )
    return tuple(dict.fromkeys(found))


def _sampling(experiment: Experiment, way: tuple[Any, ...], notes: list[str]) -> Sampling:
    """The experiment's sampling with what `way` names. Fields of its own sampler that mean nothing to another are left at their
    defaults, with a note."""
    named = {
        name: value for name, value in zip(("sampler", "steps", "grid", "guidance_scale"), way, strict=True) if value is not None
    }
    values = {name: getattr(experiment.sampling, name) for name in Sampling.model_fields} | named
    while True:
        try:
            found = Sampling(**values)
            experiment.but(sampling=found)
            return found
        except ValidationError as error:
            left = _meaningless(error, named, values)
            if left is None:
                of = Experiment if error.title == "Experiment" else Sampling
                raise to_user_error(error, of) from None
            default = values[left] = Sampling.model_fields[left].default
            notes.append(f"sampling.{left} means nothing for {values['sampler']} and is left at {default!r}")


def _meaningless(error: ValidationError, named: dict[str, Any], values: dict[str, Any]) -> str | None:
    """The field that another sampler, or no guidance, has no use for; None where something else is wrong."""
    if "sampler" not in named and "guidance_scale" not in named:
        return None
    for detail in error.errors(include_url=False):
        name = str(detail.get("ctx", {}).get("field", "")).removeprefix("sampling.")
        known = Sampling.model_fields.get(name)
        if detail["type"] == "rule" and known is not None and name not in named and values[name] != known.default:
            return name
    return None


def _metrics(wanted: Wanted) -> tuple[str, ...]:
    """Names without `samples/`. Raises UserError for one that is none, or that needs more images."""
    metrics = tuple(dict.fromkeys(name.removeprefix("samples/") for name in wanted.metrics)) or (*FD_METRICS, NOISE_LEFT)
    known = (*FD_METRICS, *FID_METRICS, NOISE_LEFT)
    for name in metrics:
        if name not in known:
            near = get_close_matches(name, known, n=1)
            fix = f"did you mean '{near[0]}'?" if near else f"take some of {', '.join(known)}"
            raise UserError("no such measure of images", field="--metrics", value=name, fix=fix)
    needed = fewest(metrics)
    if wanted.n is not None and wanted.n < needed:
        raise UserError(f"{', '.join(metrics)} need at least {needed} images", field="--n", value=wanted.n, fix="draw thousands")
    return metrics


def _measures(metrics: tuple[str, ...], wanted: Wanted, fid: FID | None, n: int) -> tuple[ImageMeasure, ...]:
    found = []
    if ours := tuple(name for name in FD_METRICS if name in metrics):
        found.append(of_fd(FD(images=max(n, 4), metrics=ours), field="--metrics"))
    if theirs := tuple(name for name in FID_METRICS if name in metrics):
        weights = wanted.inception or (None if fid is None else fid.weights)
        found.append(of_fid(FID(images=max(n, 2), weights=weights, metrics=theirs), field="--inception"))
    return tuple(found)


def require_networks(recorded: Recorded, networks: tuple[Network, ...]) -> None:
    """Raise, as `load` would, where the run does not have the weights of one of `networks`: before hours go into the others."""
    for network in networks:
        if network.sigma_rel is not None:
            require_average(recorded, network.sigma_rel)
        else:
            recorded.require(network.checkpoint)
