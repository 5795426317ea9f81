"""Digits, Fashion-MNIST and CIFAR-10: counts, pixels, splits and clear words when files are missing or wrong."""

import gzip
from pathlib import Path

import numpy as np
import pytest
import torch

from ddpm_exp.data import load, require
from ddpm_exp.data.fashion_mnist import DEBIAN
from ddpm_exp.spec.data import CIFAR10, Data, Digits, FashionMNIST, shape_of, training_images
from ddpm_exp.spec.errors import UserError

fashion = pytest.mark.skipif(not DEBIAN.is_dir(), reason="needs the Debian package dataset-fashion-mnist")


@pytest.mark.parametrize("data", [Digits(), Digits(image_size=16), Digits(subset=77), pytest.param(FashionMNIST(), marks=fashion)])
def test_the_spec_knows_shape_and_count_before_loading(data: Data) -> None:
    splits = load(data)
    assert len(splits.train) == training_images(data)
    for part in (splits.train, splits.held_out):
        assert tuple(part.x.shape[1:]) == shape_of(data)
        assert part.x.dtype == torch.uint8
        assert part.labels is not None
        assert sorted(set(part.labels.tolist())) == list(range(10))
        assert len(part.class_names) == 10


def test_digits_hold_out_every_fifth_image_and_use_all_levels_of_the_scan() -> None:
    from sklearn.datasets import load_digits

    published = load_digits()
    splits = load(Digits())
    assert (len(splits.train), len(splits.held_out)) == (1438, 359)
    assert splits.held_out.labels is not None
    assert splits.held_out.labels.tolist() == published.target[4::5].tolist()
    np.testing.assert_allclose(splits.held_out.x[:, 0].double().numpy() * 16 / 255, published.images[4::5], atol=0.032)
    assert int(splits.train.x.max()) == 255
    assert len(set(splits.train.x.flatten().tolist())) == 17


def test_larger_digits_are_the_same_pictures() -> None:
    small, large = load(Digits()).train.x, load(Digits(image_size=16)).train.x
    shrunk = torch.nn.functional.avg_pool2d(large.float(), 2)
    correlation = torch.corrcoef(torch.stack([small.float().flatten(), shrunk.flatten()]))[0, 1]
    assert float(correlation) > 0.97


@pytest.mark.system
@fashion
def test_fashion_mnist_gets_a_black_border_of_two_pixels() -> None:
    bare, bordered = load(FashionMNIST(image_size=28)), load(FashionMNIST(image_size=32))
    assert torch.equal(bordered.held_out.x[:, :, 2:30, 2:30], bare.held_out.x)
    assert int(bordered.train.x[:, :, [0, 1, 30, 31]].max()) == 0
    assert int(bordered.train.x[:, :, :, [0, 1, 30, 31]].max()) == 0
    assert bare.train.labels is not None
    assert [bare.train.class_names[k] for k in bare.train.labels[:4]] == ["ankle boot", "t-shirt", "t-shirt", "dress"]


@pytest.fixture
def unreachable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every download goes to a closed port of this machine, so it fails at once and for real."""
    for name in ("http_proxy", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)


@pytest.mark.parametrize(
    ("kind", "way_out"),
    [(FashionMNIST, "apt-get install dataset-fashion-mnist"), (CIFAR10, "cifar-10-python.tar.gz")],
)
def test_a_failed_download_says_where_it_looked_and_how_to_get_the_files(
    kind: type[FashionMNIST] | type[CIFAR10], way_out: str, tmp_path: Path, unreachable: None
) -> None:
    with pytest.raises(UserError) as caught:
        require(kind(root=str(tmp_path)))
    assert caught.value.field == "data.root"
    assert caught.value.value == str(tmp_path)
    assert caught.value.fix is not None
    assert way_out in caught.value.fix
    assert "downloading it failed" in str(caught.value)


def _idx(path: Path, values: np.ndarray, *, packed: bool) -> None:
    raw = bytes((0, 0, 8, values.ndim)) + b"".join(size.to_bytes(4, "big") for size in values.shape) + values.tobytes()
    path.write_bytes(gzip.compress(raw, 1) if packed else raw)


@pytest.fixture
def idx_folder(tmp_path: Path) -> Path:
    """Files as large as Fashion-MNIST's with random pixels in a part, two packed and two plain."""
    for name, count in (("train", 60_000), ("t10k", 10_000)):
        images = np.zeros((count, 28, 28), np.uint8)
        images[:100] = np.random.default_rng(0).integers(0, 256, (100, 28, 28))
        _idx(tmp_path / f"{name}-images-idx3-ubyte", images, packed=False)
        _idx(tmp_path / f"{name}-labels-idx1-ubyte.gz", (np.arange(count) % 10).astype(np.uint8), packed=True)
    return tmp_path


def test_fashion_mnist_is_read_from_a_folder_plain_or_packed(idx_folder: Path) -> None:
    require(FashionMNIST(root=str(idx_folder)))
    train = load(FashionMNIST(root=str(idx_folder), image_size=28)).train
    expected = np.random.default_rng(0).integers(0, 256, (100, 28, 28))
    assert np.array_equal(train.x[:100, 0].numpy(), expected)


def test_torchvisions_layout_below_the_root_is_found(idx_folder: Path, tmp_path: Path) -> None:
    raw = tmp_path / "FashionMNIST" / "raw"
    raw.mkdir(parents=True)
    for file in idx_folder.glob("*ubyte*"):
        file.rename(raw / file.name)
    require(FashionMNIST(root=str(tmp_path)))


def test_mnist_under_fashion_mnists_names_is_refused(idx_folder: Path) -> None:
    labels = (np.arange(60_000) % 10).astype(np.uint8)
    labels[0] = 1
    _idx(idx_folder / "train-labels-idx1-ubyte.gz", labels, packed=True)
    with pytest.raises(UserError, match="equally many images"):
        load(FashionMNIST(root=str(idx_folder)))


@pytest.mark.parametrize("damage", ["truncated", "not packed", "wrong size"])
def test_damaged_files_are_named(idx_folder: Path, damage: str) -> None:
    file = idx_folder / "t10k-labels-idx1-ubyte.gz"
    if damage == "truncated":
        file.write_bytes(file.read_bytes()[:-30])
    elif damage == "not packed":
        file.write_bytes(b"<html>not found</html>")
    else:
        _idx(file, np.zeros(7, np.uint8), packed=True)
    with pytest.raises(UserError) as caught:
        load(FashionMNIST(root=str(idx_folder)))
    assert caught.value.value == str(file)


def test_damaged_cifar10_is_named_instead_of_read(tmp_path: Path) -> None:
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    for name in ("batches.meta", "test_batch", *(f"data_batch_{k}" for k in range(1, 6))):
        (folder / name).write_bytes(b"damaged")
    require(CIFAR10(root=str(tmp_path)))
    with pytest.raises(UserError, match="checksums differ"):
        load(CIFAR10(root=str(tmp_path)))
