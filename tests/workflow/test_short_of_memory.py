"""A run for which memory runs out goes on with smaller micro-batches, or ends with what would help."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from support.tiny_experiment import Watching, assert_same_tensors, rows

from ddpm_exp.loading.loaded import load_experiment
from ddpm_exp.models.unet import UNetNetwork
from ddpm_exp.records.run_directory import RunDirectory
from ddpm_exp.spec.errors import RunError
from ddpm_exp.workflow.options import RunOptions
from ddpm_exp.workflow.run import run_seed


def room_for(images: int, patch: pytest.MonkeyPatch) -> None:
    """Training passes of more images raise what a full device raises."""
    forward = UNetNetwork.forward

    def narrow(network: UNetNetwork, x: torch.Tensor, *rest: Any) -> torch.Tensor:
        if network.training and len(x) > images and not x.is_meta:  # the estimate needs no memory
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
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
    events = RunDirectory.open(done.run).events.read()
    assert [(event.kind, event.images, event.facts) for event in events] == [
        ("out-of-memory", 0, {"micro_batch": 4, "accumulation": 2}),
        ("out-of-memory", 0, {"micro_batch": 2, "accumulation": 4}),
    ]
    assert "memory ran out at 0 images (CUDA out of memory. Tried to allocate 2.00 GiB.): from there on 4 at once" in display.text


def test_without_room_for_one_image_a_run_fails_with_changes_that_fit(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    room_for(0, monkeypatch)
    with pytest.raises(RunError, match="no room on the device even with one image at once") as caught:
        run_seed(load_experiment("experiments/adr_0001.py"), 0, RunOptions(), Watching())
    assert "Or change the experiment: model.checkpointing=true (guide 003" in str(caught.value.fix)
    (path,) = Path("runs").glob("*/*/*")
    assert RunDirectory.open(path).status().state == "failed"
