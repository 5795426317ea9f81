"""Presets hear no advice on their own guide's values, and say what their guide says."""

from __future__ import annotations

import importlib.util
import math
from pathlib import Path

import pytest

from ddpm_exp.spec.advice import advise
from ddpm_exp.spec.experiment import Experiment
from ddpm_exp.spec.identity import flat
from ddpm_exp.spec.presets.catalogue import PRESETS
from ddpm_exp.spec.presets.ddpm import DdpmCifar10
from ddpm_exp.spec.presets.guide_001 import BestQuality, Fastest, Optimized, Standard
from ddpm_exp.spec.presets.guide_002 import Images
from ddpm_exp.spec.presets.guide_003 import Defaults
from ddpm_exp.spec.presets.registry import origin_of

DOCS = Path(__file__).parents[2] / "docs"


@pytest.mark.parametrize("preset", PRESETS)
def test_a_preset_never_warns_about_itself(preset: type[Experiment]) -> None:
    assert advise(preset()) == ()


@pytest.mark.parametrize("preset", PRESETS)
def test_what_a_preset_says_its_source_states_exists(preset: type[Experiment]) -> None:
    found = origin_of(preset)
    assert found is not None
    paths = set(flat(preset()))
    for stated in found[1].states:
        assert any(path == stated or path.startswith(f"{stated}.") for path in paths), stated


def test_an_experiment_on_a_preset_stays_free_of_advice_on_what_it_keeps() -> None:
    class Longer(Fastest):
        training = Fastest().training.but(duration="150 epochs")

    assert advise(Longer()) == ()


def test_an_experiment_on_a_preset_is_advised_on_what_it_changes() -> None:
    class Faster(Fastest):
        diffusion = Fastest().diffusion.but(timesteps=400)

    assert {advice.field for advice in advise(Faster())} == {"diffusion.timesteps"}


def test_an_override_of_a_preset_is_advised_on() -> None:
    preset = DdpmCifar10()
    changed = preset.but(training=preset.training.but(learning_rate=5e-6))
    assert [advice.field for advice in advise(changed)] == ["training.learning_rate"]


def test_the_same_values_outside_a_preset_are_advised_on() -> None:
    class Copy(Experiment):
        data = Fastest().data
        diffusion = Fastest().diffusion
        model = Fastest().model
        training = Fastest().training

    assert {"diffusion.timesteps", "diffusion.schedule", "model.attention_resolutions"} <= {a.field for a in advise(Copy())}


def test_values_are_the_sources_own() -> None:
    best, fast, images, defaults, ddpm = (flat(preset()) for preset in (BestQuality, Fastest, Images, Defaults, DdpmCifar10))
    for values, said in (
        (best, {"diffusion.timesteps": 2000, "diffusion.schedule": "cosine", "diffusion.cosine_s": 0.008}),
        (best, {"training.images_per_step": 256, "training.learning_rate": 2e-4, "model.time_embedding": 256}),
        (fast, {"diffusion.timesteps": 500, "diffusion.beta_start": 1e-4, "diffusion.beta_end": 0.02}),
        (fast, {"training.images_per_step": 256, "training.learning_rate": 5e-4, "model.attention_resolutions": []}),
        (images, {"diffusion.timesteps": 1000, "diffusion.schedule": "cosine", "training.weight_decay": 0.01}),
        (images, {"training.learning_rate": 1e-4, "training.gradient_clip": 1.0, "condition.dropout": 0.1}),
        (defaults, {"training.learning_rate": 2e-4, "training.images_per_step": 128, "training.warmup": "5000 steps"}),
        (defaults, {"diffusion.schedule": "cosine", "model.dropout": 0.1, "training.gradient_clip": 1.0}),
        (ddpm, {"training.duration": "800000 steps", "training.images_per_step": 128, "data.flip": True}),
        (ddpm, {"diffusion.schedule": "linear", "diffusion.timesteps": 1000, "sampling.sampler": "ddpm"}),
    ):
        assert {path: values[path] for path in said} == said


@pytest.mark.parametrize(("preset", "decay"), [(Images, 0.999), (Defaults, 0.9999), (DdpmCifar10, 0.9999)])
def test_half_lives_are_the_sources_decays(preset: type[Experiment], decay: float) -> None:
    training = preset().training
    assert training.ema_half_life is not None
    half_life = training.images(training.ema_half_life, 50_000)
    assert math.isclose(0.5 ** (training.images_per_step / half_life), decay, abs_tol=1e-6)


def test_guide_001s_warm_restarts_double_their_cycles_and_end_with_one() -> None:
    for preset in (Standard, Optimized):
        training = preset().training
        assert (training.rate, training.cycle, training.cycle_growth) == ("warm-restarts", "50 epochs", 2.0)
        assert training.duration == "350 epochs"
    assert [preset().training.learning_rate for preset in (Standard, Optimized)] == [2e-4, 3e-4]


def test_all_four_configurations_of_guide_000_are_there() -> None:
    shipped = [preset for preset in PRESETS if origin_of(preset)[1].source == "000"]
    said = [(100, 128, 64, 16), (500, 256, 128, 8), (1000, 512, 256, 4), (200, 128, 64, 4)]
    values = [flat(preset()) for preset in shipped]
    keys = ("diffusion.timesteps", "model.hidden_dim", "model.time_emb_dim", "training.images_per_step")
    assert [tuple(preset[key] for key in keys) for preset in values] == said


def test_the_document_is_what_the_code_says() -> None:
    spec = importlib.util.spec_from_file_location("make_advice", DOCS / "make_advice.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert (DOCS / "advice.md").read_text(encoding="utf-8") == module.page(), "run python docs/make_advice.py"
