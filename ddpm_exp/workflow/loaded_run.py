"""A recorded run's network, ready to draw, restore and upscale. Reads no file; `load` makes it."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from torch import Tensor, nn

from ddpm_exp.data.codec import Codec
from ddpm_exp.data.conditions import Conditions
from ddpm_exp.data.examples import Facts
from ddpm_exp.data.reference import Reference
from ddpm_exp.diffusion import draws
from ddpm_exp.diffusion.grids import levels
from ddpm_exp.diffusion.paths import Path as DiffusionPath
from ddpm_exp.diffusion.repaint import inpaint
from ddpm_exp.evaluation.drawing import Artist, Ready
from ddpm_exp.evaluation.room import Room
from ddpm_exp.loading.translate import to_user_error
from ddpm_exp.ranks.shares import Shares
from ddpm_exp.spec.condition import ImageCondition, parts_of
from ddpm_exp.spec.data import family_of
from ddpm_exp.spec.errors import UserError
from ddpm_exp.spec.experiment import Experiment
from ddpm_exp.spec.sampling import Sampling
from ddpm_exp.spec.training import Precision
from ddpm_exp.training.precision import autocast, half_of
from ddpm_exp.workflow.asking import Asked, as_mask, as_seen, captions_of, part_of, words_of
from ddpm_exp.workflow.samples import Samples
from ddpm_exp.workflow.starting import guide_of

BATCH = 64


@dataclass(frozen=True)
class LoadedRun:
    """A recorded run's network and what it takes to draw from it."""

    directory: Path
    """The run directory."""

    experiment: Experiment
    network: nn.Module
    """In evaluation mode, frozen: forward(x [B, *shape], c_noise [B], condition)."""

    path: DiffusionPath
    """From data to noise."""

    conditions: Conditions
    facts: Facts
    """Shape of an example, names of classes and values."""

    codec: Codec | None
    """Back to the data's own units; None for images."""

    reference: Reference | None
    """What sampling needs of the training data; None where the run kept none and the data are not at hand."""

    averaged: bool
    """Whether the weights are the EMA's."""

    images_seen: int
    """Training images before the checkpoint that was read."""

    device: torch.device
    precision: Precision
    sigma_rel: float | None = None
    """Relative width of an average that was made from snapshots; None: weights as a checkpoint kept them."""

    @property
    def sampling(self) -> Sampling:
        """How the experiment draws; the default of `sample`."""
        return self.experiment.sampling

    @property
    def image_task(self) -> str | None:
        """What the network was trained to do with a part of an image: inpainting, super-resolution, or None of both."""
        return next((part.task for part in parts_of(self.experiment.condition) if isinstance(part, ImageCondition)), None)

    def sample(
        self, n: int, condition: Asked = None, *, seed: int = 0, sampling: Sampling | None = None, batch: int = BATCH
    ) -> Samples:
        """`n` samples. What `condition` does not say is hidden, as in training.

        `condition`: {"label": class name or number, "prompt": text, "values": {name: number in its own unit}, "image": (image,
        mask)}, or a plain class or prompt; several in a list are taken in turn. The same seed gives the same samples, up to
        rounding, whatever `batch`, how many are drawn together; sample k is the same whatever `n`.

        Raises UserError for a condition that the network does not have or needs, and for `sampling` that does not fit it.
        """
        words = words_of(condition, self.conditions, self.facts.shape)
        return self._drawn(_count("n", n), words, seed, sampling, _count("batch", batch))

    def restore(
        self,
        image: Any,
        mask: Any,
        *,
        condition: Asked = None,
        resamples: int = 10,
        seed: int = 0,
        sampling: Sampling | None = None,
        batch: int = BATCH,
    ) -> Samples:
        """Each example again, as it is where `mask` is 1 and drawn where it is 0.

        `image`: [C, H, W] or [N, C, H, W], uint8 or in [-1, 1]; or other examples as the network sees them. `mask`: of a shape
        that broadcasts to it, such as [H, W]. A network that was trained for inpainting is told both; any other one is led by
        RePaint (Lugmayr et al. 2022), at `resamples` times the price. Raises UserError for shapes that do not fit.
        """
        dimensions = len(self.facts.shape)
        x, known = as_seen(image, "image", dimensions), as_mask(mask, dimensions)
        if x.shape[1:] != self.facts.shape:
            raise _unlike("image", x, self.facts.shape)
        try:
            known = known.expand(len(x), *known.shape[1:])
            everywhere = known.expand_as(x) > 0.5
        except RuntimeError:
            raise _unlike("mask", known, (1, *self.facts.shape[1:])) from None
        words = words_of(condition, self.conditions, self.facts.shape)
        if self.image_task == "inpainting":
            drawn = self._drawn(len(x), words | {"image": (x, known[:, :1])}, seed, sampling, _count("batch", batch))
        else:
            lead = partial(self._led, x=x, mask=known, resamples=_count("resamples", resamples))
            drawn = self._drawn(len(x), words, seed, sampling, _count("batch", batch), lead)
        given = x * known if dimensions == 3 else None
        return replace(drawn, x=torch.where(everywhere, x, drawn.x), given=given)

    def upscale(
        self, image: Any, *, condition: Asked = None, seed: int = 0, sampling: Sampling | None = None, batch: int = BATCH
    ) -> Samples:
        """Each small image [C, h, w] or [N, C, h, w], uint8 or in [-1, 1], at the size of the data, by a network trained for it.

        An image of full size is made small first. Raises UserError for another network or size.
        """
        if self.image_task != "super-resolution":
            raise UserError(
                "only a network that was trained for it makes small images large",
                field="condition",
                fix="train one with condition = ImageCondition(task='super-resolution')",
            )
        x = as_seen(image, "image", len(self.facts.shape))
        words = words_of(condition, self.conditions, self.facts.shape)
        return self._drawn(len(x), words | {"image": (x, None)}, seed, sampling, _count("batch", batch))

    @torch.no_grad()
    def _drawn(self, n: int, words: dict[str, Any], seed: int, sampling: Sampling | None, batch: int, lead: Any = None) -> Samples:
        """`n` samples by `lead(artist, ready, part, condition, seed)` or as evaluation draws."""
        artist = replace(self.artist(sampling, seed), batch=batch)
        ready = artist.ready(self.network)
        told = self.conditions.said(n, "cpu", **words)

        def some(part: slice) -> Tensor:
            condition = part_of(told, part, self.device)
            if lead is None:
                return artist.draw_batch(ready, condition, torch.arange(part.start, part.stop), seed).cpu()
            x: Tensor = lead(artist, ready, part, condition, seed)
            return x.cpu()

        drawn = artist.draw_each(Shares(n, batch), some, ready)
        given = told["image"][:, :-1] if told is not None and "image" in words else None
        return Samples(torch.cat(drawn), self.codec, captions_of(words, self.facts, n), given)

    def _led(
        self, artist: Artist, ready: Ready, part: slice, condition: Any, seed: int, *, x: Tensor, mask: Tensor, resamples: int
    ) -> Tensor:
        """Some of the examples `x` by RePaint."""
        ordinals, shape = torch.arange(part.start, part.stop, device=self.device), self.facts.shape
        return inpaint(
            artist.sampling,
            levels(self.path, artist.sampling.steps, artist.sampling.grid),
            artist.denoise(ready, condition, len(ordinals)),
            self.path.prior_std * draws.normal(seed, "sample/start", ordinals, shape),
            x[part].to(self.device),
            mask[part].to(self.device),
            lambda number: draws.normal(seed, f"restore/noise {number}", ordinals, shape),
            resamples,
        )

    def artist(self, sampling: Sampling | None, seed: int) -> Artist:
        """What draws from this network; `sampling` None: as the experiment draws. Raises UserError for one that does not fit it."""
        experiment = self.experiment
        if sampling is not None:
            try:
                experiment = experiment.but(sampling=sampling)
            except ValidationError as error:
                raise to_user_error(error, Experiment) from None
        return Artist(
            sampling=experiment.sampling,
            diffusion=experiment.diffusion,
            path=self.path,
            conditions=self.conditions,
            shape=self.facts.shape,
            device=self.device,
            autocast=lambda: autocast(self.device, self.precision),
            seed=seed,
            half=half_of(self.precision),
            capture=experiment.hardware.cuda_graph,
            family=family_of(experiment.data),
            reference=self.reference,
            guide=guide_of(experiment, self.facts, self.device),
            room=Room(lambda fewer: warnings.warn(str(fewer), stacklevel=2)),
        )


def _count(field: str, value: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise UserError("a whole number, 1 or more", field=field, value=value, fix=f"write {field} = 1 or more")
    return value


def _unlike(field: str, x: Tensor, shape: tuple[int, ...]) -> UserError:
    sizes = "x".join(map(str, shape))
    return UserError(f"this network's is {sizes}, not {'x'.join(map(str, x.shape[1:]))}", field=field, fix="resize it")
