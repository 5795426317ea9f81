"""Every impossible combination is an error with field, value, rule and fix; every neighbour of it is not."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from pydantic import ValidationError

from ddpm_exp.spec.condition import ClassLabels, ContinuousValues, ImageCondition, Prompts, Several
from ddpm_exp.spec.data import CIFAR10, Digits, FashionMNIST, ImageFolder
from ddpm_exp.spec.decision import Decision, metric
from ddpm_exp.spec.diffusion import Diffusion
from ddpm_exp.spec.errors import UserError
from ddpm_exp.spec.evaluation import FD, FID, Evaluation
from ddpm_exp.spec.experiment import Experiment
from ddpm_exp.spec.hardware import Hardware
from ddpm_exp.spec.model import MLP, DiT, EncoderDecoder, UNet
from ddpm_exp.spec.plan import Plan
from ddpm_exp.spec.sampling import Sampling
from ddpm_exp.spec.training import Training
from ddpm_exp.spec.vectors import Gaussians, Points, Sequences, Table

BASE = Experiment(data=CIFAR10())
RECORD = {"title": "t", "context": "c", "chosen": "d"}
PLAN = {
    "gpu": "T4",
    "device": "cuda",
    "precision": "fp16",
    "usable_bytes": 1,
    "peak_bytes": 1,
    "uncertainty": 0.1,
    "source": "estimated",
}

BROKEN: list[tuple[str, Callable[[], object], Callable[[], object]]] = [
    ("sampling.steps", lambda: BASE.but(sampling=Sampling(steps=1001)), lambda: BASE.but(sampling=Sampling(steps=1000))),
    (
        "sampling.clip_x0",  # cosine: 1 / alpha = 2e4
        lambda: BASE.but(sampling=Sampling(clip_x0=False, calibrate=False), diffusion=Diffusion(schedule="cosine")),
        lambda: BASE.but(sampling=Sampling(clip_x0=False, calibrate=False), diffusion=Diffusion(schedule="linear")),
    ),
    (
        "sampling.clip_x0",
        lambda: BASE.but(sampling=Sampling(clip_x0=False, calibrate=False), diffusion=Diffusion(schedule="cosine")),
        lambda: BASE.but(sampling=Sampling(clip_x0=False), diffusion=Diffusion(schedule="cosine")),
    ),
    (
        "sampling.clip_x0",
        lambda: BASE.but(sampling=Sampling(clip_x0=False, calibrate=False), diffusion=Diffusion(schedule="cosine")),
        lambda: BASE.but(sampling=Sampling(clip_x0=False, calibrate=False), diffusion=Diffusion(schedule="cosine", prediction="v")),
    ),
    (
        "eta",
        lambda: BASE.but(sampling=Sampling(sampler="ddpm", eta=0.5)),
        lambda: BASE.but(sampling=Sampling(sampler="ddim", eta=0.5)),
    ),
    (
        "training.remedy",
        lambda: BASE.but(training=Training(remedy="rollback"), hardware=Hardware(devices=2, shard=True)),
        lambda: BASE.but(training=Training(remedy="rollback"), hardware=Hardware(devices=2)),
    ),
    (
        "training.keep_best",
        lambda: BASE.but(training=Training(keep_best=True), hardware=Hardware(devices=2, shard=True)),
        lambda: BASE.but(training=Training(keep_best=True), hardware=Hardware(devices=2)),
    ),
    ("data.subset", lambda: BASE.but(data=CIFAR10(subset=50_001)), lambda: BASE.but(data=CIFAR10(subset=50_000))),
    (
        "model.multipliers",
        lambda: BASE.but(data=FashionMNIST(image_size=28), model=UNet(multipliers=(1, 1, 1, 1), attention_resolutions=())),
        lambda: BASE.but(data=FashionMNIST(image_size=28), model=UNet(multipliers=(1, 1, 1), attention_resolutions=())),
    ),
    (
        "model.multipliers",
        lambda: BASE.but(data=Digits(), model=UNet(multipliers=(1, 1, 1, 1), attention_resolutions=())),
        lambda: BASE.but(data=Digits(), model=UNet(multipliers=(1, 1, 1), attention_resolutions=())),
    ),
    (
        "model.attention_resolutions",
        lambda: BASE.but(model=UNet(attention_resolutions=(16, 15))),
        lambda: BASE.but(model=UNet(attention_resolutions=(16, 4))),
    ),
    (
        "training.precision",
        lambda: BASE.but(training=Training(precision="bf16"), hardware=Hardware(gpu="T4")),
        lambda: BASE.but(training=Training(precision="fp16"), hardware=Hardware(gpu="T4")),
    ),
    (
        "training.precision",
        lambda: BASE.but(training=Training(precision="bf16"), hardware=Hardware(gpu="V100")),
        lambda: BASE.but(training=Training(precision="bf16"), hardware=Hardware(gpu="A100")),
    ),
    (
        "training.precision",
        lambda: BASE.but(training=Training(precision="fp16"), hardware=Hardware(gpu="cpu")),
        lambda: BASE.but(training=Training(precision="auto"), hardware=Hardware(gpu="cpu")),
    ),
    (
        "hardware.micro_batch",
        lambda: BASE.but(hardware=Hardware(micro_batch=48)),
        lambda: BASE.but(hardware=Hardware(micro_batch=64)),
    ),
    (
        "sampling.guidance_scale",
        lambda: BASE.but(sampling=Sampling(guidance_scale=2.0)),
        lambda: BASE.but(sampling=Sampling(guidance_scale=2.0), condition=ClassLabels()),
    ),
    (
        "condition.dropout",
        lambda: BASE.but(sampling=Sampling(guidance_scale=2.0), condition=ClassLabels(dropout=0.0)),
        lambda: BASE.but(condition=ClassLabels(dropout=0.0)),
    ),
    (
        "sampling.weights",
        lambda: BASE.but(training=Training(ema_half_life=None)),
        lambda: BASE.but(training=Training(ema_half_life=None), sampling=Sampling(weights="raw")),
    ),
    (
        "evaluation.log_snr",
        lambda: BASE.but(diffusion=Diffusion(timesteps=100)),
        lambda: BASE.but(diffusion=Diffusion(timesteps=100, beta_start=1e-3, beta_end=0.2)),
    ),
    (
        "evaluation.reconstruction_log_snr",
        lambda: BASE.but(evaluation=Evaluation(reconstruction_log_snr=(-11.0,))),
        lambda: BASE.but(evaluation=Evaluation(reconstruction_log_snr=(-10.0,))),
    ),
    ("beta_start", lambda: Diffusion(beta_start=0.03), lambda: Diffusion(beta_start=0.02)),
    (
        "zero_terminal_snr",
        lambda: Diffusion(zero_terminal_snr=True),
        lambda: Diffusion(zero_terminal_snr=True, prediction="v"),
    ),
    ("model.kind", lambda: BASE.but(data=Table()), lambda: BASE.but(data=Table(), model=MLP())),
    ("model.kind", lambda: BASE.but(model=MLP()), lambda: BASE.but(model=EncoderDecoder())),
    ("model.kind", lambda: BASE.but(data=Points(), model=EncoderDecoder()), lambda: BASE.but(data=Points(), model=DiT())),
    ("model.patch", lambda: BASE.but(model=DiT(patch=5)), lambda: BASE.but(model=DiT(patch=8))),
    (
        "model.patch",
        lambda: BASE.but(data=Sequences(length=30), model=DiT(patch=4)),
        lambda: BASE.but(data=Points(count=30), model=DiT(patch=4)),
    ),
    ("model.patch", lambda: BASE.but(data=Points(), model=DiT(patch=8)), lambda: BASE.but(data=Points(), model=DiT())),
    ("names", lambda: ContinuousValues(names=("hue", "hue")), lambda: ContinuousValues(names=("hue", "ash"))),
    (
        "model.time_features",
        lambda: BASE.but(model=UNet(time_features="learned"), diffusion=Diffusion(schedule="vp-linear")),
        lambda: BASE.but(model=UNet(time_features="learned")),
    ),
    (
        "condition.by",
        lambda: BASE.but(model=EncoderDecoder(), condition=ClassLabels(by="cross-attention")),
        lambda: BASE.but(model=EncoderDecoder(), condition=ClassLabels(by="concatenation")),
    ),
    (
        "condition",
        lambda: BASE.but(data=Table(source="diabetes"), model=MLP(), condition=ClassLabels()),
        lambda: BASE.but(data=Table(source="diabetes", label="sex"), model=MLP(), condition=ClassLabels()),
    ),
    (
        "condition.kind",
        lambda: BASE.but(data=Table(), model=MLP(), condition=ImageCondition()),
        lambda: BASE.but(condition=ImageCondition()),
    ),
    (
        "condition.factor",
        lambda: BASE.but(condition=ImageCondition(task="super-resolution", factor=3)),
        lambda: BASE.but(condition=ImageCondition(task="super-resolution", factor=4)),
    ),
    ("of", lambda: Several(of=(ClassLabels(), ClassLabels())), lambda: Several(of=(ClassLabels(), ContinuousValues()))),
    (
        "sampling.variance",
        lambda: BASE.but(sampling=Sampling(sampler="ddpm", variance="learned")),
        lambda: BASE.but(sampling=Sampling(sampler="ddpm", variance="learned"), diffusion=Diffusion(learned_variance=True)),
    ),
    (
        "sampling.dynamic_threshold",
        lambda: BASE.but(data=Table(), model=MLP(), sampling=Sampling(dynamic_threshold=0.99)),
        lambda: BASE.but(sampling=Sampling(dynamic_threshold=0.99)),
    ),
    (
        "evaluation.fid",
        lambda: BASE.but(data=Points(), model=DiT(), evaluation=Evaluation(fid=FID())),
        lambda: BASE.but(evaluation=Evaluation(fid=FID())),
    ),
    (
        "evaluation.fd",
        lambda: BASE.but(data=Table(), model=MLP(), evaluation=Evaluation(fd=FD())),
        lambda: BASE.but(evaluation=Evaluation(fd=FD(images=3000, metrics=("fd_effnet", "recall")))),
    ),
    ("metrics", lambda: FD(metrics=("recall", "recall")), lambda: FD(metrics=("recall",))),
    ("metrics", lambda: FID(metrics=("kid", "kid")), lambda: FID(metrics=("kid", "fid"))),
    (
        "evaluation.likelihood",
        lambda: BASE.but(diffusion=Diffusion(schedule="vp-linear"), evaluation=Evaluation(likelihood=1)),
        lambda: BASE.but(evaluation=Evaluation(likelihood=1)),
    ),
    ("guide", lambda: Sampling(guide="runs/x"), lambda: Sampling(guide="runs/x", guidance_scale=2.0)),
    ("guidance_interval", lambda: Sampling(guidance_scale=2.0, guidance_interval=(5.0, 0.2)), lambda: Sampling(guidance_scale=2.0)),
    ("churn", lambda: Sampling(churn=1.0), lambda: Sampling(sampler="edm-stochastic", churn=1.0)),
    ("prediction", lambda: Diffusion(prediction="velocity"), lambda: Diffusion(prediction="velocity", schedule="vp-linear")),
    (
        "prediction",
        lambda: Diffusion(schedule="rectified-flow", prediction="score"),
        lambda: Diffusion(schedule="rectified-flow", prediction="velocity"),
    ),
    ("time_density", lambda: Diffusion(time_density="logit-normal"), lambda: Diffusion(time_density="importance")),
    (
        "time_density",
        lambda: Diffusion(schedule="vp-linear", time_density="importance"),
        lambda: Diffusion(schedule="vp-linear", time_density="logit-normal"),
    ),
    (
        "weight",
        lambda: Diffusion(weight="edm"),
        lambda: Diffusion(schedule="ve", prediction="x0", preconditioning="edm", weight="edm"),
    ),
    ("preconditioning", lambda: Diffusion(preconditioning="edm"), lambda: Diffusion(preconditioning="none")),
    (
        "learned_variance",
        lambda: Diffusion(schedule="rectified-flow", prediction="velocity", learned_variance=True),
        lambda: Diffusion(learned_variance=True),
    ),
    ("step_factor", lambda: Training(step_factor=0.5), lambda: Training(step_factor=0.5, rate="step")),
    ("final_rate", lambda: Training(final_rate=0.5), lambda: Training(final_rate=0.5, rate="linear")),
    ("warmup", lambda: Training(rate="inverse-sqrt"), lambda: Training(rate="inverse-sqrt", warmup="1000 steps")),
    ("ema_sigma_rel", lambda: Training(ema_sigma_rel=0.1), lambda: Training(ema_sigma_rel=0.1, ema_half_life=None)),
    ("source", lambda: Table(source="wines"), lambda: Table(source="wines.csv")),
    ("source", lambda: Sequences(source="wave.csv"), lambda: Sequences(source="wave.npy")),
    (
        "model.heads",
        lambda: BASE.but(data=Table(), model=MLP(hidden_dim=130), condition=ClassLabels(by="cross-attention")),
        lambda: BASE.but(data=Table(), model=MLP(hidden_dim=130), condition=ClassLabels()),
    ),
    ("hidden_dim", lambda: EncoderDecoder(hidden_dim=100), lambda: EncoderDecoder(hidden_dim=96)),
    ("heads", lambda: DiT(width=128, heads=3), lambda: DiT(width=128, heads=4)),
    ("means", lambda: Gaussians(means=((0.0,), (0.0, 1.0))), lambda: Gaussians(means=((0.0,), (1.0,)))),
    ("base_channels", lambda: UNet(base_channels=100), lambda: UNet(base_channels=96)),
    ("heads", lambda: UNet(heads=3), lambda: UNet(heads=4)),
    (
        "attention_resolutions",
        lambda: UNet(attention_resolutions=(16, 8, 16)),
        lambda: UNet(attention_resolutions=(16, 8)),
    ),
    ("time_embedding", lambda: UNet(time_embedding=127), lambda: UNet(time_embedding=128)),
    ("templates", lambda: Prompts(templates=("a photo",)), lambda: Prompts(templates=("a photo of {}",))),
    ("templates", lambda: Prompts(templates=("{} and {}",)), lambda: Prompts(templates=("{}",))),
    ("templates", lambda: Prompts(templates=()), lambda: Prompts(held_out_templates=())),
    ("held_out_templates", lambda: Prompts(held_out_templates=("{}",)), lambda: Prompts(held_out_templates=("the {}",))),
    ("gpu", lambda: Hardware(gpu="T5"), lambda: Hardware(gpu="h100")),
    (
        "reject_when",
        lambda: Decision(**RECORD, reject_when=(metric("train/loss").no_worse(by="5%"),)),
        lambda: Decision(**RECORD, reject_when=(metric("train/loss").falls(by="5%"),)),
    ),
    (
        "micro_batch",
        lambda: Plan(**PLAN, images_per_step=128, micro_batch=48, accumulation=2),
        lambda: Plan(**PLAN, images_per_step=128, micro_batch=64, accumulation=2),
    ),
]


@pytest.mark.parametrize(("field", "wrong", "right"), BROKEN, ids=[f"{field}-{n}" for n, (field, _, _) in enumerate(BROKEN)])
def test_the_impossible_is_an_error_that_says_what_to_do(field, wrong, right):
    with pytest.raises(ValidationError) as caught:
        wrong()
    (error,) = caught.value.errors()
    assert error["type"] == "rule"
    assert error["ctx"]["field"] == field
    assert error["ctx"]["rule"] and error["ctx"]["fix"] and "value" in error["ctx"]
    right()


def test_a_folder_without_a_root_is_refused():
    with pytest.raises(ValidationError, match="root"):
        ImageFolder()


@pytest.mark.parametrize("seeds", [(), (1, 1), (-1,), [0, 1]])
def test_seeds_are_planned_distinct_and_at_least_one(seeds):
    with pytest.raises(ValidationError, match="seeds"):
        Decision(title="t", context="c", chosen="d", seeds=seeds)


def test_a_criterion_is_data_and_reads_as_a_sentence():
    criterion = metric("val/denoising").falls(by="10%", confidence=0.9).at("20 epochs")
    assert (criterion.kind, criterion.by, criterion.relative, criterion.at_point) == ("falls", 0.1, True, "20 epochs")
    assert str(criterion) == "val/denoising falls by 10 % against baseline at 20 epochs (confidence 90 %)"
    assert str(metric("samples/fid", at="5 epochs") <= 30) == "samples/fid <= 30 at 5 epochs (confidence 95 %)"
    assert (metric("samples/coherence") >= 0.5).kind == "at_least"


def test_a_metric_outside_the_catalogue_is_refused_with_the_nearest():
    with pytest.raises(ValidationError, match="did you mean 'val/denoising'"):
        metric("val/denoise").falls()


@pytest.mark.parametrize("by", ["5", "x%", "", "five"])
def test_a_margin_is_a_number_or_a_share(by):
    with pytest.raises(UserError, match="by="):
        metric("val/denoising").falls(by=by)


def test_a_chain_of_bounds_is_refused_and_never_loses_one():
    with pytest.raises(UserError, match="one criterion per bound"):
        0.1 <= metric("samples/class_accuracy") <= 0.3  # noqa: B015 - the mistake itself


def test_a_bound_is_a_number_and_not_true():
    for value in (True, "0.9"):
        with pytest.raises(ValidationError):
            metric("samples/class_accuracy") >= value  # noqa: B015 - building it is the test
