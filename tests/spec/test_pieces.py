"""What every piece of an experiment promises: it cannot be wrong quietly."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from ddpm_exp.spec.base import Spec
from ddpm_exp.spec.data import Digits
from ddpm_exp.spec.diffusion import Diffusion
from ddpm_exp.spec.errors import UserError
from ddpm_exp.spec.evaluation import Evaluation
from ddpm_exp.spec.experiment import Experiment
from ddpm_exp.spec.fields import all_sites, hint, members
from ddpm_exp.spec.model import UNet
from ddpm_exp.spec.sampling import Sampling
from ddpm_exp.spec.training import Training

PIECES = sorted({site.owner for site in all_sites()}, key=lambda cls: cls.__name__)


def test_defaults_are_validated():
    with pytest.raises(ValidationError):

        class Wrong(Spec):
            steps: int = "ten"  # type: ignore[assignment]

        Wrong()


def test_a_bare_experiment_is_valid():
    assert Experiment().decision is None


@pytest.mark.parametrize(
    ("piece", "field"),
    [(Training, "images_per_step"), (Training, "learning_rate"), (Sampling, "steps"), (UNet, "heads"), (Evaluation, "samples")],
)
def test_true_is_not_one(piece, field):
    with pytest.raises(ValidationError):
        piece(**{field: True})


@pytest.mark.parametrize("value", ["8", 8.0, None, [8]])
def test_no_value_is_turned_into_a_whole_number(value):
    with pytest.raises(ValidationError):
        Training(images_per_step=value)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_no_number_is_nan_or_infinite(value):
    with pytest.raises(ValidationError):
        Training(gradient_clip=value)


@pytest.mark.parametrize("cls", PIECES, ids=lambda cls: cls.__name__)
def test_unknown_fields_are_refused(cls):
    with pytest.raises(ValidationError, match="extra_forbidden"):
        cls(no_such_field=1)


@pytest.mark.parametrize("cls", PIECES, ids=lambda cls: cls.__name__)
def test_every_piece_is_frozen_strict_and_closed(cls):
    config = cls.model_config
    assert config["frozen"] and config["strict"] and config["validate_default"] and config["extra"] == "forbid"


def test_but_validates_again():
    assert Training().but(images_per_step=8).images_per_step == 8
    with pytest.raises(ValidationError):
        Training().but(images_per_step=0)
    with pytest.raises(ValidationError):
        Training().but(image_per_step=8)
    with pytest.raises(ValidationError, match="beta_start must not exceed"):
        Diffusion().but(beta_start=0.5)


def test_but_leaves_the_original_as_it_was():
    start = Training()
    start.but(images_per_step=8)
    assert start == Training()


@given(steps=st.integers(2, 10_000), timesteps=st.integers(50, 1000))
def test_but_never_makes_what_the_rules_forbid(steps, timesteps):
    base = Experiment().but(diffusion=Diffusion(schedule="cosine"))
    if steps <= timesteps:
        assert base.but(sampling=Sampling(steps=steps), diffusion=base.diffusion.but(timesteps=timesteps)).sampling.steps == steps
    else:
        with pytest.raises(ValidationError):
            base.but(sampling=Sampling(steps=steps), diffusion=base.diffusion.but(timesteps=timesteps))


def test_every_field_says_what_it_means():
    silent = [site.path for site in all_sites() if not site.owner.model_fields[site.name].description]
    plain = {"kind", "data", "condition", "diffusion", "model", "training", "sampling", "evaluation", "hardware", "tracking"}
    named_by_the_record = {"title", "status", "context", "chosen", "alternatives", "consequences"}
    named_by_the_record |= {"positive", "negative", "risks", "mitigations"}
    assert {path.rpartition(".")[2] for path in silent} <= plain | named_by_the_record


def test_hints_prefer_the_right_place():
    assert hint("timesteps", Training, "training") == "timesteps belongs to diffusion (diffusion.timesteps)"
    assert hint("learning_rat", Training, "training") == "did you mean 'learning_rate'?"
    assert "ImageFolder" in hint("held_out_share", Digits, "data")
    assert hint("zzz", Sampling, "sampling").startswith("known fields: sampler, steps")


def test_members_of_a_tuple_are_not_pieces_of_the_experiment():
    assert members(tuple[Training, ...]) == ()
    assert members(Training | None) == (Training,)


def test_long_values_are_cut_in_messages():
    text = str(UserError("too long", field="f", value="x" * 1000))
    assert len(text) < 120 and "..." in text
