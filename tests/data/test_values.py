"""Numbers about each example, several conditions at once, and what a user says of samples."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from ddpm_exp.data import load, require
from ddpm_exp.data.conditions import Conditions, build_conditions
from ddpm_exp.data.examples import Facts, Splits
from ddpm_exp.diffusion.draws import uniform
from ddpm_exp.spec.condition import ClassLabels, Condition, ContinuousValues, ImageCondition, Prompts, Several
from ddpm_exp.spec.data import Data, Digits, ImageFolder, Sequences, Table
from ddpm_exp.spec.errors import UserError

BOTH = ContinuousValues(names=("brightness", "contrast"))


def _told(condition: Condition, data: Data | None = None) -> tuple[Conditions, Splits]:
    splits = load(data or Digits(), condition)
    facts = Facts.from_json(splits.facts.to_json())
    assert facts == splits.facts
    return build_conditions(condition, facts, uniform), splits


def test_brightness_and_contrast_are_the_pixels_mean_and_deviation() -> None:
    conditions, splits = _told(BOTH)
    pixels = splits.held_out.x.double().flatten(1).numpy() / 255
    fixed = conditions.fixed(splits.held_out.batch(slice(None)), "cpu")
    assert fixed is not None
    own = fixed["values"][:, :2].double().numpy() * splits.facts.value_stds + splits.facts.value_means
    np.testing.assert_allclose(own, np.stack([pixels.mean(1), pixels.std(1)], axis=1), atol=1e-6)
    assert bool((fixed["values"][:, 2:] == 1).all())
    assert splits.train.values is not None
    np.testing.assert_allclose(splits.train.values.std(0, correction=0), 1, atol=1e-5)


def test_values_are_hidden_with_their_flags_per_example_at_the_stated_rate() -> None:
    conditions, splits = _told(BOTH.but(dropout=0.2))
    ordinals = torch.arange(20_000)
    batch = splits.train.batch(ordinals % 1438)
    trained = conditions.train(batch, 0, ordinals)
    assert trained is not None
    hidden = (trained["values"] == 0).all(1)
    assert 0.19 < float(hidden.float().mean()) < 0.21
    assert bool((trained["values"][~hidden, 2:] == 1).all())
    assert torch.equal(trained["values"][~hidden, :2], batch.values[~hidden])  # type: ignore[index]
    by_batch = hidden.reshape(-1, 50)
    assert bool((by_batch.any(1) & ~by_batch.all(1)).all())


def test_a_users_numbers_are_in_the_datas_own_units() -> None:
    conditions, splits = _told(ContinuousValues(names=("damping", "frequency")), Sequences())
    batch = splits.train.batch(slice(0, 1))
    caption = conditions.texts(batch)[0]
    assert caption.startswith("damping ")
    assert batch.values is not None
    mean, std = splits.facts.value_means, splits.facts.value_stds
    own = [float(batch.values[0, k]) * std[k] + mean[k] for k in range(2)]
    said = conditions.said(3, "cpu", values={"frequency": own[1], "damping": [own[0], 0.0]})
    fixed = conditions.fixed(batch, "cpu")
    assert said is not None
    assert fixed is not None
    assert said["values"].shape == (3, 4)
    torch.testing.assert_close(said["values"][[0, 2]], fixed["values"].expand(2, -1))
    assert float(said["values"][1, 0]) == pytest.approx(-mean[0] / std[0])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """30 grey squares and a values.csv: dose is known of all, age of all but the first."""
    rows = ["file,dose,age"]
    for k in range(30):
        Image.fromarray(np.full((8, 8), 8 * k, np.uint8)).save(tmp_path / f"{k:02}.png")
        rows.append(f"{k:02}.png,{k / 10},{'' if k == 0 else k}")
    (tmp_path / "values.csv").write_text("\n".join(reversed(rows[1:])).join([rows[0] + "\n", "\n"]))
    return tmp_path


def test_a_folders_values_belong_to_their_images_and_missing_ones_are_flagged(folder: Path) -> None:
    data = ImageFolder(root=str(folder), image_size=8, channels=1)
    condition = ContinuousValues(names=("dose", "brightness", "age"), dropout=0.0)
    require(data, condition)
    conditions, splits = _told(condition, data)
    assert splits.train.values is not None
    np.testing.assert_allclose(splits.train.values.nanmean(0), 0, atol=1e-6)
    for part in (splits.train, splits.held_out):
        fixed = conditions.fixed(part.batch(slice(None)), "cpu")
        assert fixed is not None
        number = part.x[:, 0, 0, 0].double() / 8
        own = fixed["values"][:, :3].double() * torch.tensor(splits.facts.value_stds) + torch.tensor(splits.facts.value_means)
        torch.testing.assert_close(own[:, 0], number / 10, atol=1e-5, rtol=0)
        torch.testing.assert_close(own[:, 1], number * 8 / 255, atol=1e-5, rtol=0)
        assert torch.equal(fixed["values"][:, 5] == 1, number > 0)
        torch.testing.assert_close(own[number > 0, 2], number[number > 0], atol=1e-4, rtol=0)
        assert bool((fixed["values"][number == 0, 2] == 0).all())


def test_a_folders_values_change_its_fingerprint(folder: Path) -> None:
    data = ImageFolder(root=str(folder), image_size=8, channels=1)
    before = load(data).fingerprint
    (folder / "values.csv").write_text((folder / "values.csv").read_text().replace("2.9", "2.8"))
    assert load(data).fingerprint != before


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("name,dose\n", "'file'"),
        ("file,dose\n00.png,1\n00.png,2\n", "twice"),
        ("file,dose\nzz.png,1\n", "zz.png"),
        ("file,dose\n00.png,much\n", "more than numbers"),
        ("file,dosis\n00.png,1\n", "did you mean 'dosis'"),
        ("", "cannot be read"),
    ],
)
def test_a_wrong_values_file_is_told_why(folder: Path, content: str, told: str) -> None:
    (folder / "values.csv").write_text(content)
    with pytest.raises(UserError) as caught:
        load(ImageFolder(root=str(folder), image_size=8, channels=1), ContinuousValues(names=("dose",)))
    assert told in str(caught.value)


def test_an_unknown_value_of_images_gets_the_nearest_name() -> None:
    for attempt in (require, load):
        with pytest.raises(UserError, match="did you mean 'brightness'"):
            attempt(Digits(), ContinuousValues(names=("brigthness",)))


SEVERAL = Several(
    dropout=0.0, of=(ClassLabels(dropout=0.3), Prompts(dropout=0.3), ImageCondition(dropout=0.3), BOTH.but(dropout=0.3))
)


def test_several_conditions_are_hidden_each_on_its_own() -> None:
    conditions, splits = _told(SEVERAL)
    ordinals = torch.arange(8000)
    trained = conditions.train(splits.train.batch(ordinals % 1438), 0, ordinals)
    null = conditions.null(1, "cpu")
    assert trained is not None
    assert null is not None
    assert list(trained) == ["class", "prompt", "image", "values"] == [part["kind"] for part in conditions.inputs]
    hidden = torch.stack([(trained[key] == null[key]).reshape(8000, -1).all(1) for key in trained]).double()
    np.testing.assert_allclose(hidden.mean(1), 0.3, atol=0.02)
    correlation = torch.corrcoef(hidden) - torch.eye(4)
    assert float(correlation.abs().max()) < 0.05


def test_several_conditions_are_also_hidden_all_at_once_example_by_example() -> None:
    """The model that guidance needs, which parts that are hidden each on their own would hardly train."""
    conditions, splits = _told(
        Several(dropout=0.2, of=(ClassLabels(dropout=0.0), ImageCondition(dropout=0.0), BOTH.but(dropout=0.0)))
    )
    ordinals = torch.arange(8000)
    trained, null = conditions.train(splits.train.batch(ordinals % 1438), 0, ordinals), conditions.null(1, "cpu")
    assert trained is not None
    assert null is not None
    hidden = torch.stack([(trained[key] == null[key]).reshape(8000, -1).all(1) for key in trained])
    assert bool((hidden == hidden[0]).all()), "all parts of an example together"
    assert float(hidden[0].double().mean()) == pytest.approx(0.2, abs=0.015)
    again = conditions.train(splits.train.batch(ordinals[5:9] % 1438), 0, ordinals[5:9])
    assert again is not None
    assert all(torch.equal(again[key], trained[key][5:9]) for key in again), "whatever the batch"


def test_what_is_not_said_is_hidden_unless_training_never_hid_it() -> None:
    conditions, _ = _told(SEVERAL)
    said = conditions.said(2, "cpu", label=["seven", 3], prompt="a photo of a nine")
    null = conditions.null(2, "cpu")
    assert said is not None
    assert null is not None
    assert said["class"].tolist() == [7, 3]
    assert torch.equal(said["image"], null["image"])
    assert torch.equal(said["values"], null["values"])
    assert not torch.equal(said["prompt"], null["prompt"])
    always, _ = _told(Several(of=(ClassLabels(dropout=0.0), BOTH)))
    with pytest.raises(UserError, match="never hid the label"):
        always.said(2, "cpu", values={"brightness": 0.5, "contrast": 0.2})


def test_captions_of_several_conditions_tell_each() -> None:
    conditions, splits = _told(SEVERAL)
    (caption,) = conditions.texts(splits.train.batch(slice(0, 1)))
    assert caption.startswith("zero, a photo of a zero, brightness 0.")


@pytest.mark.parametrize(
    ("said", "field", "hint"),
    [
        ({"label": "sevn"}, "label", "did you mean 'seven'"),
        ({"label": 10}, "label", "0 to 9"),
        ({"prompt": "a photo"}, "prompt", "leave prompt out"),
        ({"values": {"brightnes": 1.0}}, "values", "say brightness"),
        ({"values": {"brightness": 0.5}}, "values", "say contrast too"),
        ({"values": {"brightness": float("nan"), "contrast": 1.0}}, "values.brightness", "number"),
    ],
)
def test_what_the_network_was_never_told_of_is_refused(said: dict[str, object], field: str, hint: str) -> None:
    conditions, _ = _told(Several(of=(ClassLabels(), BOTH)))
    with pytest.raises(UserError) as caught:
        conditions.said(1, "cpu", **said)  # type: ignore[arg-type]
    assert caught.value.field == field
    assert hint in str(caught.value)


def test_a_table_without_classes_has_none_to_condition_on() -> None:
    with pytest.raises(UserError, match="no classes") as caught:
        _told(ClassLabels(), Table(source="diabetes"))
    assert "data.label" in str(caught.value.fix)
