"""Every rule of advice speaks on its case, cites its guides, and is silent on an experiment that follows the guides."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from ddpm_exp.spec.advice import Advice, advise, advise_change
from ddpm_exp.spec.advice.rule import Case, Change
from ddpm_exp.spec.advice.table import CHANGE_RULES, RULES
from ddpm_exp.spec.condition import ClassLabels
from ddpm_exp.spec.data import CIFAR10, Data, Digits, FashionMNIST, ImageFolder
from ddpm_exp.spec.decision import Decision, metric
from ddpm_exp.spec.diffusion import Diffusion
from ddpm_exp.spec.evaluation import FD, FID
from ddpm_exp.spec.experiment import Experiment
from ddpm_exp.spec.hardware import Hardware
from ddpm_exp.spec.identity import flat
from ddpm_exp.spec.model import MLP, DiT, Model, UNet
from ddpm_exp.spec.sampling import Sampling
from ddpm_exp.spec.schedule import alpha_bars
from ddpm_exp.spec.training import Training
from ddpm_exp.spec.vectors import Sequences, Table

TEXTS = Path(__file__).parent / "advice_texts.json"


class OnClothes(Experiment):
    """Follows every guide, so that each case below deviates in one thing."""

    data: Data = FashionMNIST()
    diffusion: Diffusion = Diffusion(schedule="cosine")
    training: Training = Training(warmup="1000 steps")


class OnCifar(OnClothes):
    data: Data = CIFAR10()


class OnWine(OnClothes):
    data: Data = Table(source="wine")
    model: Model = MLP(dropout=0.1)


CLOTHES, CIFAR, ON_WINE = OnClothes(), OnCifar(), OnWine()


def _with(base: Experiment, **parts: dict[str, Any]) -> Experiment:
    """`base` with changed fields of its parts."""
    return base.but(**{part: getattr(base, part).but(**changes) for part, changes in parts.items()})


def _linear(**changes: Any) -> Experiment:
    return _with(CLOTHES, diffusion={"schedule": "linear", **changes})


def _conditional(guidance: float, dropout: float = 0.1) -> Experiment:
    return _with(CLOTHES.but(condition=ClassLabels(dropout=dropout)), sampling={"guidance_scale": guidance})


def _decided(seeds: tuple[int, ...], criterion: Any) -> Decision:
    return Decision(title="t", context="c", chosen="c", seeds=seeds, accept_when=(criterion,))


DENOISING = metric("val/denoising").falls()

CASES: dict[str, tuple[Experiment, str, tuple[str, ...]]] = {
    "table_learning_rate": (_with(ON_WINE, training={"learning_rate": 1e-3}), "table_learning_rate", ("002",)),
    "table_batch": (_with(ON_WINE, training={"images_per_step": 64}), "table_batch", ("002",)),
    "fourier_of_large_times": (_with(CLOTHES, model={"time_features": "fourier"}), "fourier_of_large_times", ("Song et al. 2021",)),
    "few_timesteps: 500 on CIFAR-10": (_with(CIFAR, diffusion={"timesteps": 500}), "few_timesteps", ("001", "000", "003")),
    "few_timesteps: 100 on CIFAR-10": (_with(CIFAR, diffusion={"timesteps": 100}), "few_timesteps", ("001", "000", "003")),
    "few_timesteps: 200": (_with(CLOTHES, diffusion={"timesteps": 200}), "few_timesteps", ("003", "000")),
    "few_timesteps: 60": (_with(CLOTHES, diffusion={"timesteps": 60}), "few_timesteps", ("003", "000")),
    "many_timesteps": (_with(CLOTHES, diffusion={"timesteps": 5000}), "many_timesteps", ("003", "000")),
    "beta_start_range: 1e-5": (_linear(beta_start=1e-5), "beta_start_range", ("001", "000")),
    "beta_start_range: 0.002": (_linear(beta_start=0.002), "beta_start_range", ("000",)),
    "beta_end_range: 0.012": (_linear(beta_end=0.012), "beta_end_range", ("001", "000")),
    "beta_end_range: 0.005": (_linear(beta_end=0.005), "beta_end_range", ("000", "001")),
    "beta_end_range: 0.06": (_linear(beta_end=0.06), "beta_end_range", ("000",)),
    "linear_schedule": (_linear(), "linear_schedule", ("002", "003", "000", "001")),
    "far_from_noise: 200": (_linear(timesteps=200), "far_from_noise", ("000", "001", "Lin et al. 2024")),
    "far_from_noise: 15": (
        _with(
            CLOTHES,
            diffusion={"schedule": "linear", "timesteps": 15},
            sampling={"steps": 15},
            evaluation={"log_snr": (4.5,), "reconstruction_log_snr": (4.0,)},
        ),
        "far_from_noise",
        ("000", "001", "Lin et al. 2024"),
    ),
    "x0_prediction": (_with(CLOTHES, diffusion={"prediction": "x0"}), "x0_prediction", ("002",)),
    "width_range: 32": (_with(CLOTHES, model={"base_channels": 32}), "width_range", ("000",)),
    "width_range: 512": (_with(CLOTHES, model={"base_channels": 512}), "width_range", ("000",)),
    "small_time_embedding": (_with(CLOTHES, model={"time_embedding": 32}), "small_time_embedding", ("000",)),
    "large_time_embedding": (_with(CLOTHES, model={"time_embedding": 1024}), "large_time_embedding", ("000", "Ho et al. 2020")),
    "no_attention": (_with(CLOTHES, model={"attention_resolutions": ()}), "no_attention", ("001", "002")),
    "much_dropout": (_with(CLOTHES, model={"dropout": 0.3}), "much_dropout", ("003",)),
    "no_regularisation": (_with(CLOTHES, model={"dropout": 0.0}), "no_regularisation", ("000", "002", "003")),
    "small_batch: 32 on CIFAR-10": (_with(CIFAR, training={"images_per_step": 32}), "small_batch", ("001", "002", "003", "000")),
    "small_batch: 4": (_with(CLOTHES, training={"images_per_step": 4}), "small_batch", ("002", "003", "000")),
    "large_batch": (_with(CLOTHES, training={"images_per_step": 1024, "learning_rate": 5e-4}), "large_batch", ("003", "002")),
    "short_training": (_with(CLOTHES, training={"duration": "20 epochs"}), "short_training", ("000", "001", "003")),
    "long_training": (_with(CLOTHES, training={"duration": "2000 epochs"}), "long_training", ("000", "001", "003")),
    "overfitted_subset": (
        _with(CLOTHES, data={"subset": 1000}, training={"duration": "2000 epochs"}),
        "overfitted_subset",
        ("000",),
    ),
    "low_rate: 5e-6": (_with(CLOTHES, training={"learning_rate": 5e-6}), "low_rate", ("002", "003", "000")),
    "low_rate: 5e-5": (_with(CLOTHES, training={"learning_rate": 5e-5}), "low_rate", ("002", "003", "000")),
    "low_rate: 1e-4 on CIFAR-10": (_with(CIFAR, training={"learning_rate": 1e-4}), "low_rate", ("001", "002", "003", "000")),
    "high_rate": (_with(CLOTHES, training={"learning_rate": 2e-3}), "high_rate", ("003", "002", "000")),
    "unscaled_rate": (_with(CLOTHES, training={"images_per_step": 512}), "unscaled_rate", ("003", "002")),
    "one_cycle": (_with(CLOTHES, training={"rate": "one-cycle"}), "one_cycle", ("001", "000")),
    "warmup_range: none": (_with(CLOTHES, training={"warmup": "0 steps"}), "warmup_range", ("003", "000")),
    "warmup_range: short": (_with(CLOTHES, training={"warmup": "100 steps"}), "warmup_range", ("003", "000")),
    "no_clipping": (_with(CLOTHES, training={"gradient_clip": None}), "no_clipping", ("001", "002", "003", "000")),
    "clipping_range: 5": (_with(CLOTHES, training={"gradient_clip": 5.0}), "clipping_range", ("003", "001", "002")),
    "clipping_range: 0.1": (_with(CLOTHES, training={"gradient_clip": 0.1}), "clipping_range", ("003", "001", "002")),
    "weight_decay_range": (_with(CLOTHES, training={"weight_decay": 0.5}), "weight_decay_range", ("002",)),
    "full_precision": (
        _with(CLOTHES.but(hardware=Hardware(gpu="T4")), training={"precision": "fp32"}),
        "full_precision",
        ("002", "000"),
    ),
    "no_ema": (
        _with(CLOTHES, training={"ema_half_life": None}, sampling={"weights": "raw"}),
        "no_ema",
        ("003", "002"),
    ),
    "short_ema": (_with(CLOTHES, training={"ema_half_life": "2000 images"}), "short_ema", ("003", "002")),
    "long_ema": (
        _with(CLOTHES, training={"ema_half_life": "20000000 images", "duration": "8000 epochs", "warmup": "10000 steps"}),
        "long_ema",
        ("003",),
    ),
    "ema_outlives_training": (
        _with(CLOTHES, training={"ema_ramp": None, "ema_half_life": "2000000 images"}),
        "ema_outlives_training",
        ("003", "arithmetic"),
    ),
    "ddim_steps: 10": (_with(CLOTHES, sampling={"sampler": "ddim", "steps": 10}), "ddim_steps", ("002", "004")),
    "ddim_steps: 400": (_with(CLOTHES, sampling={"sampler": "ddim", "steps": 400}), "ddim_steps", ("002", "004")),
    "short_ancestral": (_with(CLOTHES, sampling={"sampler": "ddpm"}), "short_ancestral", ("002", "003", "docs/sampling.md")),
    "raw_weights": (_with(CLOTHES, sampling={"weights": "raw"}), "raw_weights", ("003", "002")),
    "guidance_range: 20": (_conditional(20.0), "guidance_range", ("002",)),
    "guidance_range: 0.5": (_conditional(0.5), "guidance_range", ("002",)),
    "condition_dropout": (_conditional(2.0, dropout=0.6), "condition_dropout", ("002",)),
    "unclipped_x0": (
        _with(CLOTHES, diffusion={"schedule": "linear"}, sampling={"clip_x0": False, "calibrate": False}),
        "unclipped_x0",
        ("Saharia et al. 2022",),
    ),
    "losing_sampler": (
        Experiment(data=Sequences(), model=DiT(), sampling=Sampling(sampler="ddpm", steps=50)),
        "losing_sampler",
        ("docs/sampling.md",),
    ),
    "not_calibrated": (
        _with(CLOTHES, sampling={"sampler": "unipc", "calibrate": False}),
        "not_calibrated",
        ("docs/sampling.md",),
    ),
    "rare_evaluation": (_with(CLOTHES, evaluation={"every": "100 epochs"}), "rare_evaluation", ("000", "002", "004")),
    "small_fd": (_with(CLOTHES, evaluation={"fd": FD(images=2000)}), "small_fd", ("arithmetic", "Heusel et al. 2017")),
    "small_fid": (_with(CLOTHES, evaluation={"fid": FID(images=2000)}), "small_fid", ("001", "Heusel et al. 2017")),
    "single_seed": (CLOTHES.but(decision=_decided((0,), DENOISING)), "single_seed", ("arithmetic",)),
    "unmeasured_point: beyond the end": (
        CLOTHES.but(decision=_decided((0, 1), metric("val/denoising", at="300 epochs") <= 0.1)),
        "unmeasured_point",
        ("arithmetic",),
    ),
    "unmeasured_point: between evaluations": (
        CLOTHES.but(decision=_decided((0, 1), metric("val/denoising", at="15 epochs") <= 0.1)),
        "unmeasured_point",
        ("arithmetic",),
    ),
    "many_workers": (_with(CLOTHES, hardware={"workers": 8}), "many_workers", ("000", "003")),
}
"""Name: experiment, the rule that must speak, and exactly the guides that it must cite."""

CHANGES: dict[str, tuple[Experiment, Experiment, str, tuple[str, ...]]] = {
    "rate_follows_batch: doubled": (
        CLOTHES,
        _with(CLOTHES, training={"images_per_step": 256}),
        "rate_follows_batch",
        ("003",),
    ),
    "rate_follows_batch: the other way": (
        CLOTHES,
        _with(CLOTHES, training={"images_per_step": 64, "learning_rate": 3e-4}),
        "rate_follows_batch",
        ("003",),
    ),
    "rate_follows_width": (CLOTHES, _with(CLOTHES, model={"base_channels": 256}), "rate_follows_width", ("000",)),
    "losses_of_different_schedules": (
        CLOTHES,
        _linear().but(decision=_decided((0, 1), metric("train/loss").falls())),
        "losses_of_different_schedules",
        ("004", "arithmetic"),
    ),
}


EXACT = {rule.name: rule for rule in RULES}
EXACT_CHANGES = {rule.name: rule for rule in CHANGE_RULES}


def _spoken(name: str) -> Advice:
    """What the case's rule says; it must be among what the public functions return."""
    if name in CASES:
        experiment, rule, _ = CASES[name]
        advice, returned = EXACT[rule].check(Case(experiment)), advise(experiment)
    else:
        before, after, rule, _ = CHANGES[name]
        advice, returned = EXACT_CHANGES[rule].check(Change(before, after)), advise_change(before, after)
    assert advice is not None, f"{rule} is silent"
    assert advice in returned
    return advice


@pytest.mark.parametrize("experiment", [CLOTHES, CIFAR], ids=["fashion-mnist", "cifar10"])
def test_an_experiment_that_follows_the_guides_hears_nothing(experiment: Experiment) -> None:
    assert advise(experiment) == ()
    assert advise_change(experiment, experiment) == ()


@pytest.mark.parametrize("name", [*CASES, *CHANGES])
def test_a_rule_speaks_on_its_case_and_cites_its_guides(name: str) -> None:
    guides = CASES[name][2] if name in CASES else CHANGES[name][3]
    rule = {**EXACT, **EXACT_CHANGES}[name.split(":")[0]]
    assert _spoken(name).guides == guides
    assert set(guides) <= set(rule.guides), "the documentation's citations lack one"


def test_every_rule_has_a_case() -> None:
    assert {name.split(":")[0] for name in [*CASES, *CHANGES]} == {rule.name for rule in (*RULES, *CHANGE_RULES)}


def test_every_rule_reads_fields_that_exist() -> None:
    paths = set(flat(_conditional(2.0).but(decision=_decided((0, 1), DENOISING))))
    known = {part for path in paths for part in (path, path.rpartition(".")[0])}
    for rule in (*RULES, *CHANGE_RULES):
        assert set(rule.reads) <= known, rule.name


def test_texts_are_the_recorded_ones() -> None:
    """Rewrite the record with UPDATE_TEXTS=1 after a deliberate change, and read its diff."""
    spoken = {name: str(_spoken(name)).splitlines() for name in [*CASES, *CHANGES]}
    if os.environ.get("UPDATE_TEXTS"):
        TEXTS.write_text(json.dumps(spoken, indent=1) + "\n", encoding="utf-8")
    assert json.loads(TEXTS.read_text(encoding="utf-8")) == spoken


@pytest.mark.parametrize(
    ("workers", "cores", "speaks"),
    [(4, None, False), (5, None, True), (8, 8, True), (8, 16, False), (4, 4, False), (4, 2, True), (2, 2, False)],
)
def test_workers_are_measured_against_the_hosts_cores(workers: int, cores: int | None, speaks: bool) -> None:
    advice = advise(_with(CLOTHES, hardware={"workers": workers}), host_cores=cores)
    assert [item.field for item in advice] == (["hardware.workers"] if speaks else [])


def test_the_terminal_snr_is_a_number_and_its_fix_reaches_noise() -> None:
    advice = next(a for a in advise(_linear(timesteps=200)) if "ln SNR" in a.says)
    assert "alpha_bar = 0.132 (ln SNR = -1.88)" in advice.says
    assert "beta_start to 0.0005 and diffusion.beta_end to 0.1" in advice.fix
    mended = _linear(timesteps=200, beta_start=0.0005, beta_end=0.1)
    assert alpha_bars(mended.diffusion)[-1] < 1e-4
    assert {a.field for a in advise(mended)} == {"diffusion.timesteps", "diffusion.schedule"}, "the fix must not cause new advice"


@pytest.mark.parametrize(("timesteps", "speaks"), [(1000, False), (500, False), (400, True), (200, True)])
def test_usual_betas_are_far_from_noise_on_short_schedules_only(timesteps: int, speaks: bool) -> None:
    assert any("ln SNR" in advice.says for advice in advise(_linear(timesteps=timesteps))) == speaks


def test_the_ema_range_is_in_decay_per_step_at_this_batch() -> None:
    """100,000 images are 0.99911 per step at 128 images, 0.9982 at 256: only the larger batch forgets too fast."""
    slow, fast = ({"images_per_step": count, "ema_half_life": "100000 images"} for count in (128, 256))
    fields = [{advice.field for advice in advise(_with(CLOTHES, training=training))} for training in (slow, fast)]
    assert fields == [set(), {"training.ema_half_life"}]


def test_a_short_training_may_forget_faster_than_the_guides_range() -> None:
    short = _with(CLOTHES, training={"duration": "5000 steps", "ema_half_life": "2000 images"})
    assert "training.ema_half_life" not in {advice.field for advice in advise(short)}


def test_a_folder_of_unknown_size_is_advised_only_on_what_is_known() -> None:
    folder = CLOTHES.but(data=ImageFolder(root="images", image_size=32))
    assert advise(folder) == ()


def test_digits_may_be_narrow() -> None:
    model = UNet(base_channels=32, multipliers=(1, 2), attention_resolutions=(16,))
    clothes, digits = (OnClothes(data=data, model=model) for data in (FashionMNIST(), Digits(image_size=16)))
    assert [["model.base_channels" in a.field for a in advise(e)].count(True) for e in (clothes, digits)] == [1, 0]


@pytest.mark.parametrize(("rate", "speaks"), [(2e-4, True), (3e-4, False), (4e-4, False), (1e-4, True)])
def test_the_rate_must_follow_the_batch_at_least_as_its_root(rate: float, speaks: bool) -> None:
    doubled = _with(CLOTHES, training={"images_per_step": 256, "learning_rate": rate})
    advice = [a for a in advise_change(CLOTHES, doubled) if a.field == "training.learning_rate"]
    assert bool(advice) == speaks
    assert all("0.0004" in a.fix for a in advice)


@pytest.mark.parametrize(("rate", "speaks"), [(2e-4, True), (1e-4, False)])
def test_twice_the_width_needs_half_the_rate(rate: float, speaks: bool) -> None:
    wide = _with(CLOTHES, model={"base_channels": 256}, training={"learning_rate": rate})
    assert bool(advise_change(CLOTHES, wide)) == speaks


def test_criteria_on_shared_measures_may_judge_a_changed_schedule() -> None:
    changed = _linear().but(decision=_decided((0, 1), DENOISING))
    assert advise_change(CLOTHES, changed) == ()


@pytest.mark.parametrize(("eta", "speaks"), [(0.0, True), (1.0, False)])
def test_ddim_that_adds_noise_is_not_taken_for_one_that_adds_none(eta: float, speaks: bool) -> None:
    experiment = _with(CLOTHES, sampling={"sampler": "ddim", "eta": eta, "calibrate": False})
    assert (EXACT["not_calibrated"].check(Case(experiment)) is not None) == speaks
