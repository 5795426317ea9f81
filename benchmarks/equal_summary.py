"""What runs of two trainers say together: FD at equal images with its interval, and the minutes to the same FD. Trains nothing."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from ddpm_exp.decisions.statistics import mean, one_sample, paired

LEVEL = 0.95

Row = dict[str, Any]


def summary(runs: Sequence[Row]) -> list[Row]:
    """One entry for each pair of initial weights that both trainers have runs of: ours' and the peer's.

    `fd`: mean over seeds and Student's interval; `fd_usual`: the same of the peer's other average. `ratio`: ours over the peer's
    at equal images, the geometric mean over the seeds that both have, with the interval of a paired t of logarithms. `same_fd`: at
    each moment of the peer's, its minutes over those after which our mean curve stands at the same FD.
    """
    found = []
    for ours_from in ("ddpm-exp", "diffusers"):
        for peer_from in ("ddpm-exp", "diffusers"):
            ours, peer = of(runs, "ours", ours_from), of(runs, "peer", peer_from)
            if ours and peer:
                found.append({"initial_weights": {"ours": ours_from, "peer": peer_from}, **_compared(ours, peer)})
    return found


def of(runs: Sequence[Row], trainer: str, initial: str) -> dict[int, Row]:
    """Runs by seed."""
    chosen = [run for run in runs if run["trainer"] == trainer and run["initial_weights"] == initial]
    return {run["seed"]: run for run in sorted(chosen, key=lambda run: int(run["seed"]))}


def curve(runs: dict[int, Row]) -> list[tuple[float, float]]:
    """(minutes, mean FD over seeds) at each moment; the moments of all runs are the same."""
    return [(moments[0]["minutes"], mean([one["fd"] for one in moments])) for moments in _moments(runs)]


def minutes_to(points: Sequence[tuple[float, float]], fd: float) -> float | None:
    """When a falling curve first stands at `fd`, by straight lines in logarithms between its points; None where none of them spans
    it."""
    for (earlier, high), (later, low) in pairwise(points):
        if high >= fd >= low and high > low:
            share = math.log(high / fd) / math.log(high / low)
            return float(earlier * (later / earlier) ** share)
    return None


def _compared(ours: dict[int, Row], peer: dict[int, Row]) -> Row:
    both = sorted(ours.keys() & peer.keys())
    found: Row = {"fd": {"ours": _interval([run["fd"] for run in ours.values()])}}
    found["fd"]["peer"] = _interval([run["fd"] for run in peer.values()])
    found["fd_usual"] = {"peer": _interval([run["fd_usual"] for run in peer.values()])}
    for name, of_peer in (("ratio", "fd"), ("ratio_usual", "fd_usual")):
        if both:
            estimate = paired([math.log(ours[seed]["fd"]) for seed in both], [math.log(peer[seed][of_peer]) for seed in both])
            low, high = estimate.interval(LEVEL)
            found[name] = {"mean": round(math.exp(estimate.mean), 4), "interval": _finite(math.exp(low), _exp(high)), "seeds": both}
    our_curve, same = curve(ours), []
    for minutes, fd in curve(peer):
        sooner = minutes_to(our_curve, fd)
        entry = {"fd": round(fd, 2), "peer_minutes": round(minutes, 3)}
        same.append(entry | {"our_minutes": sooner and round(sooner, 3), "ratio": sooner and round(minutes / sooner, 2)})
    return found | {"same_fd": same}


def _moments(runs: dict[int, Row]) -> list[tuple[Row, ...]]:
    return list(zip(*(run["moments"] for run in runs.values()), strict=True))


def _interval(values: list[float]) -> Row:
    estimate = one_sample(values)
    low, high = estimate.interval(LEVEL)
    return {"mean": round(estimate.mean, 2), "interval": _finite(low, high), "seeds": len(values)}


def _exp(value: float) -> float:
    return math.exp(value) if value < 700 else math.inf


def _finite(low: float, high: float) -> list[float] | None:
    """None for one seed, of which nothing is known."""
    return [round(low, 4), round(high, 4)] if math.isfinite(high) else None
