"""What the network is told about the image it draws: nothing, a class or a prompt."""

from __future__ import annotations

from typing import Annotated, Literal

from annotated_types import Ge, Le
from pydantic import Field, model_validator

from ddpm_exp.spec.base import Spec, broken

Probability = Annotated[float, Ge(0), Le(1)]


class Unconditional(Spec):
    """The network is told nothing but the noise level."""

    kind: Literal["none"] = "none"


class ClassLabels(Spec):
    """The class of each image, as a learnt embedding (guide 002, class-conditional)."""

    kind: Literal["class"] = "class"

    dropout: Probability = 0.1
    """Probability, per image, that the label is hidden in training, so that guidance has an unconditional model
    (classifier-free guidance, Ho & Salimans 2022; guide 002 uses 0.1)."""


class Prompts(Spec):
    """A sentence about each image, made from its class name and a template, read by a small text encoder
    that is trained with the network (guide 002, text-conditional)."""

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
    """Features per token in the text encoder."""

    layers: Annotated[int, Ge(0), Le(12)] = 2
    """Transformer layers in the text encoder; 0 is the mean of the word embeddings."""

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


Condition = Annotated[Unconditional | ClassLabels | Prompts, Field(discriminator="kind")]
"""Any condition."""
