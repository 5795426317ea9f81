"""Images decoded by workers are those that lie on the device, bit for bit, in the same order, wherever a run begins."""

import gc
import shutil
from pathlib import Path

import psutil
import pytest
import torch
from support.shard_files import write_shards

from ddpm_exp.data.batches import Batches
from ddpm_exp.data.datasets import load
from ddpm_exp.data.examples import Splits
from ddpm_exp.data.loader import Loaded, Slice
from ddpm_exp.data.order import index_of
from ddpm_exp.data.place import Room, room_for, stays_in_files
from ddpm_exp.data.source import batch_of
from ddpm_exp.diffusion.draws import uniform
from ddpm_exp.spec.data import ImageFolder, Shards
from ddpm_exp.spec.errors import RunError

STEP = 16


@pytest.fixture
def shards(tmp_path: Path) -> Shards:
    return Shards(train=write_shards(tmp_path), image_size=8)


def in_files(data: Shards | ImageFolder) -> Splits:
    return load(data, None, Room(0, "asked"), 2)


def loaded(splits: Splits, *, rank: int = 0, ranks: int = 1, workers: int = 2) -> Loaded:
    assert splits.stored is not None
    share = STEP // ranks
    return Loaded(splits.stored, 5, True, "cpu", uniform, part=Slice(STEP, share, rank * share), workers=workers)


def same(source: Loaded, other: Batches, first: int, count: int, micro: int) -> None:
    for start in range(first, first + count, micro):
        ordinals = torch.arange(start, start + micro)
        mine, theirs = batch_of(source, ordinals), batch_of(other, ordinals)
        assert torch.equal(mine.x0, theirs.x0)
        assert mine.labels is not None
        assert theirs.labels is not None
        assert torch.equal(mine.labels, theirs.labels)


@pytest.mark.parametrize("workers", [0, 2])
def test_workers_give_the_images_of_the_device_bit_for_bit_over_epochs(shards: Shards, workers: int) -> None:
    same(loaded(in_files(shards), workers=workers), Batches(load(shards).train, 5, True, "cpu", uniform), 0, 160, 8)


def test_workers_give_the_images_of_a_folder_bit_for_bit(tmp_path: Path) -> None:
    from PIL import Image

    for number in range(30):
        path = tmp_path / "ab"[number % 2] / f"{number}.png"
        path.parent.mkdir(exist_ok=True)
        Image.new("RGB", (9, 11), (number, 2 * number, 200 - number)).save(path)
    data = ImageFolder(root=str(tmp_path), image_size=8)
    splits = in_files(data)
    assert splits.stored is not None
    whole = load(data)
    assert splits.training_images == len(whole.train)
    assert torch.equal(splits.held_out.x, whole.held_out.x)
    same(loaded(splits), Batches(whole.train, 5, True, "cpu", uniform), 0, 64, 16)


def test_a_resumed_run_sees_what_the_straight_one_would_have_seen(shards: Shards) -> None:
    straight, splits = loaded(in_files(shards)), in_files(shards)
    seen = [batch_of(straight, torch.arange(first, first + 8)).x0 for first in range(0, 160, 8)]
    before = loaded(splits)
    parts = [batch_of(before, torch.arange(first, first + 8)).x0 for first in range(0, 80, 8)]
    del before
    after = loaded(splits)  # k was 80, of which workers had prepared more
    parts += [batch_of(after, torch.arange(first, first + 8)).x0 for first in range(80, 160, 8)]
    assert all(torch.equal(one, other) for one, other in zip(seen, parts, strict=True))


def test_going_back_within_one_process_gives_the_same_images_again(shards: Shards) -> None:
    source = loaded(in_files(shards))
    first = [batch_of(source, torch.arange(start, start + 8)).x0 for start in range(0, 48, 8)]
    again = [batch_of(source, torch.arange(start, start + 4)).x0 for start in range(16, 48, 4)]
    assert torch.equal(torch.cat(first[2:]), torch.cat(again))


def test_two_ranks_of_two_workers_see_every_ordinal_of_an_epoch_once(shards: Shards) -> None:
    splits = in_files(shards)
    assert splits.stored is not None
    count = len(splits.stored)
    ranks = [loaded(splits, rank=rank, ranks=2) for rank in range(2)]
    seen: dict[int, torch.Tensor] = {}
    for step in range(0, count + STEP, STEP):
        for rank, source in enumerate(ranks):
            for first in range(step + rank * 8, step + rank * 8 + 8, 4):
                ordinals = torch.arange(first, first + 4)
                (pixels, _labels) = source.fetch(ordinals)
                for ordinal, image in zip(ordinals.tolist(), pixels, strict=True):
                    assert ordinal not in seen
                    seen[ordinal] = image
    index = index_of(5, torch.arange(count), count)
    assert sorted(index.tolist()) == list(range(count))
    whole = load(shards).train.x
    assert all(torch.equal(seen[ordinal], whole[index[ordinal]]) for ordinal in range(count))


def test_the_ordinals_that_are_prepared_are_those_that_a_step_asks_for() -> None:
    batches = Slice(images_per_step=12, share=6, start=6).batches(first=20, size=4)
    assert [next(batches) for _ in range(3)] == [[20, 21, 22, 23], [30, 31, 32, 33], [34, 35]]


def test_an_image_that_is_damaged_during_a_run_is_named(shards: Shards, tmp_path: Path) -> None:
    splits = in_files(shards)
    (tmp_path / "train-00.tar").write_bytes(b"\0" * (tmp_path / "train-00.tar").stat().st_size)
    source = loaded(splits)
    with pytest.raises(RunError, match=r"cannot be read: train-00/00\d\d"):
        for first in range(0, 48, 8):
            source.fetch(torch.arange(first, first + 8))


def test_a_shard_that_vanishes_during_a_run_is_an_error_that_names_it(shards: Shards, tmp_path: Path) -> None:
    splits = in_files(shards)
    shutil.move(tmp_path / "train-01.tar", tmp_path / "elsewhere")
    source = loaded(splits)
    with pytest.raises(RunError, match=r"train-01/00\d\d .*No such file"):
        for first in range(0, 48, 8):
            source.fetch(torch.arange(first, first + 8))


def test_time_that_was_waited_for_data_is_counted(shards: Shards) -> None:
    source = loaded(in_files(shards), workers=0)
    source.fetch(torch.arange(8))
    assert source.waited > 0


def test_images_stay_in_files_when_they_exceed_their_share_of_memory() -> None:
    gpu = room_for("auto", device_bytes=40_000, host_bytes=100_000)
    assert gpu.bytes == 10_000
    assert not stays_in_files(10_000, gpu)
    assert stays_in_files(10_001, gpu)
    assert room_for("auto", device_bytes=400_000, host_bytes=100_000).bytes == 40_000
    assert room_for("auto", device_bytes=None, host_bytes=100_000).bytes == 40_000
    assert not stays_in_files(10**15, room_for("device", device_bytes=None, host_bytes=1))
    assert stays_in_files(1, room_for("workers", device_bytes=None, host_bytes=10**15))


def test_workers_end_with_their_source_even_if_it_is_part_of_a_cycle(shards: Shards) -> None:
    before = {child.pid for child in psutil.Process().children(recursive=True)}
    source = loaded(in_files(shards))
    source.fetch(torch.arange(4))
    workers = [child for child in psutil.Process().children(recursive=True) if child.pid not in before]
    assert len(workers) == 2
    source.itself = source  # type: ignore[attr-defined]
    del source
    gc.collect()
    _, alive = psutil.wait_procs(workers, timeout=5)
    for worker in alive:
        worker.kill()
    assert not alive
