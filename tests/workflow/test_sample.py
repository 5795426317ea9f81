"""Samples as files: lossless, typed, whole or absent, and never in another file's place unasked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from support.recorded_run import record, small

from ddpm_exp.spec.condition import ClassLabels, Unconditional
from ddpm_exp.spec.errors import UserError
from ddpm_exp.spec.model import MLP, DiT
from ddpm_exp.spec.vectors import Points, Sequences, Table
from ddpm_exp.workflow.load import load
from ddpm_exp.workflow.samples import Samples

WINE = {"data": Table(source="wine"), "condition": ClassLabels(), "model": MLP(hidden_dim=16, layers=1, time_embedding=8)}
PIXELS = torch.arange(256, dtype=torch.float32)[: 5 * 12].reshape(5, 1, 3, 4) * 4 / 127.5 - 1


def images(captions: tuple[str, ...] = ()) -> Samples:
    """Five images of 3x4 pixels, all different."""
    return Samples(PIXELS, None, captions)


@pytest.fixture
def wine(tmp_path: Path) -> Samples:
    """Six rows of the wine table, of two classes in turn."""
    return load(record(tmp_path / "runs", small(**WINE))).sample(6, [0, 2])


def test_a_grid_holds_every_image_in_order(tmp_path: Path) -> None:
    path = images().save(tmp_path / "grid.png")
    sheet = np.asarray(Image.open(path).convert("L"))
    factor = 12  # 4 pixels enlarged to 48
    tile = {(row, column): sheet[2 + row * 38 :, 12 + column * 50 :] for row in range(2) for column in range(3)}
    for number, image in enumerate(images().data[:, 0].numpy()):  # type: ignore[union-attr,index]
        shown = tile[divmod(number, 3)][: 3 * factor : factor, : 4 * factor : factor]
        assert np.array_equal(shown, image)
    assert (tile[1, 2][: 3 * factor, : 4 * factor] == 255).all(), "the rest is white"


def test_a_row_of_the_grid_is_what_was_said_the_same() -> None:
    rows, captions, title = Samples(PIXELS[:4], None, ("a", "b", "a", "b"))._rows()
    assert (captions, title) == (["a", "b"], "")
    assert torch.equal(rows, PIXELS[torch.tensor([[0, 2], [1, 3]])])
    assert images(("a", "a", "b", "b", "b"))._rows()[1:] == ([], ""), "unequal shares"
    assert images(("a",) * 5)._rows()[2] == "a"


def test_single_images_are_one_lossless_file_each(tmp_path: Path) -> None:
    folder = images().save(f"{tmp_path}/single/")
    assert [file.name for file in sorted(folder.iterdir())] == [f"{k:05d}.png" for k in range(5)]
    found = np.stack([np.asarray(Image.open(file)) for file in sorted(folder.iterdir())])
    assert np.array_equal(found, images().data[:, 0].numpy())  # type: ignore[union-attr,index]
    colour = Samples(torch.rand(1, 3, 4, 4) * 2 - 1, None).save(f"{tmp_path}/colour/")
    assert Image.open(colour / "00000.png").mode == "RGB"


def test_a_table_comes_back_with_names_and_types_and_what_was_said(wine: Samples, tmp_path: Path) -> None:
    back = pd.read_csv(wine.save(tmp_path / "wine.csv"))
    data = wine.data
    assert isinstance(data, pd.DataFrame)
    pd.testing.assert_frame_equal(back.drop(columns="condition"), data)
    assert list(back["condition"]) == ["cultivar 0", "cultivar 2"] * 3
    assert pd.api.types.is_integer_dtype(back["proline"])


@pytest.mark.parametrize(
    ("changes", "columns"),
    [
        ({"data": Sequences(), "model": DiT(width=16, depth=1, heads=2, patch=4)}, ("step_0", "step_1")),
        ({"data": Points(), "model": DiT(width=16, depth=1, heads=2)}, ("point_0_x", "point_0_y")),
    ],
    ids=["sequences", "points"],
)
def test_sequences_and_points_are_a_row_each(tmp_path: Path, changes: dict[str, Any], columns: tuple[str, ...]) -> None:
    samples = load(record(tmp_path, small(**changes))).sample(3)
    back = pd.read_csv(samples.save(tmp_path / "drawn.csv"))
    assert tuple(back.columns[:2]) == columns and len(back) == 3
    assert np.allclose(back.to_numpy(), np.asarray(samples.data).reshape(3, -1))
    assert np.array_equal(np.load(samples.save(tmp_path / "drawn.npy")), samples.data)


def test_arrays_are_the_data_and_never_pickles(wine: Samples, tmp_path: Path) -> None:
    assert np.array_equal(np.load(images().save(tmp_path / "i.npy")), images().data)
    assert np.load(wine.save(tmp_path / "w.npy"), allow_pickle=False).shape == (6, 13)
    mixed = load(record(tmp_path / "mixed", small(**WINE | _mixed(tmp_path)))).sample(2)
    with pytest.raises(UserError, match="text"):
        mixed.save(tmp_path / "mixed.npy")
    assert not (tmp_path / "mixed.npy").exists()


def _mixed(folder: Path) -> dict[str, Any]:
    file = folder / "mixed.csv"
    pd.DataFrame({"a": np.arange(30.0), "b": ["x", "y", "z"] * 10}).to_csv(file, index=False)
    return {"data": Table(source=str(file)), "condition": Unconditional()}


@pytest.mark.parametrize("name", ["drawn.csv", "drawn.jpg", "drawn"])
def test_images_take_no_other_ending(tmp_path: Path, name: str) -> None:
    with pytest.raises(UserError, match=r"\.png") as refused:
        images().save(tmp_path / name)
    assert refused.value.fix == "name a file such as samples.png"


def test_rows_take_no_picture(wine: Samples, tmp_path: Path) -> None:
    for name in ("wine.png", "wine/"):
        with pytest.raises(UserError, match=r"\.csv"):
            wine.save(f"{tmp_path}/{name}")


def test_nothing_is_replaced_unasked(tmp_path: Path) -> None:
    path, folder = tmp_path / "grid.png", tmp_path / "single"
    path.write_text("mine")
    folder.mkdir()
    (folder / "mine.txt").write_text("mine")
    for target in (str(path), f"{folder}/"):
        with pytest.raises(UserError, match="something"):
            images().save(target)
    assert path.read_text() == "mine" and len(list(folder.iterdir())) == 1
    images().save(path, force=True)
    assert path.read_bytes().startswith(b"\x89PNG")
    images().save(f"{folder}/", force=True)
    Samples(PIXELS[:2], None).save(f"{folder}/", force=True)
    assert sorted(file.name for file in folder.iterdir()) == ["00000.png", "00001.png", "mine.txt"]
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(UserError, match="this is a folder"):
        images().save(tmp_path / "folder.png", force=True)
