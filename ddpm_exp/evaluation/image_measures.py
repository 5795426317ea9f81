"""What is measured of drawn images in the features of a pretrained network, and everything that the values depend on."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch

from ddpm_exp.data.examples import Splits
from ddpm_exp.evaluation import fidelity
from ddpm_exp.evaluation.centroids import class_figures
from ddpm_exp.evaluation.extractors import FIELD, INCEPTION, LOGITS, Extractor, efficientnet, inception, unusable
from ddpm_exp.evaluation.fidelity import FeatureSet, distances, inception_score
from ddpm_exp.evaluation.image_features import TOGETHER, Extraction
from ddpm_exp.evaluation.reals import Reals, Split, as_many_of_training, every, features_of, question_of
from ddpm_exp.evaluation.room import Room
from ddpm_exp.ranks.ranks import SINGLE, Ranks
from ddpm_exp.records.cache import Kept, version_of
from ddpm_exp.spec.errors import RunError
from ddpm_exp.spec.evaluation import FD, FID

_FLOORS = Kept("real-floors")


@dataclass(frozen=True)
class ImageMeasure:
    """One extractor and the measures that are taken in its features."""

    extractor: Extractor
    images: int
    """How many are drawn for it."""

    metrics: tuple[str, ...]
    """Names without `samples/`."""

    against: Split
    """The reals: papers take FID to the training images; held-out ones also tell what was learnt by heart."""

    floor: bool
    """Whether training images are measured in place of samples, too."""

    @property
    def title(self) -> str:
        """What it is called while it is measured."""
        return "FID" if self.extractor.name == INCEPTION else "FD"

    @property
    def layers(self) -> tuple[str, ...]:
        """What is extracted of drawn images."""
        return (self.extractor.layer, LOGITS) if "inception_score" in self.metrics else (self.extractor.layer,)


def of_fd(spec: FD, field: str = "evaluation.fd") -> ImageMeasure:
    """What `field` asks. Raises UserError where a package is missing, with the command that installs it."""
    return ImageMeasure(efficientnet(field), spec.images, spec.metrics, "held-out", floor=True)


def of_fid(spec: FID, field: str = FIELD) -> ImageMeasure:
    """What `spec` asks; `field` names the file of weights. Raises UserError where that is missing, with the way to get it."""
    return ImageMeasure(inception(spec, field), spec.images, spec.metrics, "train", floor=False)


@dataclass(frozen=True)
class Measured:
    """Values of drawn images, with all that they depend on but how these were drawn."""

    values: dict[str, float]
    """By the catalogue's names."""

    measurement: dict[str, Any]
    """Plain data: values compare where it is equal."""

    generated: int
    reals: int


class Comparison:
    """Drawn images against the same reals, set by set: the features of these and the floor are found once, and kept on the disk.

    All of several processes make one and call the same methods with the same arguments. `images` are in each drawn set; `together`
    go through the network at once. Raises RunError where the reals or `images` are too few.
    """

    def __init__(
        self,
        asked: ImageMeasure,
        splits: Splits,
        images: int,
        device: torch.device,
        ranks: Ranks = SINGLE,
        room: Room | None = None,
        together: int = TOGETHER,
    ) -> None:
        self.asked, self._splits, self._images, self._ranks = asked, splits, images, ranks
        self._reals = every(splits, asked.against)
        self._floor = as_many_of_training(splits, images) if asked.floor else None
        _require_enough(asked, images, self._reals)
        self._extraction = Extraction(asked.extractor, asked.layers, device, ranks, room or Room(), together)

    @cached_property
    def _real(self) -> FeatureSet:
        return features_of(self._reals, self._extraction)

    @cached_property
    def _instead(self) -> dict[str, float]:
        if self._floor is None:
            return {}
        return _of_floor(self.asked, self._floor, self._reals, self._real, self._extraction)

    def prepare(self) -> None:
        """Find what does not depend on the drawn images. Raises as `of`."""
        _ = self._real, self._instead

    def of(self, generated: torch.Tensor | None, told: torch.Tensor | None = None) -> Measured | None:
        """What is asked of uint8 `generated` [images, C, H, W], which the first of several processes has; None in the others.

        They are drawn with conditions as often as the data has them (`asked.in_proportion`). `told`: the class that each was asked
        for, int64 [images], where the network is told one; classes are looked at then, too. Raises RunError for a file that is not
        the extractor's weights, and as `room` does where memory runs out.
        """
        self.prepare()
        asked, drawn = self.asked, self._ranks.share(generated)
        ours = self._extraction.features(drawn)
        if not self._ranks.leads:
            return None
        values = _distances(asked, FeatureSet(ours[asked.extractor.layer]), self._real)
        if "inception_score" in asked.metrics:
            values["inception_score"] = inception_score(ours[LOGITS])
        values |= {f"{name}_of_real": value for name, value in self._instead.items()}
        held_out = self._splits.held_out
        if asked.floor and told is not None and held_out.labels is not None:
            features = ours[asked.extractor.layer]
            seen = class_figures(features, told, self._real.features, held_out.labels, len(held_out.class_names))
            values |= {f"{name}_effnet": value for name, value in seen.items()}
        named = {f"samples/{name}": value for name, value in values.items()}
        return Measured(named, _measurement(asked, len(drawn), self._reals, self._floor), len(drawn), len(self._reals))


def _of_floor(asked: ImageMeasure, floor: Reals, reals: Reals, real: FeatureSet, extraction: Extraction) -> dict[str, float]:
    """`asked` of `floor` in place of drawn images, from the disk where it is kept: it is the same for every network and sampler."""
    question = {
        "of": question_of(floor, extraction),
        "to": question_of(reals, extraction),
        "metrics": list(asked.metrics),
        "settings": [fidelity.SEED, fidelity.KID_SUBSETS, fidelity.KID_SUBSET, fidelity.NEIGHBOURS],
        "versions": {name: version_of(name) for name in ("numpy", "scipy")},
    }
    kept = _FLOORS.find(question) if extraction.ranks.leads else None
    if extraction.ranks.share(kept is not None):
        return kept or {}
    instead = features_of(floor, extraction)
    if not extraction.ranks.leads:
        return {}
    found = _distances(asked, instead, real)
    _FLOORS.keep(question, found)
    return found


def _distances(asked: ImageMeasure, generated: FeatureSet, real: FeatureSet) -> dict[str, float]:
    try:
        return distances(asked.metrics, generated, real)
    except (RuntimeError, AssertionError, ValueError) as error:  # of numpy, scipy or the library, for sets they cannot compare
        raise unusable(asked.extractor, f"torch-fidelity could not measure {', '.join(asked.metrics)}", error) from error


def _require_enough(asked: ImageMeasure, drawn: int, reals: Reals) -> None:
    there, needed = min(drawn, len(reals)), fidelity.fewest(asked.metrics)
    if there < needed:
        raise RunError(
            f"{', '.join(asked.metrics)} need at least {needed} drawn and as many {reals.split} images",
            field=asked.extractor.field,
            value=there,
            fix="draw more, or hold more images out",
        )


def _measurement(asked: ImageMeasure, drawn: int, reals: Reals, floor: Reals | None) -> dict[str, Any]:
    found: dict[str, Any] = {
        "n": drawn,
        "extractor": asked.extractor.name,
        "layer": asked.extractor.layer,
        "resolution": asked.extractor.resolution,
        "weights_sha256": asked.extractor.sha256,
        "reals": reals.split,
        "reals_n": len(reals),
        "reals_sha256": reals.sha256,
        "image_shape": list(reals.images.shape[1:]),
        "conditions": "as often as the data has them",
        "torch_fidelity": version_of("torch-fidelity"),
        "kid_subset": fidelity.kid_subset(drawn, len(reals)),
        "kid_subsets": fidelity.KID_SUBSETS,
    }
    return found if floor is None else found | {"floor_n": len(floor), "floor_sha256": floor.sha256}
