"""The estimate: follows the real network, agrees with real allocations, and never shrinks when the work grows."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from support.allocations import real_peak

from ddpm_exp.memory.estimate import estimate, setting_of
from ddpm_exp.memory.kernels import Kernels, kernels_of
from ddpm_exp.memory.moments import Moments
from ddpm_exp.memory.step import Setting, meta_network, training_trace
from ddpm_exp.memory.terms import TERMS
from ddpm_exp.memory.trace import Recorder
from ddpm_exp.models.build import build_network
from ddpm_exp.models.inputs import ConditionInput
from ddpm_exp.spec.condition import ClassLabels, Prompts
from ddpm_exp.spec.data import Digits, ImageFolder, Shape
from ddpm_exp.spec.experiment import Experiment
from ddpm_exp.spec.hardware import Hardware, find_gpu
from ddpm_exp.spec.model import UNet
from ddpm_exp.spec.sampling import Sampling
from ddpm_exp.spec.training import Training

TINY = UNet(base_channels=16, multipliers=(1, 2), blocks_per_level=1, attention_resolutions=(8,), time_embedding=32, groups=8)
CPU = Kernels(half=None, fused_heads=1, byte_masks=False, channels_last=False)
H100, T4 = find_gpu("H100"), find_gpu("T4")


def experiment(**changes: Any) -> Experiment:
    return Experiment(data=Digits(), model=TINY, training=Training(images_per_step=64)).but(**changes)


def peak(e: Experiment, micro: int = 64, gpu: Any = H100, precision: Any = "fp32") -> int:
    return estimate(e, gpu, precision, micro).peak_bytes


def real_peak_of_a_step(setting: Setting, images: int) -> int:
    """Bytes that forward and backward really allocate on this CPU above what was there."""
    network = build_network(setting.model, setting.inputs, setting.shape)

    for weight in network.parameters():
        weight.grad = torch.zeros_like(weight)

    def step() -> None:
        x0, eps = torch.rand(images, *setting.shape), torch.rand(images, *setting.shape)
        output = network(x0 + eps, torch.rand(images), None)
        (output.float() - eps).square().flatten(1).mean(dim=1).sum().backward()

    return real_peak(step)


@pytest.mark.parametrize("checkpointing", [False, True])
def test_the_trace_agrees_with_what_a_real_step_allocates(checkpointing: bool) -> None:
    model = TINY.but(checkpointing=checkpointing, dropout=0.1)
    setting = Setting(model, (), Shape(1, 8, 8), "image", 1, 1000, CPU)
    _, alive = Moments(lambda images: training_trace(setting, images)).peak(64)
    assert sum(alive.values()) == pytest.approx(real_peak_of_a_step(setting, 64), rel=0.03)


def test_two_traces_tell_every_batch_between_and_beyond() -> None:
    setting = Setting(TINY, (), Shape(1, 8, 8), "image", 1, 1000, CPU)
    inferred = Moments(lambda n: training_trace(setting, n))
    traced = Moments(lambda n: training_trace(setting, n), (3, 33))
    assert [inferred.peak(n) for n in (3, 33)] == [traced.peak(n) for n in (3, 33)]


def test_a_step_is_traced_without_memory_behind_its_weights() -> None:
    network = meta_network(Setting(UNet(), (), Shape(3, 32, 32), "image", 1, 1000, CPU))
    assert {weight.device.type for weight in network.parameters()} == {"meta"}


def test_weights_gradients_moments_and_average_are_exactly_the_networks() -> None:
    network = build_network(TINY, (ConditionInput("class", "embedding", classes=10),), Shape(1, 8, 8))
    size = sum(weight.numel() * 4 for weight in network.parameters())
    terms = estimate(experiment(condition=ClassLabels()), H100, "fp32", 1).terms
    assert terms["weights"] == size
    assert terms["gradients"] == size
    assert terms["optimizer"] == 2 * size
    assert terms["ema"] == size


def test_terms_add_up_to_the_training_peak() -> None:
    found = estimate(experiment(), H100, "bf16", 64)
    assert set(found.terms) == set(TERMS)
    assert sum(found.terms.values()) == found.training_bytes == found.to_json()["training_bytes"]
    assert all(size >= 0 for size in found.terms.values())


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_more_images_at_once_never_need_less(precision: Any) -> None:
    peaks = [estimate(experiment(), H100, precision, micro).training_bytes for micro in (1, 2, 4, 8, 16, 32, 64)]
    assert peaks == sorted(peaks)


def test_a_wider_or_deeper_network_larger_images_and_an_average_never_need_less() -> None:
    plain = experiment()
    assert peak(experiment(model=TINY.but(base_channels=32))) > peak(plain)
    assert peak(experiment(model=TINY.but(blocks_per_level=2))) > peak(plain)
    assert peak(experiment(data=Digits(image_size=16))) > peak(plain)
    unaveraged: dict[str, Any] = {"training": Training(images_per_step=64, ema_half_life=None), "sampling": Sampling(weights="raw")}
    assert peak(experiment(**unaveraged)) <= peak(plain), "of so few weights that a segment of the allocator hides an average"
    wide = TINY.but(base_channels=128)
    assert peak(experiment(model=wide, **unaveraged)) < peak(experiment(model=wide))


def test_accumulation_adds_nothing_whatever_its_count() -> None:
    once, twice, often = (peak(experiment(training=Training(images_per_step=8 * count)), 8) for count in (1, 2, 16))
    assert once == twice == often, "gradients exist all the time"


def test_a_captured_step_keeps_its_memory_while_images_are_drawn() -> None:
    captured, op_by_op = (estimate(experiment(hardware=Hardware(cuda_graph=on)), H100, "fp32", 64) for on in (True, False))
    assert captured.sampling_bytes > op_by_op.sampling_bytes


def test_checkpointing_and_half_precision_need_less_where_activations_weigh() -> None:
    plain = peak(experiment(), 64)
    assert estimate(experiment(model=TINY.but(checkpointing=True)), H100, "fp32", 64).terms["activations"] < plain
    assert peak(experiment(), 64, precision="bf16") < plain


def test_half_precision_halves_convolutions_but_not_torch_s_group_norm() -> None:
    def kept(precision: Any, fused: bool) -> int:
        """Bytes alive between forward and backward."""
        e = experiment(hardware=Hardware(fused_kernels=fused))
        trace = training_trace(setting_of(e, H100, precision), 64)
        sizes: dict[int, int] = {}
        for tensor, size in trace.events[: trace.starts["backward"]]:
            if size < 0:
                sizes.pop(tensor)
            else:
                sizes[tensor] = size
        return sum(sizes.values())

    assert 0.6 * kept("fp32", False) < kept("bf16", False) < 0.9 * kept("fp32", False)
    assert 0.45 * kept("fp32", True) < kept("bf16", True) < 0.6 * kept("fp32", True)
    assert kept("fp32", True) < kept("fp32", False)


def test_fused_kernels_are_counted_only_where_they_run() -> None:
    kernels = {name: kernels_of(find_gpu(name), "fp16", fused_norms=True) for name in ("V100-16", "T4", "H100")}
    assert not kernels["V100-16"].fused_norms and kernels["V100-16"].channels_last
    assert kernels["T4"].fused_norms and kernels["H100"].fused_norms
    assert kernels["T4"].channels_last


def test_a_compiled_step_is_counted_with_fused_kernels_and_its_drawing_without() -> None:
    def found(**hardware: Any) -> Any:
        data, model = ImageFolder(root="images", image_size=32), TINY.but(attention_resolutions=(16,))
        return estimate(experiment(data=data, model=model, hardware=Hardware(**hardware)), H100, "bf16", 64)

    compiled, plain = found(compile=True, fused_kernels=False), found(compile=False, fused_kernels=False)
    fused = found(compile=False)
    assert compiled.terms["activations"] <= fused.terms["activations"] < 0.8 * plain.terms["activations"]
    assert compiled.sampling_bytes - compiled.training_bytes > fused.sampling_bytes - fused.training_bytes


def test_gradients_of_a_tensor_with_two_uses_are_summed_in_place() -> None:
    weight = torch.empty(1000, device="meta", requires_grad=True)
    recorder = Recorder((weight,), channels_last=False, workspaces=False)
    with recorder:
        recorder.phase("forward")
        twice = weight * 2
        loss = (twice * 3 + twice * 4).sum()
        recorder.phase("backward")
        loss.backward()
    born = [size for _, size in recorder.trace.events[recorder.trace.starts["backward"] :] if size >= 4000]
    assert len(born) == 3, "one for each product, none for the sum"


def test_attention_without_a_fused_kernel_keeps_a_matrix_of_pixels_by_pixels() -> None:
    e = experiment(data=ImageFolder(root="images", image_size=32), model=TINY.but(attention_resolutions=(32,)))
    fused = estimate(e, H100, "bf16", 8).terms["activations"]
    in_full = estimate(e, T4, "bf16", 8).terms["activations"]
    matrix = 8 * 1 * 1024 * 1024 * 2
    assert in_full - fused > 3 * matrix, "the blocks at 32x32, on the way down and up, each keep at least one"


def test_prompts_bring_their_encoder() -> None:
    plain, prompted = (estimate(experiment(condition=c), H100, "fp32", 8).terms["weights"] for c in (ClassLabels(), Prompts()))
    assert prompted > plain


def test_guidance_is_counted_as_twice_the_images() -> None:
    conditional = experiment(condition=ClassLabels())
    guided = experiment(condition=ClassLabels(), sampling=Sampling(guidance_scale=3.0))
    assert estimate(guided, H100, "fp32", 1).sampling_bytes > estimate(conditional, H100, "fp32", 1).sampling_bytes


def test_sampling_draws_fewer_images_at_once_where_memory_is_short() -> None:
    e = experiment(data=ImageFolder(root="images", image_size=256), model=TINY.but(attention_resolutions=()))
    small = H100._replace(usable_bytes=2 * 1024**3)
    found = estimate(e, small, "fp32", 1)
    assert found.sampling_batch < estimate(e, H100, "fp32", 1).sampling_batch
    assert found.sampling_bytes <= 0.9 * small.usable_bytes


def test_the_optimizers_bytes_follow_the_optimizer() -> None:
    terms = {
        kind: estimate(experiment(training=Training(images_per_step=64, optimizer=kind)), T4, "fp16", 4).terms
        for kind in ("adamw", "adam", "muon")
    }
    weights = terms["adamw"]["gradients"]
    assert terms["adam"] == terms["adamw"] and terms["adam"]["optimizer"] == 2 * weights
    assert weights < terms["muon"]["optimizer"] < 1.5 * weights, "hidden matrices, most of the network, have one momentum"
    assert terms["muon"]["workspace"] > terms["adamw"]["workspace"]
