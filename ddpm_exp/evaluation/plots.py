"""Plots for people of data that are no images, as PNG bytes: drawn beside real, the same axes for both."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

_REAL, _DRAWN = "#9aa5b1", "#d9480f"
_MOST_COLUMNS = 12
_SHOWN = 24


def marginals(real: torch.Tensor, drawn: torch.Tensor, names: Sequence[str], title: str) -> bytes:
    """A histogram per column of real and drawn rows, [N, F] and [M, F] in the columns' own units, of at most 12 columns; then the
    first two against each other."""
    theirs, ours = real.numpy(), drawn.numpy()
    count = min(len(names), _MOST_COLUMNS)
    panels = count + (1 if len(names) >= 2 else 0)
    figure, axes = _panels(panels, title)
    for column in range(count):
        low, high = np.quantile(theirs[:, column], (0.0, 1.0))
        margin = 0.15 * (high - low) or 1.0
        bins = np.linspace(low - margin, high + margin, 31)
        for rows, colour in ((theirs, _REAL), (ours, _DRAWN)):
            values = np.clip(rows[:, column], bins[0], bins[-1])
            known = values[~np.isnan(values)]
            axes[column].hist(known, bins=bins, density=bool(len(known)), color=colour, alpha=0.6)
        axes[column].set_title(names[column], fontsize=8)
        axes[column].set_yticks([])
    if len(names) >= 2:
        for rows, colour in ((theirs, _REAL), (ours, _DRAWN)):
            axes[-1].scatter(rows[:500, 0], rows[:500, 1], s=4, color=colour, alpha=0.6)
        axes[-1].set_title(f"{names[1]} against {names[0]}", fontsize=8)
    return _png(figure)


def curves(real: torch.Tensor, drawn: torch.Tensor, captions: Sequence[str], title: str) -> bytes:
    """Rows of sequences [N, channels, length], each drawn one over a real one; `captions` name the rows that take turns."""
    shown = min(_SHOWN, len(drawn))
    figure, axes = _panels(shown, title)
    for place in range(shown):
        for sequence in real[place % len(real)].numpy():
            axes[place].plot(sequence, color=_REAL, linewidth=0.8)
        for sequence in drawn[place].numpy():
            axes[place].plot(sequence, color=_DRAWN, linewidth=1.0)
        axes[place].set_title(captions[place % len(captions)] if captions else "", fontsize=8)
        axes[place].set_xticks([])
    return _png(figure)


def clouds(real: torch.Tensor, drawn: torch.Tensor, captions: Sequence[str], title: str) -> bytes:
    """Clouds of points [N, dimensions, count] by their first two coordinates, a panel each: drawn, then real ones."""
    shown = min(_SHOWN // 2, len(drawn), len(real))
    figure, axes = _panels(2 * shown, title)
    extent = float(real[:, :2].abs().max()) * 1.1
    for place in range(shown):
        for axis, cloud, colour in ((axes[place], drawn[place], _DRAWN), (axes[shown + place], real[place], _REAL)):
            second = cloud[1] if len(cloud) > 1 else torch.zeros_like(cloud[0])
            axis.scatter(cloud[0], second, s=4, color=colour)
            axis.set(xlim=(-extent, extent), ylim=(-extent, extent), xticks=[], yticks=[], aspect="equal")
        axes[place].set_title(captions[place % len(captions)] if captions else "drawn", fontsize=8)
        axes[shown + place].set_title("real", fontsize=8)
    return _png(figure)


def _panels(count: int, title: str) -> tuple[Any, list[Any]]:
    """A figure without a window, and `count` panels in rows of six."""
    from matplotlib.figure import Figure

    columns = min(6, count)
    rows = -(-count // columns)
    figure = Figure(figsize=(2.0 * columns, 1.7 * rows + 0.5), layout="constrained")
    figure.suptitle(f"{title} (orange: drawn, grey: real)", fontsize=9)
    grid = figure.subplots(rows, columns, squeeze=False)
    axes = [axis for row in grid for axis in row]
    for axis in axes[count:]:
        axis.set_visible(False)
    for axis in axes:
        axis.tick_params(labelsize=6)
    return figure, axes[:count]


def _png(figure: Any) -> bytes:
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=100)
    return stream.getvalue()
