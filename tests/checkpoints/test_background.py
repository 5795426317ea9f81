"""A checkpoint is what training was when it was asked for, however far training is when it reaches the disk."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest
import torch
from support.tiny_training import copied, identical, tiny_trainer

from ddpm_exp.checkpoints import Checkpoint, latest, layout, load, save
from ddpm_exp.checkpoints.background import Background
from ddpm_exp.spec.errors import RunError
from ddpm_exp.training.state import to_checkpoint


class SlowDisk:
    """Writes checkpoints as `save` does, once it is let."""

    def __init__(self) -> None:
        self.gate, self.begun, self.written = threading.Event(), threading.Event(), 0

    def __call__(self, folder: Path, checkpoint: Checkpoint, keep: int, series: str) -> None:
        """Wait, then write."""
        self.begun.set()
        assert self.gate.wait(30)
        save(folder, checkpoint, keep, series)
        self.written += 1


def _checkpoint(images: int) -> Checkpoint:
    return Checkpoint(images, {"a": torch.full((3,), float(images))})


def test_steps_during_the_writing_change_nothing_in_the_file(tmp_path: Path) -> None:
    trainer, disk = tiny_trainer(), SlowDisk()
    for _ in range(2):
        trainer.step()
    expected = copied(to_checkpoint(trainer, {}).tensors)
    with Background(tmp_path, write=disk) as background:
        background.save(to_checkpoint(trainer, {"seed": 3}))
        for _ in range(3):
            trainer.step()
        assert disk.written == 0, "the steps waited for the disk"
        disk.gate.set()
    found = load(tmp_path / "000000000016.pt")
    assert identical(found.tensors, expected) and found.facts == {"seed": 3}
    assert not identical(to_checkpoint(trainer, {}).tensors["network"], expected["network"]), "training did not go on"


def test_the_file_is_the_one_that_a_training_which_waits_would_write(tmp_path: Path) -> None:
    tensors: dict[str, Any] = {
        "channels last": torch.randn(4, 3, 5, 5).to(memory_format=torch.channels_last),
        "part": torch.randn(1000, 10)[::2, 3],
        "kinds": [
            torch.tensor(2.5),
            (torch.arange(3), torch.tensor([True, False]), torch.ones(2, dtype=torch.bfloat16)),
            "text",
            None,
        ],
        "empty": torch.zeros(0, 3),
    }
    direct = load(save(tmp_path / "direct", Checkpoint(1, tensors)))
    with Background(tmp_path / "beside") as background:
        background.save(Checkpoint(1, {"a": torch.ones(10_000)}))
        background.save(Checkpoint(1, tensors))
    beside = load(tmp_path / "beside" / "000000000001.pt")
    assert identical(beside.tensors, direct.tensors)
    assert type(beside.tensors["kinds"][1]) is tuple
    assert beside.tensors["channels last"].stride() == tensors["channels last"].stride()
    sizes = [len((tmp_path / name / "000000000001.pt").read_bytes()) for name in ("direct", "beside")]
    assert sizes[1] <= sizes[0], "memory that is no tensor's went into the file"


def test_what_was_laid_out_beside_the_steps_is_what_is_written(tmp_path: Path) -> None:
    trainer = tiny_trainer()
    asked: list[int] = []

    def state() -> Checkpoint:
        asked.append(trainer.images_seen)
        return to_checkpoint(trainer, {})

    with Background(tmp_path) as background:
        for _ in range(3):
            trainer.step()
            background.prepare(state)
        background._join()
        laid = background._snapshots._layout
        background.save(to_checkpoint(trainer, {}))
        assert background._snapshots._layout is laid and laid is not None, "laid out anew"
    assert asked == [8]
    assert identical(load(tmp_path / "000000000024.pt").tensors, to_checkpoint(trainer, {}).tensors)


@pytest.mark.parametrize("changed", ["numbers", "a part", "a shape"])
def test_a_checkpoint_that_was_looked_at_ahead_is_what_training_is_when_it_is_saved(tmp_path: Path, changed: str) -> None:
    trainer = tiny_trainer()
    with Background(tmp_path) as background:
        for _ in range(2):
            trainer.step()
            begun = to_checkpoint(trainer, {})
            background.expect(begun)
            trainer.statistics.read()  # a log, which starts its sums anew
            state = to_checkpoint(trainer, {}, begun)
            assert state.tensors["network"] is begun.tensors["network"], "looked up again"
            if changed == "numbers":
                with torch.no_grad():
                    next(trainer.network.parameters()).add_(1)
            elif changed == "a part":
                state.tensors["optimizer"] = {"of": [torch.ones(3), "another"]}
            else:
                state.tensors["loss_scale"] = {"scale": torch.ones(4, 4)}
            expected = copied(state.tensors)
            background.save(state)
            background.wait()
            assert identical(load(tmp_path / f"{trainer.images_seen:012d}.pt").tensors, expected)
    trainer.step()
    assert to_checkpoint(trainer, {}, begun).tensors["network"] is not begun.tensors["network"], "of before the step"


def test_tensors_of_a_device_are_packed_type_by_type_and_those_that_moved_are_found() -> None:
    tensors = [
        torch.randn(4, 3, 5, 5).to(memory_format=torch.channels_last),
        torch.arange(3),
        torch.tensor(2.5),
        torch.zeros(0, 3),
        torch.randn(6, 2).T,
        torch.ones(5, dtype=torch.bfloat16),
    ]
    places = layout.places_of(tensors)
    rows = layout.rows_of(tensors, places)
    for state in (tensors, [one * 3 for one in tensors]):  # a clone is a tensor at another address
        flat = torch.empty(layout.total_bytes(places), dtype=torch.uint8)
        for row in rows:
            row.pack(state, flat)
        found = [place.alone(flat.numpy()) for place in places]
        assert identical(found, state) and [one.stride() for one in found] == [one.stride() for one in tensors]
    assert layout.rows_of([torch.randn(8, 8)[::2, 3]], layout.places_of([torch.randn(8, 8)[::2, 3]])) == []


def test_one_checkpoint_is_written_at_a_time_and_the_next_waits(tmp_path: Path) -> None:
    disk, asked = SlowDisk(), threading.Event()
    background = Background(tmp_path, write=disk)
    background.save(_checkpoint(1))

    def second() -> None:
        asked.set()
        background.save(_checkpoint(2))

    training = threading.Thread(target=second)
    training.start()
    assert asked.wait(30) and disk.begun.wait(30)
    training.join(0.1)
    assert training.is_alive() and disk.written == 0
    disk.gate.set()
    training.join(30)
    background.wait()
    assert [load(path).images_seen for path in sorted(tmp_path.glob("*.pt"))] == [1, 2]


def _refused(folder: Path) -> Background:
    """Has failed to write into `folder`, which is a file."""
    folder.write_text("in the way")
    background = Background(folder)
    background.save(_checkpoint(1))
    assert background._thread is not None
    background._thread.join()
    return background


@pytest.mark.parametrize("call", ["check", "wait", "save", "end"])
def test_a_refusal_of_the_disk_is_told_by_the_next_call_once(tmp_path: Path, call: str) -> None:
    background = _refused(tmp_path / "folder")
    with pytest.raises(RunError, match="could not be written"):
        if call == "save":
            background.save(_checkpoint(2))
        elif call == "end":
            with background:
                pass
        else:
            getattr(background, call)()
    background.check()
    (tmp_path / "folder").unlink()
    background.save(_checkpoint(2))
    background.wait()
    assert latest(tmp_path / "folder") is not None


def test_an_error_of_training_is_not_hidden_by_one_of_the_disk_and_waits_for_it(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), _refused(tmp_path / "folder"):
        raise KeyboardInterrupt
    disk = SlowDisk()
    with pytest.raises(ValueError, match="a bug"), Background(tmp_path, write=disk) as background:
        background.save(_checkpoint(1))
        threading.Timer(0.05, disk.gate.set).start()
        raise ValueError("a bug")
    assert disk.written == 1


def test_what_a_run_needs_beside_a_checkpoint_is_made_durable_before_it(tmp_path: Path) -> None:
    there: list[int] = []
    with Background(tmp_path, before=lambda: there.append(len(list(tmp_path.glob("*.pt"))))) as background:
        for images in (1, 2):
            background.save(_checkpoint(images), best=True)
    assert there == [0, 2], "before both files of each checkpoint"
