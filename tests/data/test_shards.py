"""Shards: the same images whether plain, packed or fetched; what is damaged is named."""

import http.server
import tarfile
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
import torch
from support.shard_files import add, write_shard, write_shards

from ddpm_exp.data.datasets import load, require
from ddpm_exp.data.place import Room
from ddpm_exp.data.shard_names import shards_of
from ddpm_exp.data.shards import index_shards
from ddpm_exp.spec.condition import ContinuousValues
from ddpm_exp.spec.data import Shards
from ddpm_exp.spec.errors import UserError

REAL = Path(__file__).parents[3] / "shared" / "data" / "cifar10-jpeg"


@pytest.fixture
def address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args: object) -> None: ...

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(tmp_path))) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def spec(train: str, tmp_path: Path, **fields: object) -> Shards:
    return Shards(train=train, image_size=8, cache=str(tmp_path / "cache"), **fields)  # type: ignore[arg-type]


def test_plain_packed_and_fetched_shards_give_the_same_images(tmp_path: Path, address: str) -> None:
    plain = load(spec(write_shards(tmp_path / "plain"), tmp_path))
    write_shards(tmp_path / "packed", ".tar.gz")
    packed = load(spec(str(tmp_path / "packed" / "*.tar.gz"), tmp_path))
    near = load(spec(f"{address}/plain/train-{{00..02}}.tar", tmp_path))
    far = load(spec(f"{address}/packed/train-{{00,01,02}}.tar.gz", tmp_path))
    assert len(plain.train) + len(plain.held_out) == 60
    for other in (packed, near, far):
        assert torch.equal(plain.train.x, other.train.x)
        assert torch.equal(plain.held_out.x, other.held_out.x)
        assert plain.fingerprint == other.fingerprint


def test_a_copy_is_made_once_and_anew_when_the_shard_changes(tmp_path: Path) -> None:
    data = spec(write_shards(tmp_path / "packed", ".tar.gz"), tmp_path)
    before = load(data)
    assert len(list((tmp_path / "cache").glob("*.tar"))) == 3
    load(data)
    assert len(list((tmp_path / "cache").glob("*.tar"))) == 3
    write_shard(tmp_path / "packed" / "train-01.tar.gz", ["0500", "0501"])
    after = load(data)
    assert len(after.train) + len(after.held_out) == 42
    assert after.fingerprint != before.fingerprint


@pytest.mark.parametrize("ending", [".cls", ".json"])
def test_classes_are_read_from_cls_and_json(tmp_path: Path, ending: str) -> None:
    path = write_shard(tmp_path / "a.tar", [f"{k:03d}" for k in range(9)], ending=ending)
    splits = load(spec(str(path), tmp_path, held_out=str(path), class_names=("red", "green", "blue")))
    assert splits.train.labels is not None
    assert splits.train.labels.bincount().tolist() == [3, 3, 3]
    assert splits.train.class_names == ("red", "green", "blue")
    assert torch.equal(splits.train.x, splits.held_out.x)


def test_the_fingerprint_does_not_depend_on_where_the_images_live(tmp_path: Path) -> None:
    data = spec(write_shards(tmp_path), tmp_path)
    inside, outside = load(data), load(data, None, Room(0, "asked"), 2)
    assert inside.stored is None
    assert outside.stored is not None
    assert inside.fingerprint == outside.fingerprint
    assert inside.training_images == outside.training_images == len(inside.train)
    assert torch.equal(outside.stored.decode(torch.arange(len(outside.stored))), inside.train.x)


def test_a_subset_is_the_same_wherever_the_images_live(tmp_path: Path) -> None:
    data = spec(write_shards(tmp_path), tmp_path, subset=12)
    inside, outside = load(data), load(data, None, Room(0, "asked"), 2)
    assert outside.stored is not None
    assert torch.equal(outside.stored.decode(torch.arange(12)), inside.train.x)
    assert inside.train.labels is not None
    assert inside.train.labels.bincount().tolist() == [4, 4, 4]


def test_a_shard_that_was_cut_off_is_named(tmp_path: Path) -> None:
    pattern = write_shards(tmp_path)
    path = tmp_path / "train-01.tar"
    path.write_bytes(path.read_bytes()[:9_000])
    with pytest.raises(UserError, match=r"train-01\.tar is damaged after 00\d+\.(png|cls)"):
        load(spec(pattern, tmp_path))


def test_a_packed_shard_that_was_cut_off_is_named_and_leaves_no_copy(tmp_path: Path) -> None:
    pattern = write_shards(tmp_path, ".tar.gz")
    path = tmp_path / "train-01.tar.gz"
    path.write_bytes(path.read_bytes()[:9_000])
    with pytest.raises(UserError, match=r"train-01\.tar\.gz is damaged or cut off"):
        load(spec(pattern, tmp_path))
    assert [path.suffix for path in (tmp_path / "cache").iterdir() if path.suffix != ".lock"] == [".tar"]


def test_an_image_that_cannot_be_decoded_is_named(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        add(tar, "good.cls", b"1")
        add(tar, "good.png", b"no image")
    write_shard(tmp_path / "b.tar", ["0001", "0002"])
    with pytest.raises(UserError, match=r"1 of 3 images cannot be read: a/good"):
        load(spec(str(tmp_path / "{a,b}.tar"), tmp_path, held_out=str(tmp_path / "b.tar")))


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({"1.png": b"x", "1.cls": b"0", "2.png": b"x"}, r"a/2 has no class .* but a/1 has one"),
        ({"1.png": b"x", "1.cls": b"7"}, r"class of a/1 is '7', which is not a number below 2"),
        ({"1.cls": b"0"}, r"a/1 of the shard .* has no image"),
        ({"1.png": b"x", "1.json": b"{"}, r"a\.tar is damaged after 1\.json"),
        ({"notes.txt": b"x"}, "has no image"),
    ],
)
def test_what_is_wrong_with_an_entry_is_said(tmp_path: Path, entries: dict[str, bytes], message: str) -> None:
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        for name, content in entries.items():
            add(tar, name, content)
    with pytest.raises(UserError, match=message):
        load(spec(str(tmp_path / "a.tar"), tmp_path, class_names=("x", "y")))


def test_missing_shards_are_named(tmp_path: Path, address: str) -> None:
    write_shards(tmp_path)
    with pytest.raises(UserError, match=r"train-03\.tar does not exist"):
        require(spec(str(tmp_path / "train-{00..03}.tar"), tmp_path))
    with pytest.raises(UserError, match="no file matches"):
        require(spec(str(tmp_path / "other-*.tar"), tmp_path))
    with pytest.raises(UserError, match=r"other\.tar cannot be read: HTTP Error 404"):
        load(spec(f"{address}/other.tar", tmp_path))


def test_values_of_images_that_stay_in_their_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="values are standardised over all"):
        load(spec(write_shards(tmp_path), tmp_path), ContinuousValues(names=("brightness",)), Room(0, "asked"), 2)


def test_a_pattern_names_its_shards_in_order() -> None:
    assert shards_of("http://a/{08..10}-{x,y}.tar", "data.train") == [
        f"http://a/{number}-{letter}.tar" for number in ("08", "09", "10") for letter in "xy"
    ]


@pytest.mark.skipif(not REAL.is_dir(), reason=f"{REAL} is not here")
def test_real_shards_of_cifar10_are_read(tmp_path: Path) -> None:
    train, held_out = index_shards(
        Shards(train=f"{REAL}/train-00000.tar.gz", held_out=f"{REAL}/test-*.tar.gz", cache=str(tmp_path))
    )
    assert (len(train), len(held_out)) == (10_000, 10_000)
    assert train.labels is not None
    assert train.labels.unique().tolist() == list(range(10))
    assert train.decode(torch.arange(20)).float().std() > 30
