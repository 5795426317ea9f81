"""What an error advises was tried out: every remedy, applied as it is typed, gives a plan on the GPU that was too small."""

from __future__ import annotations

import shlex
from typing import Any

import pytest

from ddpm_exp.loading.overrides import apply_overrides
from ddpm_exp.memory.estimate import estimate
from ddpm_exp.memory.fitting import largest_fitting, micro_batches
from ddpm_exp.memory.plan import plan
from ddpm_exp.memory.remedies import remedies
from ddpm_exp.spec.condition import ClassLabels
from ddpm_exp.spec.data import Digits, ImageFolder
from ddpm_exp.spec.diffusion import Diffusion
from ddpm_exp.spec.errors import UserError
from ddpm_exp.spec.experiment import Experiment
from ddpm_exp.spec.hardware import Gpu, Hardware, find_gpu
from ddpm_exp.spec.model import MLP, DiT, EncoderDecoder, UNet
from ddpm_exp.spec.training import Training
from ddpm_exp.spec.vectors import Gaussians

MIB = 1024**2
FOLDER = ImageFolder(root="images", image_size=32)
EXPERIMENTS: dict[str, Experiment] = {
    "unet": Experiment(
        data=FOLDER,
        model=UNet(base_channels=256, multipliers=(1, 2), blocks_per_level=1, attention_resolutions=(16, 32), groups=8),
        training=Training(images_per_step=16, precision="fp32"),
    ),
    "encoder-decoder": Experiment(
        data=Digits(image_size=16), model=EncoderDecoder(hidden_dim=64), training=Training(images_per_step=16, precision="fp32")
    ),
    "dit": Experiment(
        data=FOLDER, model=DiT(width=512, depth=4, heads=2, patch=2), training=Training(images_per_step=16, precision="fp32")
    ),
    "mlp": Experiment(
        data=Gaussians(),
        diffusion=Diffusion(schedule="vp-cosine", prediction="v"),
        model=MLP(hidden_dim=256, layers=2),
        training=Training(images_per_step=16, precision="fp32"),
    ),
}
HALF_IMAGES = "data.image_size=16 model.attention_resolutions=8,16"
NONE = Gpu("small", 1, (8, 0), 1.0, 1.0, 1.0)


def just_enough(e: Experiment, changes: str = "", gpu: Gpu = NONE) -> Gpu:
    """`gpu` with the memory that one image needs with `changes`, and hardly more."""
    changed = apply_overrides(e, shlex.split(changes))
    precision = changed.training.precision
    assert precision != "auto"
    needed = estimate(changed, gpu._replace(usable_bytes=1), precision, 1).peak_bytes
    return gpu._replace(usable_bytes=int(needed / (1 - e.hardware.headroom)) + 64)


def applied(e: Experiment, gpu: Gpu, override: str) -> tuple[Experiment, Gpu]:
    words = shlex.split(override)
    if words[0] == "--gpu":
        gpu, words = find_gpu(words[1]), words[2:]
    changed = apply_overrides(e, words)
    return changed, find_gpu(changed.hardware.gpu) if changed.hardware.gpu else gpu


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        ("unet", "training.precision=bf16"),
        ("unet", "model.base_channels=128"),
        ("unet", "'model.attention_resolutions=()'"),
        ("unet", HALF_IMAGES),
        ("encoder-decoder", "model.hidden_dim=32"),
        ("dit", "model.width=256"),
        ("mlp", "model.hidden_dim=64"),
    ],
)
def test_every_remedy_applied_as_it_is_typed_gives_the_plan_that_it_promised(kind: str, change: str) -> None:
    e = EXPERIMENTS[kind]
    gpu = just_enough(e, change)
    with pytest.raises(UserError) as refused:
        plan(e, gpu, device="cuda")
    found = remedies(e, gpu, "fp32")
    assert change in [remedy.override for remedy in found]
    for remedy in found:
        changed, on = applied(e, gpu, remedy.override)
        made = plan(changed, on, device="cuda")
        assert (made.micro_batch, made.peak_bytes) == (remedy.micro_batch, remedy.peak_bytes)
        assert f"{remedy.override}: micro-batch {remedy.micro_batch} then needs" in (refused.value.fix or "")


def test_remedies_come_in_the_guides_order() -> None:
    e = EXPERIMENTS["unet"]
    needed = [just_enough(e, change).usable_bytes for change in ("training.precision=bf16", HALF_IMAGES)]
    words = [remedy.override.strip("'").split("=")[0] for remedy in remedies(e, NONE._replace(usable_bytes=max(needed)), "fp32")]
    order = ["model.checkpointing", "training.precision", "model.base_channels", "model.attention_resolutions", "data.image_size"]
    assert words == [word for word in order if word in words] + ["--gpu T4"]
    assert {"training.precision", "model.base_channels", "data.image_size"} < set(words)


def test_attention_goes_from_the_largest_side_first() -> None:
    """Where no fused kernel computes it, what it keeps at 32x32 is sixteen times what it keeps at 16x16."""
    e = EXPERIMENTS["unet"]
    assert just_enough(e, "model.attention_resolutions=16").usable_bytes < just_enough(e).usable_bytes
    found = remedies(e, just_enough(e, "model.attention_resolutions=16"), "fp32")
    assert "model.attention_resolutions=16" in [remedy.override for remedy in found]


def test_what_no_single_change_achieves_is_a_sum_of_changes_that_each_help() -> None:
    model = UNet(base_channels=32, multipliers=(1, 2), blocks_per_level=1, attention_resolutions=(), groups=8)
    e = EXPERIMENTS["unet"].but(data=ImageFolder(root="images", image_size=256), model=model)
    gpu = just_enough(e, "model.base_channels=8 data.image_size=128")
    gpu = gpu._replace(usable_bytes=gpu.usable_bytes + 2 * MIB)  # the least that an allocator takes
    summed, larger = remedies(e, gpu, "fp32")
    assert larger.override == "--gpu T4"
    assert "model.base_channels=8" in summed.override and len(shlex.split(summed.override)) > 1
    assert plan(*applied(e, gpu, summed.override), device="cuda").peak_bytes == summed.peak_bytes


def test_recomputing_is_the_first_remedy_where_activations_weigh() -> None:
    e = EXPERIMENTS["dit"].but(model=DiT(width=32, depth=3, heads=2, patch=1))
    gpu = just_enough(e, "model.checkpointing=true")
    assert remedies(e, gpu, "fp32")[0].override == "model.checkpointing=true"


def test_a_written_micro_batch_does_not_stand_in_the_way_of_a_remedy() -> None:
    e = EXPERIMENTS["dit"].but(hardware=Hardware(micro_batch=16))
    gpu = just_enough(e, "model.width=256")
    found = remedies(e, gpu, "fp32")
    assert any("hardware.micro_batch=none" in remedy.override for remedy in found)
    for remedy in found:
        plan(*applied(e, gpu, remedy.override), device="cuda")


def test_a_gpu_that_the_experiment_names_is_replaced_there() -> None:
    e = EXPERIMENTS["mlp"].but(hardware=Hardware(gpu="T4"), model=MLP(hidden_dim=8192, layers=12))
    t4 = find_gpu("T4")
    found = remedies(e, t4, "fp32")
    assert found and found[-1].override.startswith("hardware.gpu=")
    for remedy in found:
        plan(*applied(e, t4, remedy.override), device="cuda")


def test_a_larger_gpu_is_tried_in_the_precision_that_it_would_choose() -> None:
    e = EXPERIMENTS["mlp"].but(training=Training(images_per_step=64), model=MLP(hidden_dim=8192, layers=12))
    found = remedies(e, find_gpu("T4"), "fp16")[-1]
    changed, on = applied(e, find_gpu("T4"), found.override)
    made = plan(changed, on, device="cuda")
    assert (made.precision, made.peak_bytes) == ("bf16", found.peak_bytes)


def test_the_largest_that_fits_takes_few_estimates(monkeypatch: pytest.MonkeyPatch) -> None:
    e = Experiment(
        data=Digits(),
        condition=ClassLabels(),
        model=UNet(base_channels=8, multipliers=(1,), blocks_per_level=1, attention_resolutions=(), groups=8, time_embedding=8),
        training=Training(images_per_step=5040),
    )
    tried: list[int] = []

    def counted(*arguments: Any) -> Any:
        tried.append(arguments[-1])
        return estimate(*arguments)

    monkeypatch.setattr("ddpm_exp.memory.fitting.estimate", counted)
    choices = micro_batches(e)
    assert len(choices) == 60
    for target in (5040, 1260, 504, 7, 1):
        tried.clear()
        needed = estimate(e, find_gpu("H100"), "bf16", target).peak_bytes
        small = find_gpu("H100")._replace(usable_bytes=int(needed / (1 - e.hardware.headroom)) + 64)
        found = largest_fitting(e, small, "bf16")
        assert found is not None and found.micro_batch >= target and len(tried) <= 8
        larger = [micro for micro in choices if micro > found.micro_batch]
        assert not larger or estimate(e, small, "bf16", larger[-1]).peak_bytes > small.usable_bytes * (1 - e.hardware.headroom)
