"""A recorded run draws as its evaluation did, on a machine that has nothing but its directory."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from support.recorded_run import IMAGES_SEEN, record, small
from support.tiny_experiment import Watching

import ddpm_exp
from ddpm_exp.checkpoints.store import latest
from ddpm_exp.data.examples import Batch
from ddpm_exp.loading.loaded import load_experiment
from ddpm_exp.records.run_directory import MANIFEST, RunDirectory
from ddpm_exp.spec.condition import ClassLabels, ContinuousValues, ImageCondition, Prompts, Several
from ddpm_exp.spec.errors import RunError, UserError
from ddpm_exp.spec.experiment import Experiment
from ddpm_exp.spec.model import MLP, DiT
from ddpm_exp.spec.sampling import Sampling
from ddpm_exp.spec.vectors import Gaussians, Points, Sequences, Table
from ddpm_exp.training.state import restore
from ddpm_exp.workflow.assemble import assemble
from ddpm_exp.workflow.load import load
from ddpm_exp.workflow.loaded_run import LoadedRun
from ddpm_exp.workflow.options import RunOptions
from ddpm_exp.workflow.prepare import find_machine, prepare
from ddpm_exp.workflow.recorded import DATA
from ddpm_exp.workflow.run import run_seed

Loading = Callable[..., LoadedRun]


@pytest.fixture
def loaded(tmp_path: Path) -> Loading:
    """Records `small(**changes)` and loads it."""

    def made(**changes: Any) -> LoadedRun:
        return load(record(tmp_path, small(**changes)))

    return made


def test_a_trained_run_draws_what_its_evaluation_drew(folder: Path, undisturbed: Path) -> None:
    prepared = prepare(load_experiment("experiments/adr_0001.py"), find_machine(RunOptions(gpu="cpu")))
    runtime = assemble(prepared, 0)
    found = latest(RunDirectory.open(undisturbed).checkpoints)
    assert found is not None
    restore(runtime.trainer, found[1])
    labels = torch.tensor([3, 1, 4, 1, 5])
    asked = Batch(torch.zeros(5, 1, 8, 8), labels, None)
    before = runtime.artist.draw(runtime.averaged(), asked, torch.arange(5), held_out=False)
    run = ddpm_exp.load(undisturbed)
    assert run.averaged and run.images_seen == 96
    assert torch.equal(run.sample(5, labels.tolist()).x, before)
    assert run.sample(5, labels.tolist()).captions == ("three", "one", "four", "one", "five")


def test_a_run_keeps_what_drawing_needs_of_its_data(undisturbed: Path) -> None:
    assert (undisturbed / DATA).is_file()


def test_an_interrupted_run_is_loaded_from_its_last_checkpoint(folder: Path) -> None:
    done = run_seed(load_experiment("experiments/adr_0001.py"), 0, RunOptions(max_hours=0.0), Watching())
    assert done.state == "interrupted"
    assert load(done.run).sample(1).x.shape == (1, 1, 8, 8)


@pytest.mark.parametrize("sampler", ["ddim", "ddpm", "heun"])
def test_the_seed_decides_whatever_the_batch_and_however_many(loaded: Loading, sampler: Any) -> None:
    run = loaded(sampling=Sampling(sampler=sampler, steps=3))
    whole = run.sample(5).x
    assert torch.allclose(run.sample(5, batch=2).x, whole, atol=1e-5)
    assert torch.allclose(run.sample(3).x, whole[:3], atol=1e-5)
    assert not torch.allclose(run.sample(5, seed=1).x, whole, atol=0.1)


def test_the_data_itself_is_not_needed(tmp_path: Path) -> None:
    file = tmp_path / "plants.csv"
    height = np.arange(40) * 0.5 + 3
    pd.DataFrame({"height": height, "leaves": np.arange(40) + 100, "kind": ["fern", "moss"] * 20}).to_csv(file, index=False)
    experiment = small(data=Table(source=str(file)), model=MLP(hidden_dim=16, layers=1, time_embedding=8))
    kept, bare = record(tmp_path, experiment), record(tmp_path / "bare", experiment, data=False)
    assert torch.equal(load(bare).sample(4).x, load(kept).sample(4).x), "while the file is there, it says the same"
    file.unlink()
    drawn = load(kept).sample(4).data
    assert isinstance(drawn, pd.DataFrame)
    assert list(drawn.columns) == ["height", "leaves", "kind"]
    assert pd.api.types.is_integer_dtype(drawn["leaves"]) and pd.api.types.is_float_dtype(drawn["height"])
    assert set(drawn["kind"]) <= {"fern", "moss"}
    with pytest.raises(UserError, match="the file does not exist"):
        load(bare)


@pytest.mark.parametrize(
    ("changes", "shape"),
    [
        ({"data": Gaussians(), "model": MLP(hidden_dim=16, layers=1, time_embedding=8)}, None),
        ({"data": Sequences(), "model": DiT(width=16, depth=1, heads=2, patch=4)}, None),
        ({"data": Points(), "model": DiT(width=16, depth=1, heads=2)}, "transposed"),
    ],
    ids=["gaussians", "sequences", "points"],
)
def test_what_is_no_image_comes_back_as_its_file_is_laid_out(loaded: Loading, changes: dict[str, Any], shape: str | None) -> None:
    run = loaded(**changes)
    data = run.sample(2).data
    own = run.facts.shape[::-1] if shape else run.facts.shape
    assert isinstance(data, np.ndarray) and data.shape == (2, *own)


def test_images_come_as_bytes(loaded: Loading) -> None:
    data = loaded().sample(2).data
    assert isinstance(data, torch.Tensor) and data.dtype == torch.uint8 and data.shape == (2, 1, 8, 8)


def test_averages_draw_unless_the_last_weights_are_asked_for(tmp_path: Path) -> None:
    path = record(tmp_path, small())
    found = latest(path / "checkpoints")
    assert found is not None
    for run, name in ((load(path), "ema"), (load(path, weights="raw"), "network")):
        assert run.averaged == (name == "ema") and run.images_seen == IMAGES_SEEN
        assert all(torch.equal(tensor, found[1].tensors[name][key]) for key, tensor in run.network.state_dict().items())
        assert not run.network.training and not any(weight.requires_grad for weight in run.network.parameters())
    as_written = record(tmp_path, small(sampling=Sampling(steps=3, weights="raw")))
    assert not load(as_written).averaged
    assert not load(record(tmp_path / "none", small(), ema=False)).averaged


def test_a_class_is_said_by_name_or_number_alone_or_in_turn(loaded: Loading) -> None:
    run = loaded(condition=ClassLabels())
    three = run.sample(2, 3).x
    for said in ("three", "3", {"label": "three"}, [3], {"label": [3, 3], "prompt": None}):
        assert torch.equal(run.sample(2, said).x, three)
    assert not torch.equal(run.sample(2).x, three), "unsaid is hidden"
    assert torch.allclose(run.sample(2, ["one", "three"]).x[1], three[1], atol=1e-5)
    assert run.sample(3, [1, "two"]).captions == ("one", "two", "one")


def test_prompts_and_values_are_said_in_words_and_own_units(loaded: Loading) -> None:
    run = loaded(condition=Several(of=(Prompts(width=8, layers=0), ContinuousValues())))
    told = run.sample(2, {"prompt": "one three", "values": {"brightness": 0.3}})
    assert told.captions == ("one three, brightness = 0.3",) * 2
    assert torch.equal(run.sample(2, {"prompt": "one three"}).x, run.sample(2, "one three").x)
    assert not torch.equal(run.sample(2, "one three").x, told.x)


@pytest.mark.parametrize(
    ("condition", "said", "field"),
    [
        (ClassLabels(), "eleven", "label"),
        (ClassLabels(), {"prompt": "a three"}, "prompt"),
        (ClassLabels(), {"colour": "red"}, "condition"),
        (ImageCondition(), "three", "condition"),
        (Several(of=(ClassLabels(), Prompts(width=8, layers=0))), "three", "condition"),
        (ClassLabels(dropout=0.0), None, "label"),
        (ContinuousValues(), {"values": {"size": 1}}, "values"),
        (ImageCondition(), {"image": (torch.full((1, 8, 8), 255.0), torch.ones(8, 8))}, "image"),
    ],
)
def test_what_cannot_be_meant_is_a_message(loaded: Loading, condition: Any, said: Any, field: str) -> None:
    with pytest.raises(UserError) as refused:
        loaded(condition=condition).sample(1, said)
    assert refused.value.field == field and refused.value.fix


def test_numbers_and_sampling_that_do_not_fit_are_messages(loaded: Loading) -> None:
    run = loaded()
    for wrong in ({"n": 0}, {"n": 2, "batch": 0}, {"n": True}):
        with pytest.raises(UserError, match="1 or more"):
            run.sample(**wrong)
    with pytest.raises(UserError) as refused:
        run.sample(1, sampling=Sampling(steps=3, guidance_scale=2.0))
    assert refused.value.field is not None and refused.value.field.startswith("sampling.guidance_scale")
    with pytest.raises(UserError, match="100 timesteps"):
        run.sample(1, sampling=Sampling(steps=101))
    with pytest.raises(UserError, match="cannot compute there"):
        load(run.directory, device="abacus")


IMAGE = torch.arange(64, dtype=torch.uint8).reshape(1, 8, 8) * 3
LEFT = torch.zeros(8, 8)
LEFT[:, :4] = 1


@pytest.mark.parametrize("condition", [ImageCondition(), ClassLabels()], ids=["told of the mask", "RePaint"])
def test_restoring_keeps_what_is_known_and_draws_the_rest_from_it(loaded: Loading, condition: Any) -> None:
    run = loaded(condition=condition)
    restored = run.restore(IMAGE, LEFT, resamples=2)
    assert torch.equal(restored.data[0, :, :, :4], IMAGE[:, :, :4])
    assert not torch.equal(restored.data[0, :, :, 4:], IMAGE[:, :, 4:])
    for mask in (LEFT[None], LEFT[None, None], LEFT.bool().numpy()):
        assert torch.equal(run.restore(IMAGE[None].numpy(), mask, resamples=2).x, restored.x)
    other = run.restore(255 - IMAGE, LEFT, resamples=2)
    assert not torch.allclose(other.x[..., 4:], restored.x[..., 4:], atol=1e-4), "the known part leads the rest"
    several = run.restore(torch.stack([IMAGE] * 3), LEFT, resamples=2, batch=2)
    assert torch.allclose(several.x[:1], restored.x, atol=1e-5)


def test_restoring_works_for_what_is_no_image(loaded: Loading) -> None:
    run = loaded(data=Gaussians(), model=MLP(hidden_dim=16, layers=1, time_embedding=8))
    known = torch.tensor([0.25, 9.0])
    assert run.restore(known, torch.tensor([1, 0])).x[0, 0] == 0.25
    assert run.restore(known, torch.tensor([1, 0])).x[0, 1] != 9.0


def test_restoring_refuses_other_shapes(loaded: Loading) -> None:
    run = loaded()
    for image, mask, field in (
        (IMAGE[:, :4], LEFT, "image"),
        (IMAGE[0], LEFT, "image"),
        (IMAGE, LEFT[:3], "mask"),
        (IMAGE, torch.ones(2, 1, 8, 8), "mask"),
    ):
        with pytest.raises(UserError) as refused:
            run.restore(image, mask)
        assert refused.value.field == field


def test_upscaling_takes_a_small_or_a_full_image_and_a_network_trained_for_it(loaded: Loading) -> None:
    run = loaded(condition=ImageCondition(task="super-resolution", factor=2))
    small_one = torch.randint(0, 256, (2, 1, 4, 4), dtype=torch.uint8)
    large = small_one.repeat_interleave(2, 2).repeat_interleave(2, 3)
    drawn = run.upscale(small_one)
    assert drawn.x.shape == (2, 1, 8, 8)
    assert torch.allclose(run.upscale(large).x, drawn.x, atol=1e-5)
    assert not torch.allclose(run.upscale(255 - small_one).x, drawn.x, atol=1e-4)
    with pytest.raises(UserError, match="trained for it"):
        loaded().upscale(small_one)


def _without_checkpoint(tmp_path: Path) -> Path:
    return record(tmp_path, small(), checkpoint=False)


def _of_another_network(tmp_path: Path) -> Path:
    path, other = record(tmp_path, small()), record(tmp_path, small(condition=ClassLabels()))
    shutil.rmtree(path / "checkpoints")
    shutil.copytree(other / "checkpoints", path / "checkpoints")
    return path


def _of_another_version(tmp_path: Path) -> Path:
    path = record(tmp_path, small())
    text = (path / MANIFEST).read_text()
    (path / MANIFEST).write_text(text.replace('"sampling.eta"', '"sampling.etas"'))
    return path


def _with_damaged_data(tmp_path: Path) -> Path:
    path = record(tmp_path, small())
    (path / DATA).write_text('{"facts": {"shapes": [1]}, "codec": null}')
    return path


@pytest.mark.parametrize(
    ("broken", "kind", "text"),
    [
        (lambda place: place / "nowhere", RunError, "no run here"),
        (_without_checkpoint, RunError, "no checkpoint yet"),
        (_of_another_network, RunError, "does not fit the network"),
        (_of_another_version, UserError, r"sampling\.etas"),
        (_with_damaged_data, RunError, r"data\.json"),
    ],
)
def test_a_directory_that_cannot_draw_says_why(
    tmp_path: Path, broken: Callable[[Path], Path], kind: type[UserError], text: str
) -> None:
    with pytest.raises(kind, match=text) as refused:
        load(broken(tmp_path))
    assert refused.value.fix


def test_what_is_loaded_is_the_experiment_that_ran(tmp_path: Path) -> None:
    written = small(condition=Prompts(width=8, layers=0, templates=("a {}",)))
    run = load(record(tmp_path, written))
    assert isinstance(run.experiment, Experiment)
    assert (run.experiment.condition, run.experiment.diffusion, run.sampling) == (
        written.condition,
        written.diffusion,
        written.sampling,
    )
