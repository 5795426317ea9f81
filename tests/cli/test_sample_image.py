"""sample --image: an image file completed or made large, by the network of a recorded run."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image
from support.recorded_run import record, small

from ddpm_exp.spec.condition import ClassLabels, ImageCondition
from ddpm_exp.spec.model import MLP
from ddpm_exp.spec.vectors import Table
from ddpm_exp.workflow.load import load

Program = Callable[..., SimpleNamespace]

PIXELS = (np.arange(64).reshape(8, 8) * 3).astype(np.uint8)
LEFT = np.zeros((8, 8), np.uint8)
LEFT[:, :4] = 255
TABLE = {"data": Table(source="wine"), "model": MLP(hidden_dim=16, layers=1, time_embedding=8)}
SMALLER = ImageCondition(task="super-resolution", factor=2)


def run_of(folder: Path, **changes: Any) -> str:
    return str(record(folder / "runs", small(**changes)))


@pytest.fixture
def files(folder: Path) -> Path:
    """The working folder with image.png, and left.png, whose left half is white."""
    Image.fromarray(PIXELS).save(folder / "image.png")
    Image.fromarray(LEFT).save(folder / "left.png")
    return folder


@pytest.mark.parametrize(
    "changes", [{}, {"condition": ClassLabels()}, {"condition": ImageCondition()}], ids=["none", "class", "mask"]
)
def test_what_the_mask_knows_is_kept_and_the_rest_is_drawn(files: Path, program: Program, changes: dict[str, Any]) -> None:
    run = run_of(files, **changes)
    more = [] if changes.get("condition") == ImageCondition() else ["--resamples", "2"]
    done = program("sample", run, "-n", "3", "--image", "image.png", "--mask", "left.png", *more, "--out", "single/")
    assert done.exit_code == 0, done.stderr
    assert ("RePaint with 2 visits of each level" in done.stdout) == bool(more)
    drawn = [np.asarray(Image.open(files / "single" / f"{k:05d}.png")) for k in range(3)]
    for image in drawn:
        assert np.array_equal(image[:, :4], PIXELS[:, :4])
        assert not np.array_equal(image[:, 4:], PIXELS[:, 4:])
    assert not np.array_equal(drawn[0], drawn[1]), "each is another drawing"
    expected = load(run).restore(np.stack([PIXELS[None]] * 3), LEFT > 0, resamples=2).data
    assert np.array_equal(np.stack(drawn), np.asarray(expected)[:, 0])


def test_a_grid_begins_each_row_with_what_was_given(files: Path, program: Program) -> None:
    program("sample", run_of(files), "-n", "4", "--image", "image.png", "--mask", "left.png", "--resamples", "1")
    grid = np.asarray(Image.open(files / "samples.png").convert("L")).astype(int)
    columns = grid[4:-6:50, 14::50]
    assert columns.shape == (2, 3), "two rows of the given image and two drawings"
    left, top, tile, enlarged = 12, 2, 50, 6
    for row in range(2):
        shown = grid[top + row * tile :, left:][:48:enlarged, :48:enlarged]
        assert np.array_equal(shown[:, :4], PIXELS[:, :4])
        assert (abs(shown[:, 4:] - 128) <= 1).all(), "what was hidden is grey"


def test_larger_files_in_colour_are_made_square_and_of_the_runs_size(files: Path, program: Program) -> None:
    image = np.zeros((40, 80, 3), np.uint8)
    image[:, 20:60] = (255, 255, 255)
    mask = np.full((40, 80), 255, np.uint8)
    mask[20:, 20:60] = 0
    Image.fromarray(image).save(files / "wide.jpg")
    Image.fromarray(mask).save(files / "wide_mask.png")
    words = ["--image", "wide.jpg", "--mask", "wide_mask.png", "--resamples", "1", "--out", "drawn.npy"]
    assert program("sample", run_of(files), "-n", "1", *words).exit_code == 0
    drawn = np.load(files / "drawn.npy")
    assert drawn.shape == (1, 1, 8, 8)
    assert (drawn[0, 0, :3] > 230).all() and not (drawn[0, 0, 5:] > 230).all()


@pytest.mark.parametrize("side", [4, 8, 20])
def test_super_resolution_takes_the_small_image_or_a_full_one(files: Path, program: Program, side: int) -> None:
    run = run_of(files, condition=SMALLER)
    few = (np.arange(16).reshape(4, 4) * 15).astype(np.uint8)
    image = few if side == 4 else np.kron(few, np.ones((side // 4, side // 4), np.uint8))
    Image.fromarray(image).save(files / "small.png")
    assert program("sample", run, "-n", "2", "--image", "small.png", "--out", "large.npy").exit_code == 0
    expected = load(run).upscale(np.stack([few[None]] * 2)).data
    drawn = np.load(files / "large.npy")
    assert drawn.shape == (2, 1, 8, 8)
    if side < 20:  # from 20 pixels, Lanczos makes another image
        assert np.abs(drawn.astype(int) - np.asarray(expected).astype(int)).max() <= 1


def test_the_facts_name_the_files_and_what_led(files: Path, program: Program) -> None:
    words = ["-n", "1", "--image", "image.png", "--mask", "left.png", "--json", "--force"]
    facts = json.loads(program("sample", run_of(files), *words).stdout)
    assert (facts["image"], facts["mask"], facts["resamples"]) == ("image.png", "left.png", 10)
    facts = json.loads(program("sample", run_of(files, condition=ImageCondition()), *words).stdout)
    assert (facts["image"], facts["mask"], facts["resamples"]) == ("image.png", "left.png", None)


@pytest.mark.parametrize(
    ("changes", "words", "text"),
    [
        ({}, ["--mask", "left.png"], "--mask = 'left.png': means nothing here"),
        ({}, ["--resamples", "3"], "--resamples = 3: means nothing here"),
        ({}, ["--image", "image.png"], "--mask: is missing"),
        ({"condition": ImageCondition()}, ["--image", "image.png"], "--mask: is missing"),
        ({"condition": SMALLER}, ["--image", "image.png", "--mask", "left.png"], "--mask = 'left.png': this network makes small"),
        ({"condition": SMALLER}, ["--image", "image.png", "--resamples", "3"], "--resamples = 3: means nothing here"),
        ({"condition": SMALLER}, ["--image", "none.png"], "--image = 'none.png': there is no such file"),
        (TABLE, ["--image", "image.png", "--mask", "left.png"], "--image = 'image.png': this network draws no images"),
        ({}, ["--image", "none.png", "--mask", "left.png"], "--image = 'none.png': there is no such file"),
        ({}, ["--image", "image.png", "--mask", "none.png"], "--mask = 'none.png': there is no such file"),
        ({}, ["--image", "text.png", "--mask", "left.png"], "--image = 'text.png': it cannot be read as an image (no format"),
        ({}, ["--image", "cut.png", "--mask", "left.png"], "--image = 'cut.png': it cannot be read as an image ("),
        ({}, ["--image", "runs", "--mask", "left.png"], "--image = 'runs': it cannot be read as an image (Is a directory)"),
        ({}, ["--image", "image.png", "--mask", "wide.png"], "--mask = 'wide.png': it is 9x8 pixels and the image is 8x8"),
        (
            {},
            ["--image", "image.png", "--mask", "white.png"],
            "--mask = 'white.png': at the network's 8x8 pixels nothing",
        ),
        (
            {},
            ["--image", "image.png", "--mask", "black.png"],
            "--mask = 'black.png': at the network's 8x8 pixels nothing",
        ),
        (
            {},
            ["--image", "image.png", "--mask", "image.png"],
            "--mask = 'image.png': a mask is black and white, and 66% of this one",
        ),
    ],
)
def test_mistakes_are_one_message_and_nothing_is_drawn(
    files: Path, program: Program, changes: dict[str, Any], words: list[str], text: str
) -> None:
    (files / "text.png").write_text("no image")
    (files / "cut.png").write_bytes((files / "image.png").read_bytes()[:50])
    for name, light in (("white", 255), ("black", 0)):
        Image.fromarray(np.full((8, 8), light, np.uint8)).save(files / f"{name}.png")
    Image.fromarray(np.zeros((8, 9), np.uint8)).save(files / "wide.png")
    done = program("sample", run_of(files, **changes), "-n", "1", *words)
    assert done.exit_code == 2 and done.stdout == ""
    assert done.stderr.startswith(f"error: {text}") and "fix: " in done.stderr
    assert not list(files.glob("samples.*"))


def test_each_of_several_images_has_a_row_with_its_own(files: Path) -> None:
    both = np.stack([PIXELS[None], 255 - PIXELS[None]])
    restored = load(run_of(files)).restore(both, LEFT > 0, resamples=1)
    assert restored.given is not None and restored.given.shape == (2, 1, 8, 8)
    image = Image.open(restored.save(files / "both.png"))
    assert image.size == (12 + 2 * 50, 2 + 2 * 50)
