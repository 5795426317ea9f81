"""A user's folder: which files count, how they become squares, who is held out, and what a mistake is told."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from ddpm_exp.data import load, require
from ddpm_exp.data.square import square_pixels
from ddpm_exp.spec.data import ImageFolder
from ddpm_exp.spec.errors import UserError


def _noise(path: Path, seed: int = 0, size: tuple[int, int] = (12, 12)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)


@pytest.fixture
def pets(tmp_path: Path) -> Path:
    for k in range(20):
        _noise(tmp_path / "cat" / f"{k}.png", k)
        _noise(tmp_path / "dog" / "puppies" / f"{k}.JPG", 100 + k)
    return tmp_path


def _folder(root: Path, **changes: object) -> ImageFolder:
    return ImageFolder(root=str(root), image_size=8).but(**changes)


def test_first_level_folders_are_the_classes_and_deeper_files_belong_to_them(pets: Path) -> None:
    require(_folder(pets))
    splits = load(_folder(pets, held_out_share=0.25))
    assert splits.train.class_names == ("cat", "dog")
    assert splits.train.labels is not None
    assert splits.held_out.labels is not None
    both = torch.cat([splits.train.labels, splits.held_out.labels])
    assert both.bincount().tolist() == [20, 20]
    assert splits.train.x.shape[1:] == (3, 8, 8)


def test_every_image_file_counts_but_hidden_and_other_files_do_not(pets: Path) -> None:
    for name in ("cat/x.webp", "cat/x.bmp", "cat/x.jpeg"):
        _noise(pets / name)
    _noise(pets / ".thumbnails" / "0.png")
    (pets / "cat" / "._0.png").write_bytes(b"resource fork")
    (pets / "notes.txt").write_text("no image")
    splits = load(_folder(pets))
    assert len(splits.train) + len(splits.held_out) == 43


def test_a_loose_image_means_no_classes(pets: Path) -> None:
    _noise(pets / "loose.png")
    splits = load(_folder(pets))
    assert splits.train.labels is None
    assert splits.train.class_names == ()


def test_linked_folders_are_followed_once(pets: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    elsewhere = tmp_path_factory.mktemp("birds")
    for k in range(3):
        _noise(elsewhere / f"{k}.png", 200 + k)
    (pets / "bird").symlink_to(elsewhere)
    (pets / "cat" / "loop").symlink_to(pets)
    splits = load(_folder(pets))
    assert splits.train.class_names == ("bird", "cat", "dog")
    assert len(splits.train) + len(splits.held_out) == 43


def test_adding_images_moves_none_across_the_split(pets: Path) -> None:
    before = load(_folder(pets, held_out_share=0.3))
    for k in range(20, 30):
        _noise(pets / "cat" / f"{k}.png", k)
    after = load(_folder(pets, held_out_share=0.3))
    for part in ("train", "held_out"):
        old = {image.numpy().tobytes() for image in getattr(before, part).x}
        assert old <= {image.numpy().tobytes() for image in getattr(after, part).x}
    assert 0.1 < len(after.held_out) / 50 < 0.5


def test_moving_the_folder_changes_neither_split_nor_fingerprint(pets: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    before = load(_folder(pets)).fingerprint
    moved = tmp_path_factory.mktemp("moved") / "pets"
    pets.rename(moved)
    assert load(_folder(moved)).fingerprint == before


def test_even_two_images_leave_one_on_each_side(tmp_path: Path) -> None:
    for k in range(2):
        _noise(tmp_path / f"{k}.png", k)
    splits = load(_folder(tmp_path, held_out_share=0.5))
    assert (len(splits.train), len(splits.held_out)) == (1, 1)
    (tmp_path / "1.png").unlink()
    with pytest.raises(UserError, match="single image"):
        load(_folder(tmp_path))


def test_unreadable_images_are_named_and_counted_in_one_error(pets: Path) -> None:
    for k in range(3):
        (pets / "cat" / f"{k}.png").write_bytes(b"not an image")
    for k in range(4):
        file = pets / "dog" / "puppies" / f"{k}.JPG"
        file.write_bytes(file.read_bytes()[: len(file.read_bytes()) // 2])
    require(_folder(pets))
    with pytest.raises(UserError) as caught:
        load(_folder(pets))
    text = str(caught.value)
    assert "7 of 40 images cannot be read" in text
    assert "cat/0.png" in text
    assert "dog/puppies/1.JPG" in text
    assert "dog/puppies/2.JPG" not in text
    assert "and 2 more" in text
    assert "remove these files" in text


def test_missing_folders_files_and_empty_folders_are_told_apart(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file.png").write_bytes(b"")
    for name, word in (("absent", "does not exist"), ("file.png", "is a file"), ("empty", "holds no image")):
        with pytest.raises(UserError, match=word) as caught:
            require(_folder(tmp_path / name))
        assert caught.value.field == "data.root"
        assert caught.value.fix


def test_more_pixels_than_memory_are_refused_before_reading(tmp_path: Path) -> None:
    for k in range(3):
        _noise(tmp_path / f"{k}.png", k)
    from ddpm_exp.data.folder import _require_memory

    with pytest.raises(UserError, match="GB are free"):
        _require_memory(_folder(tmp_path), 10**15)


def test_the_centre_is_kept_and_the_shorter_side_resized(tmp_path: Path) -> None:
    pixels = np.zeros((16, 48, 3), np.uint8)
    pixels[:, :16], pixels[:, 16:32], pixels[:, 32:] = (255, 0, 0), (0, 255, 0), (0, 0, 255)
    Image.fromarray(pixels).save(tmp_path / "wide.png")
    Image.fromarray(pixels.transpose(1, 0, 2)).save(tmp_path / "tall.png")
    for name in ("wide", "tall"):
        square = square_pixels(tmp_path / f"{name}.png", 8, 3)
        assert square.shape == (3, 8, 8)
        green = np.array([0, 255, 0], np.uint8)[:, None, None]
        assert np.abs(square[:, 2:6, 2:6].astype(int) - green).max() <= 1
        assert np.abs(square.astype(int) - green).max() < 20  # the filter reads a little beyond the crop


def test_shrinking_is_antialiased(tmp_path: Path) -> None:
    stripes = np.zeros((64, 64), np.uint8)
    stripes[:, ::2] = 255
    Image.fromarray(stripes).save(tmp_path / "stripes.png")
    square = square_pixels(tmp_path / "stripes.png", 16, 1)
    assert np.abs(square[:, :, 1:-1].astype(int) - 127).max() <= 6


def test_an_image_of_the_right_size_is_not_resampled(tmp_path: Path) -> None:
    _noise(tmp_path / "a.png", size=(8, 8))
    published = np.asarray(Image.open(tmp_path / "a.png")).transpose(2, 0, 1)
    assert np.array_equal(square_pixels(tmp_path / "a.png", 8, 3), published)


def test_grey_palette_transparent_and_16_bit_images_keep_their_looks(tmp_path: Path) -> None:
    ramp = np.tile(np.linspace(0, 65535, 8).round().astype(np.uint16), (8, 1))
    grey = np.round(ramp / 257).astype(np.uint8)
    Image.fromarray(ramp).save(tmp_path / "deep.png")
    Image.fromarray(grey).save(tmp_path / "grey.png")
    Image.fromarray(grey).convert("P").save(tmp_path / "palette.png")
    for name in ("deep", "grey", "palette"):
        assert np.array_equal(square_pixels(tmp_path / f"{name}.png", 8, 1)[0], grey), name
        assert np.array_equal(square_pixels(tmp_path / f"{name}.png", 8, 3)[2], grey), name
    Image.new("RGBA", (8, 8), (255, 0, 0, 0)).save(tmp_path / "clear.png")
    assert square_pixels(tmp_path / "clear.png", 8, 3).min() == 255


def test_photos_stand_upright_by_their_exif_tag(tmp_path: Path) -> None:
    pixels = np.zeros((8, 8, 3), np.uint8)
    pixels[0] = 255
    exif = Image.Exif()
    exif[0x0112] = 3
    Image.fromarray(pixels).save(tmp_path / "turned.png", exif=exif)
    square = square_pixels(tmp_path / "turned.png", 8, 3)
    assert square[:, -1].min() == 255
    assert square[:, 0].max() == 0


def test_the_first_images_of_a_set_are_of_every_class(pets: Path) -> None:
    """By name they would be sorted by class, and evaluation takes the first so many."""
    train = load(_folder(pets)).train
    assert train.labels is not None
    assert set(train.labels[:8].tolist()) == set(train.labels.tolist())
