"""What is exported computes elsewhere what the run's own network does; what a form cannot hold is a message."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support.recorded_run import SMALL, record, small

from ddpm_exp.data.examples import Facts
from ddpm_exp.diffusion.grids import levels
from ddpm_exp.diffusion.paths import build_path
from ddpm_exp.diffusion.samplers import sample
from ddpm_exp.evaluation.drawing import Ready
from ddpm_exp.records.run_directory import RunDirectory
from ddpm_exp.spec.condition import ClassLabels, ContinuousValues, ImageCondition, Prompts, Several
from ddpm_exp.spec.diffusion import Diffusion
from ddpm_exp.spec.errors import UserError
from ddpm_exp.spec.identity import science_hash
from ddpm_exp.spec.model import MLP, DiT, EncoderDecoder
from ddpm_exp.spec.restored import experiment_of
from ddpm_exp.spec.sampling import Sampling
from ddpm_exp.spec.vectors import Table
from ddpm_exp.workflow.diffusers_export import scheduler_config
from ddpm_exp.workflow.export import export
from ddpm_exp.workflow.load import load
from ddpm_exp.workflow.network import network_of

SCHEDULES = {
    "linear": Diffusion(timesteps=100, beta_end=0.2),
    "scaled-linear": Diffusion(schedule="scaled-linear", timesteps=100, beta_end=0.2),
    "cosine": Diffusion(schedule="cosine", timesteps=100, prediction="v"),
    "cosine, other offset": Diffusion(schedule="cosine", timesteps=100, cosine_s=0.02),
    "sigmoid": Diffusion(schedule="sigmoid", timesteps=100, prediction="x0"),
    "zero terminal SNR": Diffusion(timesteps=100, prediction="v", zero_terminal_snr=True),
    "zero terminal SNR, sigmoid": Diffusion(schedule="sigmoid", timesteps=100, prediction="v", zero_terminal_snr=True),
    "learned variance": Diffusion(schedule="cosine", timesteps=100, learned_variance=True),
}


@pytest.mark.parametrize("name", SCHEDULES)
def test_diffusers_pipelines_draw_the_samples_that_we_draw(tmp_path: Path, name: str) -> None:
    from diffusers import DDIMPipeline, DDPMPipeline, DDPMScheduler, UNet2DModel

    run = load(record(tmp_path, small(diffusion=SCHEDULES[name], sampling=Sampling(sampler="ddim", steps=5))))
    done = export(run.directory, "diffusers", tmp_path / "out")
    assert done.files == (
        "model_index.json",
        "scheduler/scheduler_config.json",
        "unet/config.json",
        "unet/diffusion_pytorch_model.safetensors",
    )
    pipeline = DDIMPipeline.from_pretrained(tmp_path / "out")
    pipeline.set_progress_bar_config(disable=True)
    theirs = pipeline(
        batch_size=2,
        generator=torch.Generator().manual_seed(3),
        num_inference_steps=5,
        use_clipped_model_output=True,
        output_type="np",
    ).images
    start = torch.randn(2, *run.facts.shape, generator=torch.Generator().manual_seed(3))
    denoise = run.artist(None, 0).denoise(Ready(run.network), None, 2)
    with torch.no_grad():
        ours = sample(run.sampling, levels(run.path, 5), denoise, start, lambda step: torch.zeros_like(start))
    assert np.abs((ours / 2 + 0.5).clamp(0, 1).permute(0, 2, 3, 1).numpy() - theirs).max() < 1e-4
    assert theirs.std() > 0.01, "not all black or white"

    ancestral = DDPMPipeline.from_pretrained(tmp_path / "out")
    ancestral.set_progress_bar_config(disable=True)
    assert isinstance(ancestral.unet, UNet2DModel) and isinstance(ancestral.scheduler, DDPMScheduler)
    drawn = ancestral(batch_size=1, num_inference_steps=5, generator=torch.Generator().manual_seed(0), output_type="np").images
    assert drawn.shape == (1, 8, 8, 1) and np.isfinite(drawn).all()


@pytest.mark.parametrize("name", SCHEDULES)
def test_the_exported_scheduler_has_our_levels(name: str) -> None:
    from diffusers import DDPMScheduler

    theirs = DDPMScheduler.from_config(scheduler_config(SCHEDULES[name], Sampling(sampler="ddim")))
    path = build_path(SCHEDULES[name])
    ours = torch.tensor([path.level(t + 1).alpha ** 2 for t in range(100)])
    assert torch.allclose(theirs.alphas_cumprod, ours, rtol=1e-3, atol=1e-6)


def test_the_exported_scheduler_samples_as_the_experiment_does() -> None:
    diffusion = Diffusion(schedule="cosine")
    made = scheduler_config(diffusion, Sampling(sampler="ddpm", variance="large", clip_x0=False, grid="leading"))
    assert (made["variance_type"], made["clip_sample"], made["timestep_spacing"]) == ("fixed_large", False, "leading")
    assert (made["beta_schedule"], made["trained_betas"], made["prediction_type"]) == ("squaredcos_cap_v2", None, "epsilon")
    threshold = scheduler_config(diffusion, Sampling(sampler="ddim", dynamic_threshold=0.9))
    assert (threshold["thresholding"], threshold["dynamic_thresholding_ratio"], threshold["clip_sample"]) == (True, 0.9, False)
    assert threshold["sample_max_value"] > 1e3


def test_a_variance_that_the_sampler_asks_for_is_exported(tmp_path: Path) -> None:
    from diffusers import DDPMPipeline

    asked = small(diffusion=SCHEDULES["learned variance"], sampling=Sampling(sampler="ddpm", variance="learned", steps=5))
    export(record(tmp_path, asked), "diffusers", tmp_path / "out")
    pipeline = DDPMPipeline.from_pretrained(tmp_path / "out")
    pipeline.set_progress_bar_config(disable=True)
    assert pipeline.unet.config.out_channels == 2 and pipeline.scheduler.config.variance_type == "learned_range"
    assert np.isfinite(pipeline(num_inference_steps=5, output_type="np").images).all()


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"condition": ClassLabels()}, "condition"),
        ({"diffusion": Diffusion(schedule="rectified-flow", prediction="velocity")}, "diffusion.schedule"),
        ({"diffusion": Diffusion(schedule="cosine", timesteps=100, prediction="score")}, "diffusion.prediction"),
        ({"model": DiT(width=16, depth=1, heads=2)}, "model.kind"),
        ({"model": EncoderDecoder(hidden_dim=16, time_emb_dim=8)}, "model.kind"),
        ({"model": SMALL.but(skip_scaling=True)}, "model.skip_scaling"),
    ],
)
def test_what_diffusers_cannot_hold_is_named_with_a_way_out(tmp_path: Path, changes: dict[str, Any], field: str) -> None:
    with pytest.raises(UserError) as refused:
        export(record(tmp_path / "runs", small(**changes)), "diffusers", tmp_path / "out")
    assert refused.value.field == field and "--to safetensors" in str(refused.value.fix)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["runs"], "nothing is left behind"


@pytest.mark.parametrize("weights", ["ema", "raw"])
def test_safetensors_hold_the_weights_and_what_they_are(tmp_path: Path, weights: Any) -> None:
    from safetensors import safe_open

    path = record(tmp_path, small(condition=ClassLabels()))
    done = export(path, "safetensors", tmp_path / "w.safetensors", weights=weights)
    assert done.bytes == done.path.stat().st_size and done.averaged == (weights == "ema")
    with safe_open(done.path, "pt") as file:
        told = file.metadata()
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no dict
    manifest = RunDirectory.open(path).manifest
    experiment = experiment_of(json.loads(told["experiment"]))
    assert science_hash(experiment, "fp32") == told["science_hash"] == manifest.science_hash
    assert told["weights"] == weights and json.loads(told["packages"]) == manifest.packages
    rebuilt = network_of(experiment, Facts.from_json(json.loads(told["facts"])))
    rebuilt.load_state_dict(tensors)
    x, c_noise, condition = torch.randn(2, 1, 8, 8), torch.tensor([3.0, 70.0]), {"class": torch.tensor([1, 10])}
    with torch.no_grad():
        expected = load(path, weights=weights).network(x, c_noise, condition)
        assert torch.allclose(rebuilt.eval()(x, c_noise, condition), expected, atol=1e-5)


ONNX = {
    "U-Net with a class, by words and an image": small(
        condition=Several(of=(ClassLabels(), Prompts(width=8, layers=0, by="cross-attention"), ImageCondition())),
        model=SMALL.but(multipliers=(1, 1)),
    ),
    "MLP with values": small(
        data=Table(source="wine"),
        condition=ContinuousValues(names=("alcohol",)),
        model=MLP(hidden_dim=16, layers=1, time_embedding=8),
    ),
}


@pytest.mark.parametrize("name", ONNX)
def test_onnx_computes_what_the_network_does_for_any_batch(tmp_path: Path, name: str) -> None:
    import onnx
    import onnxruntime

    run = load(record(tmp_path, ONNX[name]))
    done = export(run.directory, "onnx", tmp_path / "network.onnx")
    session = onnxruntime.InferenceSession(done.path)
    told = run.conditions.null(1, "cpu") or {}
    assert [place.name for place in session.get_inputs()] == ["x", "c_noise", *told]
    generator = torch.Generator().manual_seed(0)
    for batch in (1, 5):
        x, c_noise = torch.randn(batch, *run.facts.shape, generator=generator), torch.rand(batch, generator=generator) * 99
        condition = {
            word: torch.randint(0, 2, (batch, *null.shape[1:]), generator=generator)
            if null.dtype == torch.int64
            else torch.rand(batch, *null.shape[1:], generator=generator)
            for word, null in told.items()
        }
        with torch.no_grad():
            expected = run.network(x, c_noise, condition or None).numpy()
        given = {"x": x, "c_noise": c_noise, **condition}
        found = session.run(["output"], {word: tensor.numpy() for word, tensor in given.items()})[0]
        assert np.abs(found - expected).max() < 1e-4 and expected.std() > 1e-3
    written = onnx.load(done.path)
    told_of = {entry.key: entry.value for entry in written.metadata_props}
    assert experiment_of(json.loads(told_of["experiment"])).diffusion == run.experiment.diffusion
    assert str(Path(torch.__file__).parent).encode() not in done.path.read_bytes(), "no path of this machine"


def test_a_missing_package_is_a_message_with_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name == "onnxscript" else found(name, *rest))
    with pytest.raises(UserError) as refused:
        export(record(tmp_path, small()), "onnx", tmp_path / "network.onnx")
    assert refused.value.fix == "pip install onnxscript"


def test_nothing_is_replaced_unless_asked_and_then_only_what_is_ours(tmp_path: Path) -> None:
    path = record(tmp_path / "runs", small())
    file, folder, other = tmp_path / "w.safetensors", tmp_path / "pipeline", tmp_path / "home"
    export(path, "safetensors", file)
    export(path, "diffusers", folder)
    before = file.read_bytes()
    (folder / "scheduler" / "scheduler_config.json").write_text("{}")
    other.mkdir()
    (other / "thesis.txt").write_text("mine")
    for form, target in (("safetensors", file), ("onnx", file), ("diffusers", folder), ("diffusers", other)):
        with pytest.raises(UserError, match="there is something here already"):
            export(path, form, target)  # type: ignore[arg-type]
    assert file.read_bytes() == before
    export(path, "safetensors", file, weights="raw", force=True)
    assert file.read_bytes() != before
    export(path, "diffusers", folder, force=True)
    assert json.loads((folder / "scheduler" / "scheduler_config.json").read_text())["num_train_timesteps"] == 100
    with pytest.raises(UserError, match=r"model_index\.json"):
        export(path, "diffusers", other, force=True)
    assert (other / "thesis.txt").read_text() == "mine"
    with pytest.raises(UserError, match="this is a folder"):
        export(path, "safetensors", other, force=True)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["home", "pipeline", "runs", "w.safetensors"]
    (tmp_path / "empty").mkdir()
    assert export(path, "diffusers", tmp_path / "empty").bytes > 0, "an empty folder is nobody's"


def test_an_unknown_form_is_a_message(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="diffusers, safetensors, onnx"):
        export(tmp_path, "gguf", tmp_path / "x")  # type: ignore[arg-type]
