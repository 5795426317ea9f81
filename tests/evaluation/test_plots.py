"""Plots of data that are no images show drawn and real on the same axes, whatever the columns, channels and dimensions."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from ddpm_exp.evaluation import plots
from ddpm_exp.evaluation.plots import clouds, curves, marginals


def _opened(png: bytes) -> np.ndarray:
    picture = Image.open(io.BytesIO(png))
    assert picture.format == "PNG"
    return np.asarray(picture.convert("RGB")).astype(int)


def _redder(picture: np.ndarray, by: int) -> int:
    """Pixels whose red exceeds their blue; lines and letters are neither, and grey is a little blue."""
    return int((np.sign(by) * (picture[..., 0] - picture[..., 2]) > abs(by)).sum())


def _normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def panels(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The axes of whatever is plotted, in place of the picture, which takes a second to paint."""
    seen: list[Any] = []
    made = plots._panels
    monkeypatch.setattr(plots, "_png", lambda figure: b"")

    def remembering(count: int, title: str) -> tuple[Any, list[Any]]:
        figure, axes = made(count, title)
        seen.extend(axes)
        return figure, axes

    monkeypatch.setattr(plots, "_panels", remembering)
    return seen


@pytest.mark.parametrize(
    "painted",
    [
        lambda: marginals(_normal(60, 7).double(), _normal(30, 7, seed=1).double(), [f"column {k}" for k in range(7)], "title"),
        lambda: curves(_normal(3, 2, 16), _normal(8, 2, 16), ["sine"], "title"),
        lambda: clouds(_normal(4, 3, 9), _normal(9, 3, 9), [], "title"),
    ],
    ids=["marginals", "curves", "clouds"],
)
def test_a_plot_is_a_picture_of_six_panels_a_row_with_grey_for_real_and_orange_for_drawn(painted: Callable[[], bytes]) -> None:
    picture = _opened(painted())
    assert picture.shape == (2 * 170 + 50, 6 * 200, 3), "eight panels in two rows"
    assert _redder(picture, 60) > 100 and _redder(picture, -8) > 100


@pytest.mark.parametrize(("columns", "expected"), [(1, 1), (2, 3), (5, 6), (12, 13), (30, 13)])
def test_a_table_has_a_panel_per_column_of_twelve_and_one_of_the_first_two_against_each_other(
    columns: int, expected: int, panels: list[Any]
) -> None:
    names = [f"column {k}" for k in range(columns)]
    marginals(_normal(60, columns).double(), _normal(30, columns, seed=1).double(), names, "title")
    assert len(panels) == expected
    assert [axis.get_title() for axis in panels[: min(12, columns)]] == names[:12]


def test_histograms_of_drawn_and_real_have_the_same_bins_and_what_lies_outside_is_at_the_ends(panels: list[Any]) -> None:
    real, drawn = torch.linspace(0, 1, 50)[:, None].double(), torch.full((20, 1), 100.0, dtype=torch.float64)
    marginals(real, drawn, ["x"], "")
    bars = [(bar.get_x(), bar.get_height()) for bar in panels[0].patches]
    ours, theirs = bars[30:], bars[:30]
    assert [x for x, _ in ours] == [x for x, _ in theirs]
    assert [height > 0 for _, height in ours] == [False] * 29 + [True]


def test_a_column_that_is_the_same_in_all_real_rows_has_a_picture(panels: list[Any]) -> None:
    marginals(torch.ones(10, 2).double(), _normal(10, 2).double(), ["a", "b"], "")
    assert len(panels) == 3


@pytest.mark.parametrize(("drawn", "channels", "expected"), [(5, 1, 5), (24, 2, 24), (60, 1, 24)])
def test_each_drawn_sequence_lies_over_a_real_one_channel_by_channel(
    drawn: int, channels: int, expected: int, panels: list[Any]
) -> None:
    real, ours = _normal(7, channels, 16), _normal(drawn, channels, 16, seed=1)
    curves(real, ours, ["sine", "square"], "title")
    assert len(panels) == expected
    for place, axis in enumerate(panels):
        lines = [line.get_ydata() for line in axis.lines]
        np.testing.assert_array_equal(lines, np.concatenate([real[place % 7], ours[place]]))
    assert [axis.get_title() for axis in panels[:3]] == ["sine", "square", "sine"]


@pytest.mark.parametrize("dimensions", [1, 2, 3])
def test_drawn_clouds_come_before_real_ones_on_the_same_axes(dimensions: int, panels: list[Any]) -> None:
    real, ours = _normal(20, dimensions, 9), _normal(30, dimensions, 9, seed=1)
    clouds(real, ours, [], "title")
    assert len(panels) == 24
    assert [axis.get_title() for axis in panels] == ["drawn"] * 12 + ["real"] * 12
    assert len({(axis.get_xlim(), axis.get_ylim()) for axis in panels}) == 1
    for axis, cloud in zip(panels, [*ours[:12], *real[:12]], strict=True):
        second = cloud[1] if dimensions > 1 else torch.zeros(9)
        np.testing.assert_array_equal(axis.collections[0].get_offsets(), torch.stack([cloud[0], second], dim=1))


def test_few_clouds_have_few_panels(panels: list[Any]) -> None:
    clouds(_normal(2, 2, 5), _normal(30, 2, 5), ["circle"], "")
    assert [axis.get_title() for axis in panels] == ["circle", "circle", "real", "real"]


@pytest.mark.filterwarnings("error")
def test_samples_that_are_not_finite_have_a_picture_too() -> None:
    nothing = torch.full((4, 2), torch.nan, dtype=torch.float64)
    _opened(marginals(_normal(10, 2).double(), nothing, ["a", "b"], ""))
    _opened(curves(_normal(4, 1, 8), torch.full((4, 1, 8), torch.nan), [], ""))
    _opened(clouds(_normal(4, 2, 8), torch.full((4, 2, 8), torch.inf), [], ""))
