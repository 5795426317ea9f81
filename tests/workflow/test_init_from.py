"""Weights from elsewhere fit whole or not at all; a guide answers the same questions as the network that it guides."""

from __future__ import annotations

import json
import os
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from support.recorded_run import SMALL, record, small, stirred
from support.tiny_experiment import Watching, write_tiny

from ddpm_exp.checkpoints.store import latest
from ddpm_exp.data.examples import Facts
from ddpm_exp.loading.loaded import load_experiment
from ddpm_exp.records.run_directory import RunDirectory
from ddpm_exp.spec.condition import ClassLabels
from ddpm_exp.spec.data import Digits
from ddpm_exp.spec.diffusion import Diffusion
from ddpm_exp.spec.errors import RunError, UserError
from ddpm_exp.spec.model import EncoderDecoder, UNet
from ddpm_exp.spec.sampling import Sampling
from ddpm_exp.spec.training import Training
from ddpm_exp.workflow.assemble import build
from ddpm_exp.workflow.export import export
from ddpm_exp.workflow.load import load
from ddpm_exp.workflow.network import network_of
from ddpm_exp.workflow.options import RunOptions
from ddpm_exp.workflow.run import run_seed
from ddpm_exp.workflow.starting import guide_of

FACTS = Facts((1, 8, 8))
CPU = torch.device("cpu")


def begun(source: Path, **changes: Any) -> dict[str, torch.Tensor]:
    """The weights that a training of `small(**changes)` from `source` begins with."""
    facts = Facts((1, 8, 8), tuple("0123456789")) if "condition" in changes else FACTS
    return build(small(**changes, training=Training(init_from=str(source))), facts, seed=0).state_dict()


def same(ours: dict[str, torch.Tensor], theirs: dict[str, torch.Tensor]) -> bool:
    """Bit for bit, names included."""
    return ours.keys() == theirs.keys() and all(torch.equal(tensor, theirs[name]) for name, tensor in ours.items())


def their_model(folder: Path, **changes: Any) -> Any:
    """A UNet2DModel of the form of `SMALL`, saved by diffusers into `folder`."""
    from diffusers import UNet2DModel

    from ddpm_exp.models.diffusers_unet import to_diffusers

    config, _ = to_diffusers(network_of(small(), FACTS))  # type: ignore[arg-type]
    model = UNet2DModel(**(config | changes))
    stirred(model, 3)
    model.save_pretrained(folder)
    return model


def test_a_model_of_diffusers_is_where_training_begins(tmp_path: Path) -> None:
    theirs = their_model(tmp_path / "unet").eval()
    network = network_of(small(), FACTS).eval()
    for source in (tmp_path / "unet", tmp_path):  # the model's own folder, or a pipeline's
        network.load_state_dict(begun(source))
        x, t = torch.randn(2, 1, 8, 8), torch.tensor([3.0, 70.0])
        with torch.no_grad():
            assert torch.allclose(network(x, t, None), theirs(x, t).sample, atol=1e-5)


def test_a_run_is_where_training_begins_with_its_averages(tmp_path: Path) -> None:
    path = record(tmp_path, small(condition=ClassLabels()))
    found = latest(path / "checkpoints")
    assert found is not None
    assert same(begun(path, condition=ClassLabels()), found[1].tensors["ema"])
    bare = record(tmp_path / "bare", small(), ema=False)
    last = latest(bare / "checkpoints")
    assert last is not None and same(begun(bare), last[1].tensors["network"])


def test_a_checkpoint_of_a_run_is_where_training_begins_with_its_averages_or_its_last_weights(tmp_path: Path) -> None:
    path = record(tmp_path, small())
    found = latest(path / "checkpoints")
    assert found is not None
    file, kept = found[0], found[1].tensors
    assert same(begun(file), kept["ema"]) and not same(kept["ema"], kept["network"])
    for source in (file, path):
        raw = small(training=Training(init_from=str(source), init_weights="raw"))
        assert same(build(raw, FACTS, seed=0).state_dict(), kept["network"])


def test_a_checkpoint_away_from_its_run_and_a_choice_where_there_is_none_are_refused(tmp_path: Path) -> None:
    found = latest(record(tmp_path / "runs", small()) / "checkpoints")
    assert found is not None
    alone = tmp_path / "alone.pt"
    shutil.copy(found[0], alone)
    assert "together with the run" in refused(alone).rule
    their_model(tmp_path / "unet")
    with pytest.raises(UserError, match="chosen from those of a run"):
        build(small(training=Training(init_from=str(tmp_path / "unet"), init_weights="raw")), FACTS, seed=0)
    with pytest.raises(ValidationError, match="begins with fresh ones"):
        Training(init_weights="raw")


def test_a_damaged_checkpoint_is_no_beginning(tmp_path: Path) -> None:
    found = latest(record(tmp_path, small()) / "checkpoints")
    assert found is not None
    found[0].write_bytes(found[0].read_bytes()[:-7])
    with pytest.raises(RunError, match="truncated or damaged"):
        begun(found[0])


def test_what_we_export_is_where_training_begins_again(tmp_path: Path) -> None:
    path = record(tmp_path / "runs", small())
    export(path, "diffusers", tmp_path / "pipeline")
    assert same(begun(tmp_path / "pipeline"), load(path).network.state_dict())


def test_a_training_goes_on_from_the_weights_it_was_given(folder: Path, undisturbed: Path) -> None:
    write_tiny(folder / "experiments", f'training = Training(images_per_step=8, duration="1 steps", init_from="{undisturbed}")')
    done = run_seed(load_experiment("experiments/adr_0001.py"), 0, RunOptions(), Watching())
    assert done.state == "finished"
    started, given = (latest(RunDirectory.open(run).checkpoints) for run in (done.run, undisturbed))
    assert started is not None and given is not None
    trained, before = started[1].tensors["network"], given[1].tensors["ema"]
    assert all((trained[name] - before[name]).abs().max() <= 1e-3 for name in before), "one step of a rate of 2e-4 away"
    assert not same(trained, before)


def test_a_training_that_was_interrupted_goes_on_without_the_weights_it_began_with(folder: Path, undisturbed: Path) -> None:
    source = folder / "given"
    shutil.copytree(undisturbed, source)
    write_tiny(
        folder / "experiments",
        f'training = Training(images_per_step=8, duration="6 steps", init_from="{source}", log_every="1 steps")',
    )
    loaded, stopping = load_experiment("experiments/adr_0001.py"), Watching(lambda images: os.kill(os.getpid(), signal.SIGTERM))
    assert run_seed(loaded, 0, RunOptions(), stopping).state == "interrupted"
    shutil.rmtree(source)
    assert run_seed(loaded, 0, RunOptions(), Watching()).state == "finished"


def refused(source: Path, **changes: Any) -> UserError:
    with pytest.raises(UserError) as error:
        begun(source, **changes)
    assert (error.value.field, error.value.value) == ("training.init_from", str(source)) and error.value.fix
    return error.value


def test_weights_that_do_not_fit_are_listed(tmp_path: Path) -> None:
    path = record(tmp_path, small())
    wider = refused(path, model=SMALL.but(base_channels=16))
    assert "of another shape: " in wider.rule and "first.weight: 8x1x3x3 there, 16x1x3x3 here" in wider.rule
    assert "more" in wider.rule and "missing there" not in wider.rule
    told = refused(path, condition=ClassLabels())
    assert "1 missing there: condition.class_part.embedding.weight" in told.rule and "unexpected" not in told.rule
    deeper = refused(path, model=SMALL.but(blocks_per_level=2))
    assert "missing there: " in deeper.rule
    fewer = refused(record(tmp_path / "told", small(condition=ClassLabels())))
    assert "1 unexpected there: condition.class_part.embedding.weight" in fewer.rule


@pytest.mark.parametrize("change", [{"groups": 2}, {"heads": 2}])
def test_weights_that_fit_but_were_trained_to_compute_something_else_are_refused(tmp_path: Path, change: dict[str, Any]) -> None:
    (name, value), *_ = change.items()
    error = refused(record(tmp_path, small(model=SMALL.but(**change))))
    assert f"model.{name} = {value}" in error.rule
    begun(record(tmp_path, small(model=SMALL.but(dropout=0.3, zero_init=False))))


def test_another_network_is_named(tmp_path: Path) -> None:
    error = refused(record(tmp_path, small(model=EncoderDecoder(hidden_dim=16, time_emb_dim=8))))
    assert "missing there" in error.rule and "unexpected there" in error.rule


def test_pickles_are_never_read(tmp_path: Path) -> None:
    model = their_model(tmp_path)
    (tmp_path / "diffusion_pytorch_model.safetensors").unlink()
    torch.save(model.state_dict(), tmp_path / "diffusion_pytorch_model.bin")
    error = refused(tmp_path)
    assert "pickle" in error.rule and "save_pretrained" in str(error.fix)
    (tmp_path / "diffusion_pytorch_model.bin").unlink()
    assert "no diffusion_pytorch_model.safetensors" in refused(tmp_path).rule


def test_folders_without_a_model_of_ours_say_what_is_wanted(tmp_path: Path) -> None:
    assert refused(tmp_path / "nowhere").rule == "there is no such folder"
    assert "manifest.json" in refused(tmp_path).rule and "unet/config.json" in refused(tmp_path).rule
    their_model(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())

    def wrong(text: str, source: Path) -> str:
        source.write_text(text)
        with pytest.raises(UserError) as error:
            begun(tmp_path)
        return str(error.value)

    assert "UNet2DConditionModel" in wrong(json.dumps({"_class_name": "UNet2DConditionModel"}), tmp_path / "config.json")
    assert "act_fn" in wrong(json.dumps(config | {"act_fn": "gelu"}), tmp_path / "config.json")
    assert "cannot be read" in wrong("{", tmp_path / "config.json")
    assert "not what its own config says" in wrong(json.dumps(config | {"block_out_channels": [16, 32]}), tmp_path / "config.json")
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert "weights cannot be read" in wrong("no tensors", tmp_path / "diffusion_pytorch_model.safetensors")


GUIDED = Sampling(steps=3, guidance_scale=2.0)


def guided(guide: Path, **changes: Any) -> Any:
    return small(condition=ClassLabels(), sampling=GUIDED.but(guide=str(guide)), **changes)


def test_a_guide_is_a_smaller_run_with_its_averages_frozen(tmp_path: Path) -> None:
    smaller = UNet(base_channels=8, multipliers=(1,), blocks_per_level=1, attention_resolutions=(), groups=4, time_embedding=8)
    path = record(tmp_path, small(condition=ClassLabels(), model=smaller))
    facts = load(path).facts
    guide = guide_of(guided(path), facts, CPU)
    assert guide is not None and same(guide.state_dict(), load(path).network.state_dict())
    assert not guide.training and not any(weight.requires_grad for weight in guide.parameters())
    assert guide_of(small(), facts, CPU) is None
    run = load(record(tmp_path, small(condition=ClassLabels(), sampling=GUIDED)))
    plain = run.sample(2, 3).x
    by_guide = run.sample(2, 3, sampling=GUIDED.but(guide=str(path))).x
    assert not torch.allclose(by_guide, plain, atol=1e-3), "the guide's answers count"


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"data": Digits(image_size=16, subset=20)}, r"data.*shape is \[1, 8, 8\] here and \[1, 16, 16\] there"),
        ({"condition": None}, "condition"),
        ({"diffusion": Diffusion(schedule="cosine", timesteps=50)}, "diffusion.*timesteps is 100 here and 50 there"),
        ({"diffusion": Diffusion(schedule="cosine", timesteps=100, prediction="v")}, "diffusion.*prediction"),
    ],
)
def test_a_guide_of_other_data_condition_or_diffusion_is_refused(tmp_path: Path, changes: dict[str, Any], text: str) -> None:
    of = {"condition": ClassLabels()} | changes
    path = record(tmp_path, small(**{name: value for name, value in of.items() if value is not None}))
    facts = load(record(tmp_path, small(condition=ClassLabels()))).facts
    with pytest.raises(UserError, match=text) as error:
        guide_of(guided(path), facts, CPU)
    assert error.value.field == "sampling.guide"


def test_how_the_loss_was_weighted_does_not_matter_to_a_guide(tmp_path: Path) -> None:
    other = Diffusion(schedule="cosine", timesteps=100, weight="min-snr", time_density="stratified")
    path = record(tmp_path, small(condition=ClassLabels(dropout=0.2), diffusion=other))
    assert guide_of(guided(path), load(path).facts, CPU) is not None
