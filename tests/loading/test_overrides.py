"""What overrides promise: values by the field's type, changed pieces validated together, the rest untouched."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ddpm_exp.loading.overrides import apply_overrides
from ddpm_exp.spec.condition import ClassLabels, Prompts
from ddpm_exp.spec.data import Digits, FashionMNIST, ImageFolder
from ddpm_exp.spec.errors import UserError
from ddpm_exp.spec.evaluation import FID
from ddpm_exp.spec.experiment import Experiment
from ddpm_exp.spec.identity import flat

BASE = Experiment()


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("training.learning_rate=3e-4", 3e-4),
        ("training.learning_rate= 3e-4 ", 3e-4),
        ("training.images_per_step=1_000", 1000),
        ("training.duration=5 epochs", "5 epochs"),
        ("training.duration='5 epochs'", "5 epochs"),
        ("training.gradient_clip=none", None),
        ("training.gradient_clip=null", None),
        ("training.gradient_clip=2", 2.0),
        ("training.betas=(0.8, 0.95)", (0.8, 0.95)),
        ("training.betas=0.8,0.95", (0.8, 0.95)),
        ("training.betas=[0.8, 0.95]", (0.8, 0.95)),
        ("model.multipliers=1,2,2,4", (1, 2, 2, 4)),
        ("model.multipliers=(1, 2, 2, 4)", (1, 2, 2, 4)),
        ("model.multipliers=[1,2,2,4]", (1, 2, 2, 4)),
        ("model.attention_resolutions=8", (8,)),
        ("model.attention_resolutions=(8)", (8,)),
        ("model.attention_resolutions=()", ()),
        ("tracking.tags=a,b", ("a", "b")),
        ("tracking.tags=[a, b]", ("a", "b")),
        ('tracking.tags=["a, b", "c"]', ("a, b", "c")),
        ("tracking.entity=x=y", "x=y"),
        ("data.flip=True", True),
        ("data.flip=false", False),
        ("data.image_size=16", 16),
        ("hardware.gpu=T4", "T4"),
        ("diffusion.schedule='cosine'", "cosine"),
    ],
)
def test_text_becomes_a_value_of_the_fields_type(text, value):
    result = flat(apply_overrides(BASE, [text]))[text.partition("=")[0]]
    value = list(value) if isinstance(value, tuple) else value
    assert (result, type(result)) == (value, type(value))


def test_fields_that_depend_on_each_other_change_together():
    changed = apply_overrides(BASE, ["diffusion.schedule=cosine", "sampling.steps=10", "diffusion.timesteps=20"])
    assert (changed.diffusion.timesteps, changed.sampling.steps) == (20, 10)
    with pytest.raises(UserError, match=r"sampling\.steps"):
        apply_overrides(BASE, ["diffusion.schedule=cosine", "diffusion.timesteps=20"])


def test_fields_of_one_piece_that_depend_on_each_other_change_together():
    changed = apply_overrides(BASE, ["diffusion.zero_terminal_snr=true", "diffusion.prediction=v"])
    assert changed.diffusion.zero_terminal_snr and changed.diffusion.prediction == "v"


def test_a_change_of_kind_keeps_the_science_that_both_kinds_share():
    start = BASE.but(data=Digits(subset=512, subset_seed=3, image_size=16))
    changed = apply_overrides(start, ["data.kind=fashion-mnist"])
    assert changed.data == FashionMNIST(subset=512, subset_seed=3)
    prompted = apply_overrides(BASE.but(condition=ClassLabels(dropout=0.3)), ["condition.kind=prompt"])
    assert prompted.condition == Prompts(dropout=0.3)


def test_where_a_data_set_lies_does_not_follow_a_change_of_kind():
    start = BASE.but(data=FashionMNIST(root="/fashion"))
    assert apply_overrides(start, ["data.kind=cifar10"]).data.root is None


def test_a_change_of_kind_and_a_field_of_the_new_kind_work_in_any_order():
    for words in (["data.kind=folder", "data.root=/images"], ["data.root=/images", "data.kind=folder"]):
        assert apply_overrides(BASE, words).data == ImageFolder(root="/images")


def test_a_field_of_an_absent_piece_creates_it():
    assert apply_overrides(BASE, ["evaluation.fid.images=1000"]).evaluation.fid == FID(images=1000)
    assert apply_overrides(apply_overrides(BASE, ["evaluation.fid.images=1000"]), ["evaluation.fid=none"]).evaluation.fid is None


def test_nothing_else_changes_and_the_original_stays():
    before = flat(BASE)
    after = flat(apply_overrides(BASE, ["training.learning_rate=1e-3"]))
    assert {path for path in before if before[path] != after[path]} == {"training.learning_rate"}
    assert flat(BASE) == before
    assert apply_overrides(BASE, []) is BASE


def test_an_experiment_keeps_its_class():
    class Variant(Experiment):
        pass

    assert type(apply_overrides(Variant(), ["sampling.steps=10"])) is Variant


@pytest.mark.parametrize("value", ["1", "yes", "on", "", "0"])
def test_only_true_and_false_are_switches(value):
    with pytest.raises(UserError, match="True or False"):
        apply_overrides(BASE, [f"data.flip={value}"])


@pytest.mark.parametrize("value", ["True", "1.0", "1e3", "none", "", "8x"])
def test_only_whole_numbers_are_whole_numbers(value):
    with pytest.raises(UserError, match="whole number"):
        apply_overrides(BASE, [f"training.images_per_step={value}"])


@given(st.sampled_from([path for path, value in flat(BASE).items() if value is not None or path == "training.gradient_clip"]))
def test_writing_a_value_back_changes_nothing(path):
    value = flat(BASE)[path]
    assert apply_overrides(BASE, [f"{path}={value}"]) == BASE


@settings(max_examples=30)
@given(st.text(max_size=30))
def test_any_text_is_an_experiment_or_a_message(text):
    for path in ("training.learning_rate", "model.multipliers", "data.kind", "tracking.tags", "hardware.gpu", "evaluation.fid", ""):
        try:
            assert isinstance(apply_overrides(BASE, [f"{path}={text}"]), Experiment)
        except UserError as error:
            assert error.exit_code == 2


def test_all_wrong_overrides_are_reported_at_once():
    with pytest.raises(UserError) as caught:
        apply_overrides(BASE, ["training.learning_rate=fast", "model.heads=0", "nonsense"])
    assert all(word in str(caught.value) for word in ("learning_rate", "heads", "nonsense"))
