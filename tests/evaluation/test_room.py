"""An evaluation for which memory runs out goes on with fewer examples at once, and finds what it would have found."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from support.tiny_training import CPU, digits, lively_network, tiny_artist
from torch import nn

from ddpm_exp.evaluation.drawing import Artist
from ddpm_exp.evaluation.extractors import LAYER
from ddpm_exp.evaluation.extractors import inception as inception_of
from ddpm_exp.evaluation.image_features import Extraction
from ddpm_exp.evaluation.likelihood import likelihood
from ddpm_exp.evaluation.room import Fewer, Room
from ddpm_exp.evaluation.validation import validate
from ddpm_exp.ranks.ranks import SINGLE, Ranks
from ddpm_exp.ranks.shares import Shares
from ddpm_exp.spec.errors import RunError
from ddpm_exp.spec.evaluation import FID, Evaluation
from ddpm_exp.spec.sampling import Sampling

SAID = "CUDA out of memory. Tried to allocate 2.00 GiB."
SPEC = Evaluation(log_snr=(-1.0, 2.0), reconstruction_log_snr=(0.0, 2.0))


def full(message: str = f"{SAID}\nGPU 0 is full.") -> None:
    raise torch.OutOfMemoryError(message)


def narrow(images: int, *, in_call: int = 1) -> nn.Module:
    """A network that raises what a full device raises where it is asked about more images, at every `in_call`-th time."""
    network, calls = lively_network(), []

    def need(module: nn.Module, given: Any) -> None:
        calls.append(len(given[0]))
        if len(given[0]) > images and len(calls) % in_call == 0:
            full()

    network.register_forward_pre_hook(need)
    return network


def noting() -> tuple[list[Fewer], Artist]:
    """An artist, and what it says about memory."""
    told: list[Fewer] = []
    return told, tiny_artist(sampling=Sampling(sampler="ddim", steps=3, eta=1.0), room=Room(told.append))


def drawn(network: nn.Module, artist: Artist) -> torch.Tensor:
    return artist.draw(network, digits().held_out.batch(slice(0, 64)), torch.arange(64), held_out=True)


@pytest.mark.parametrize("in_call", [1, 3])
def test_samples_without_room_are_bit_for_bit_those_drawn_fewer_at_once(in_call: int) -> None:
    told, artist = noting()
    found = drawn(narrow(16, in_call=in_call), artist)
    assert torch.equal(found, drawn(lively_network(), tiny_artist(sampling=artist.sampling, batch=16)))
    assert [(one.doing, one.before, one.at_once, one.said) for one in told] == [
        ("drawing samples", 64, 32, SAID),
        ("drawing samples", 32, 16, SAID),
    ]
    assert str(told[0]).startswith(f"memory ran out while drawing samples, 64 at once ({SAID}): from there on 32 at once. ")


def test_fewer_at_once_holds_for_the_rest_of_the_run_and_for_such_work_alone() -> None:
    told, artist = noting()
    drawn(narrow(32), artist)
    drawn(narrow(32), artist)
    assert len(told) == 1
    validate(narrow(32), digits().held_out.batch(slice(0, 64)), artist, SPEC)
    assert [one.doing for one in told] == ["drawing samples", "measuring errors on held-out examples"]


@pytest.mark.parametrize("images", [1, 3, 32])
def test_errors_and_reconstructions_are_the_same_however_few_have_room(images: int) -> None:
    told, artist = noting()
    held_out = digits().held_out.batch(slice(0, 21))
    found, whole = validate(narrow(images), held_out, artist, SPEC), validate(lively_network(), held_out, tiny_artist(), SPEC)
    assert found.values == pytest.approx(whole.values, rel=1e-4)
    torch.testing.assert_close(found.reconstructions, whole.reconstructions, atol=1e-4, rtol=1e-4)
    assert [one.at_once for one in told] == {1: [10, 5, 2, 1], 3: [10, 5, 2], 32: []}[images]


def test_bits_per_dimension_are_the_same_however_few_have_room() -> None:
    told, artist = noting()
    held_out = digits().held_out.batch(slice(0, 21))
    found, whole = likelihood(narrow(5, in_call=2), held_out, artist, 3), likelihood(lively_network(), held_out, tiny_artist(), 3)
    assert found == pytest.approx(whole, rel=1e-5)
    assert {one.doing for one in told} == {"measuring bits per dimension"} and told[-1].at_once == 5


@pytest.fixture
def inception_with_room_for_two() -> Iterator[None]:
    def need(module: nn.Module, given: tuple[torch.Tensor, ...]) -> None:
        if type(module).__name__ == "FeatureExtractorInceptionV3" and len(given[0]) > 2:
            full()

    hook = nn.modules.module.register_module_forward_pre_hook(need)
    yield
    hook.remove()


@pytest.mark.usefixtures("inception_with_room_for_two")
def test_fid_is_measured_by_fewer_at_once_and_a_lack_of_memory_is_not_the_fault_of_its_weights(inception: Path) -> None:
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (3, 1, 8, 8), dtype=torch.uint8, generator=generator)
    told: list[Fewer] = []
    extractor = inception_of(FID(weights=str(inception)))
    found = Extraction(extractor, (LAYER,), CPU, SINGLE, Room(told.append)).features(images)[LAYER]
    assert found.shape == (3, 2048) and len(found.unique(dim=0)) == 3
    assert [(one.doing, one.at_once) for one in told] == [("extracting features of Inception", 1)]
    with pytest.raises(torch.OutOfMemoryError):
        Extraction(extractor, (LAYER,), CPU, SINGLE, Room()).features(images)


def test_without_room_for_one_sample_the_error_says_so_and_what_to_do() -> None:
    told, artist = noting()
    with pytest.raises(RunError) as caught:
        drawn(narrow(0), artist)
    assert [one.at_once for one in told] == [32, 16, 8, 4, 2, 1]
    assert str(caught.value) == (
        f"device = 'cpu': there is no room for drawing samples, not even one at once: {SAID}\n"
        "  fix: free memory that other programs hold, and give the same command again"
    )
    assert caught.value.__cause__ is None and caught.value.__context__ is None, "what failed holds on to no tensor"


def test_whoever_looks_for_what_fits_is_told_and_other_errors_are_left_alone() -> None:
    with pytest.raises(torch.OutOfMemoryError):
        drawn(narrow(16), tiny_artist())
    told, artist = noting()
    network = lively_network()
    network.register_forward_pre_hook(lambda module, given: torch.zeros(2) @ torch.zeros(3))
    with pytest.raises(RuntimeError, match="inconsistent"):
        drawn(network, artist)
    assert not told


def attempts(room: Room, fits: Callable[[slice], bool], **more: Any) -> list[tuple[int, int]]:
    """The batches of 8 items that were tried, at most 4 at once."""
    tried: list[tuple[int, int]] = []

    def work(part: slice) -> int:
        tried.append((part.start, part.stop))
        return part.stop if fits(part) else full()  # type: ignore[func-returns-value]

    room.each(Shares(8, 4), work, "trying", CPU, **more)
    return tried


def test_what_was_kept_to_be_fast_is_given_back_before_a_batch_is_cut() -> None:
    kept = [True]
    tried = attempts(Room(lambda fewer: pytest.fail("it fits without")), lambda part: not kept, give_back=lambda: bool(kept.pop()))
    assert tried == [(0, 4), (0, 4), (4, 8)]


def test_what_is_kept_anew_at_each_attempt_is_given_back_once_a_batch() -> None:
    tried = attempts(Room(lambda fewer: None), lambda part: part.stop - part.start < 4, give_back=lambda: True)
    assert tried == [(0, 4), (0, 4), (0, 2), (2, 4), (4, 6), (6, 8)]


def test_nothing_of_the_attempt_that_failed_is_held_when_the_next_one_begins() -> None:
    left: list[weakref.ref[torch.Tensor]] = []

    def work(part: slice) -> torch.Tensor:
        assert all(before() is None for before in left)
        large = torch.zeros(part.stop - part.start)
        left.append(weakref.ref(large))
        if len(large) > 2:
            full()
        return torch.zeros(len(large))

    room = Room(lambda fewer: None if left[-1]() is None else pytest.fail("it is still held"))
    assert len(torch.cat(room.each(Shares(8, 8), work, "trying", CPU))) == 8


def test_several_processes_are_not_cut_anew_but_told_what_to_set() -> None:
    room = Room(lambda fewer: pytest.fail("the others would wait"))
    with pytest.raises(RunError, match="memory ran out while trying, 4 at once, which several processes cannot cut") as caught:
        room.each(Shares(8, 4, Ranks(0, 2)), lambda part: full(), "trying", CPU)
    assert (caught.value.field, caught.value.value) == ("hardware.devices", 2)
    assert "set hardware.headroom higher" in str(caught.value.fix)


def test_what_cannot_be_cut_and_has_no_room_is_named() -> None:
    with pytest.raises(RunError, match=r"there is no room for a copy of the network: out of memory"):
        Room(lambda fewer: None).once(lambda: full("out of memory"), "a copy of the network", CPU)
    assert Room().once(lambda: 3, "a number", CPU) == 3
