"""Data made on the spot, the same on every machine: damped waves, outlines as clouds of points, mixtures of Gaussians."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from ddpm_exp.data.scaled import Raw
from ddpm_exp.data.standard import Array
from ddpm_exp.spec.vectors import MADE_VALUES, Gaussians, Points, Sequences

COUNT = 6_000
"""Waves or outlines, training and held-out together."""

FORMS = ("sine", "triangle", "square")
OUTLINES = ("circle", "square", "triangle")

_GRID = 2.0**16
"""Numbers are rounded to multiples of its inverse: sine and logarithm differ between machines in bits far below."""


def waves(data: Sequences) -> Raw:
    """Damped oscillations exp(-damping t) form(2 pi frequency t + phase), t in [0, 1), x [N, channels, length].

    Frequency: 1 to 4 per sequence; damping: 0 to 4 per sequence; phase: -pi/2 to pi/2. Channel k of K lags by k pi / K. The form
    is the class: sine, triangle, or a square with soft edges.
    """
    drawn = _uniform(1, COUNT, 4)
    forms = _below(drawn[:, 0], len(FORMS))
    frequency, damping, phase = 1 + 3 * drawn[:, 1], 4 * drawn[:, 2], math.pi * (drawn[:, 3] - 0.5)
    t = np.arange(data.length) / data.length
    lag = np.arange(data.channels)[:, None] * math.pi / data.channels
    x = np.empty((COUNT, data.channels, data.length))
    for form in range(len(FORMS)):
        of = forms == form
        sine = np.sin(2 * math.pi * frequency[of, None, None] * t + phase[of, None, None] - lag)
        shaped = (sine, np.arcsin(sine) * (2 / math.pi), np.tanh(4 * sine) / math.tanh(4))[form]
        x[of] = np.exp(-damping[of, None, None] * t) * shaped
    return Raw(_rounded(x), forms, FORMS, _rounded(np.stack([frequency, damping, phase], axis=1)), MADE_VALUES["waves"])


def outlines(data: Points) -> Raw:
    """Points spread evenly at random on a circle, square or triangle, x [N, 2, count], in no order.

    Size: the circumscribed radius, 0.5 to 1.5; turn: -pi/4 to pi/4; the centre lies within 0.5 of the origin on each axis.
    """
    drawn = _uniform(2, COUNT, 5)
    shapes = _below(drawn[:, 0], len(OUTLINES))
    size, turn, centre = 0.5 + drawn[:, 1], (drawn[:, 2] - 0.5) * math.pi / 2, drawn[:, 3:] - 0.5
    along = _uniform(3, COUNT, data.count)
    corners = np.array([0, 4, 3])[shapes][:, None]
    angle = 2 * math.pi * along
    edges = np.maximum(corners, 1)
    edge, part = np.floor(along * edges), along * edges % 1.0
    first, second = 2 * math.pi * edge / edges, 2 * math.pi * (edge + 1) / edges
    flat = [(1 - part) * f(first) + part * f(second) for f in (np.cos, np.sin)]
    x, y = (np.where(corners == 0, f(angle), straight) for f, straight in zip((np.cos, np.sin), flat, strict=True))
    cos, sin = np.cos(turn)[:, None], np.sin(turn)[:, None]
    turned = np.stack([cos * x - sin * y, sin * x + cos * y], axis=1)
    cloud = size[:, None, None] * turned + centre[:, :, None]
    return Raw(_rounded(cloud), shapes, OUTLINES, _rounded(np.stack([size, turn], axis=1)), MADE_VALUES["outlines"])


def mixture(data: Gaussians) -> Raw:
    """Samples of the mixture, each component equally likely, x [N, features]."""
    from scipy.special import ndtri

    means = np.array(data.means)
    components = _below(_uniform(4, data.count, 1)[:, 0], len(means))
    # Half of the generator's step: the quantile of 0 itself is infinite.
    normal = ndtri(_uniform(5, data.count, means.shape[1]) + 2.0**-54)
    names = tuple(f"component {k}" for k in range(len(means)))
    return Raw(_rounded(means[components] + data.std * normal), components, names, np.empty((data.count, 0)), ())


def log_density(data: Gaussians, x: Tensor) -> Tensor:
    """Logarithm of the mixture's density at x [N, features], in nats: float64 [N]."""
    means = torch.tensor(data.means, dtype=torch.float64, device=x.device)
    squared = (x.double()[:, None] - means).square().sum(-1)
    normaliser = means.shape[1] * math.log(data.std * math.sqrt(2 * math.pi)) + math.log(len(means))
    return torch.logsumexp(-squared / (2 * data.std**2), dim=1) - normaliser


def _uniform(which: int, count: int, each: int) -> Array:
    return np.random.Generator(np.random.PCG64(which)).random((count, each))


def _below(uniform: Array, count: int) -> np.ndarray[tuple[int, ...], np.dtype[np.int64]]:
    return np.minimum((uniform * count).astype(np.int64), count - 1)


def _rounded(x: Array) -> Array:
    return np.asarray(np.round(x * _GRID) / _GRID)
