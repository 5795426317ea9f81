"""A run for which memory runs out goes on with smaller micro-batches and evaluates fewer at once, or ends with what would help."""

from __future__ import annotations

import os
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from support.tiny_experiment import Watching, assert_same_tensors, happened, rows

from ddpm_exp.loading.loaded import load_experiment
from ddpm_exp.models.unet import UNetNetwork
from ddpm_exp.records.events import Event
from ddpm_exp.records.run_directory import RunDirectory
from ddpm_exp.spec.errors import RunError
from ddpm_exp.workflow.load import load
from ddpm_exp.workflow.options import RunOptions
from ddpm_exp.workflow.prepare import find_machine, prepare
from ddpm_exp.workflow.run import run_seed
from ddpm_exp.workflow.short_of_memory import halved_before

SAID = "CUDA out of memory. Tried to allocate 2.00 GiB."


def room_for(images: int, patch: pytest.MonkeyPatch) -> None:
    """Training passes of more images raise what a full device raises."""
    forward = UNetNetwork.forward

    def narrow(network: UNetNetwork, x: torch.Tensor, *rest: Any) -> torch.Tensor:
        if network.training and len(x) > images and not x.is_meta:  # the estimate needs no memory
            raise torch.OutOfMemoryError(SAID)
        return forward(network, x, *rest)

    patch.setattr(UNetNetwork, "forward", narrow)


def test_a_run_short_of_memory_ends_as_the_one_with_the_smaller_micro_batch_and_tells_of_it(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = load_experiment("experiments/adr_0001.py")
    small = load_experiment("experiments/adr_0001.py", ["hardware.micro_batch=2"])
    straight = run_seed(small, 0, RunOptions(root=Path("small")), Watching())
    room_for(2, monkeypatch)
    display = Watching()
    done = run_seed(loaded, 0, RunOptions(), display)
    assert done.state == "finished"
    assert_same_tensors(done.run, straight.run)
    assert rows(done.run) == rows(straight.run)
    events = happened(done.run)
    assert [(event.kind, event.images, event.facts) for event in events] == [
        ("out-of-memory", 0, {"micro_batch": 4, "accumulation": 2, "gpu": "cpu", "devices": 1}),
        ("out-of-memory", 0, {"micro_batch": 2, "accumulation": 4, "gpu": "cpu", "devices": 1}),
    ]
    assert "memory ran out at 0 images (CUDA out of memory. Tried to allocate 2.00 GiB.): from there on 4 at once" in display.text


def test_without_room_for_one_image_a_run_fails_with_changes_that_fit(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    room_for(0, monkeypatch)
    with pytest.raises(RunError, match="no room on the device even with one image at once") as caught:
        run_seed(load_experiment("experiments/adr_0001.py"), 0, RunOptions(), Watching())
    assert "Or change the experiment: model.checkpointing=true (guide 003" in str(caught.value.fix)
    (path,) = Path("runs").glob("*/*/*")
    assert RunDirectory.open(path).status().state == "failed"


def evaluations_have_room_for(images: int, patch: pytest.MonkeyPatch) -> None:
    """Passes of more images outside training raise what a full device raises."""
    forward = UNetNetwork.forward

    def narrow(network: UNetNetwork, x: torch.Tensor, *rest: Any) -> torch.Tensor:
        if not network.training and len(x) > images and not x.is_meta:
            raise torch.OutOfMemoryError(SAID)
        return forward(network, x, *rest)

    patch.setattr(UNetNetwork, "forward", narrow)


def test_a_run_whose_evaluations_are_short_of_memory_finds_the_same_and_tells_of_it(
    folder: Path, undisturbed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    evaluations_have_room_for(10, monkeypatch)
    display = Watching()
    done = run_seed(load_experiment("experiments/adr_0001.py"), 0, RunOptions(), display)
    assert done.state == "finished"
    assert_same_tensors(done.run, undisturbed)
    for (images, ours), (_, theirs) in zip(rows(done.run), rows(undisturbed), strict=True):
        assert ours == pytest.approx(theirs, rel=1e-3, abs=1e-6), f"at {images} images"
    events = happened(done.run)
    assert [(event.kind, event.images, event.facts) for event in events] == [
        ("out-of-memory", 0, {"doing": "measuring errors on held-out examples", "at_once": 8}),
        ("out-of-memory", 0, {"doing": "drawing samples", "at_once": 16}),
        ("out-of-memory", 0, {"doing": "drawing samples", "at_once": 8}),
    ], "the training examples that predictions are judged by were too many first; once each in the whole run"
    assert f"at 0 images, memory ran out while drawing samples, 32 at once ({SAID}): from there on 16 at once" in display.text


def test_a_run_without_room_for_one_sample_fails_and_says_what_to_do(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    evaluations_have_room_for(0, monkeypatch)
    with pytest.raises(RunError, match="no room for measuring errors on held-out examples, not even one at once") as caught:
        run_seed(load_experiment("experiments/adr_0001.py"), 0, RunOptions(), Watching())
    assert caught.value.fix == "free memory that other programs hold, and give the same command again"
    (path,) = Path("runs").glob("*/*/*")
    assert RunDirectory.open(path).status().state == "failed"


def test_samples_of_a_recorded_run_are_drawn_fewer_at_once(undisturbed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = load(undisturbed, device="cpu")
    straight = loaded.sample(16, 3, batch=4).x
    given = torch.ones(16, 1, 8, 8), torch.ones(8, 8).tril()
    led = loaded.restore(*given, condition=3, resamples=2, batch=4).x
    evaluations_have_room_for(4, monkeypatch)
    for draw, expected in (
        (lambda: loaded.sample(16, 3), straight),
        (lambda: loaded.restore(*given, condition=3, resamples=2), led),
    ):
        with pytest.warns(UserWarning) as told:
            assert torch.equal(draw().x, expected)
        assert [str(one.message).partition(" (")[0] for one in told] == [
            "memory ran out while drawing samples, 32 at once",
            "memory ran out while drawing samples, 16 at once",
            "memory ran out while drawing samples, 8 at once",
        ]


def stopping_at(images: int) -> Watching:
    """Asks its own process to stop when that many images are logged."""
    return Watching(on_progress=lambda seen: os.kill(os.getpid(), signal.SIGTERM) if seen == images else None)


def halved_and_stopped(*overrides: str) -> RunDirectory:
    """A run that was left with micro-batches of 2, and stopped at 48 images."""
    stopped = run_seed(load_experiment("experiments/adr_0001.py", list(overrides)), 0, RunOptions(), stopping_at(48))
    assert stopped.state == "interrupted"
    return RunDirectory.open(stopped.run)


@pytest.mark.parametrize("overrides", [[], ["hardware.micro_batch=8"]])
def test_a_resumed_run_begins_with_what_a_lack_of_memory_left(
    folder: Path, monkeypatch: pytest.MonkeyPatch, overrides: list[str]
) -> None:
    small = load_experiment("experiments/adr_0001.py", ["hardware.micro_batch=2"])
    straight = run_seed(small, 0, RunOptions(root=Path("small")), Watching())
    room_for(2, monkeypatch)
    run, display = halved_and_stopped(*overrides), Watching()
    before = happened(run.path)
    done = run_seed(load_experiment("experiments/adr_0001.py", overrides), 0, RunOptions(), display)
    assert (done.state, done.run) == ("finished", run.path)
    assert happened(run.path) == before and [event.facts["micro_batch"] for event in before] == [4, 2]
    assert "2 at once, as memory ran out in this run before" in display.text
    assert_same_tensors(done.run, straight.run)
    assert rows(done.run) == rows(straight.run)


def test_what_was_left_holds_for_that_gpu_and_as_many_and_until_something_else_is_written(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    room_for(2, monkeypatch)
    run = halved_and_stopped()
    prepared = prepare(load_experiment("experiments/adr_0001.py"), find_machine(RunOptions(gpu="cpu")))
    assert halved_before(run, prepared) == 2
    assert halved_before(None, prepared) is None
    for change in ({"gpu": "H100"}, {"devices": 2, "micro_batch": 4}):
        assert halved_before(run, replace(prepared, plan=prepared.plan.but(**change))) is None
    written = load_experiment("experiments/adr_0001.py", ["hardware.micro_batch=4"])
    assert halved_before(run, replace(prepared, loaded=written)) is None
    run.events.append(Event("out-of-memory", 48, "of an older version", {"micro_batch": 1, "accumulation": 8}))
    run.events.append(Event("out-of-memory", 48, "of an evaluation", {"doing": "drawing samples", "at_once": 1}))
    assert halved_before(run, prepared) == 1, "the run's own GPU, where the event names none"
