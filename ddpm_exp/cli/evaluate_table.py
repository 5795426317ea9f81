"""What `evaluate` found, as a table of at most 80 columns and as plain data."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ddpm_exp.cli.amounts import seconds_text, value_text

if TYPE_CHECKING:
    from ddpm_exp.workflow.evaluate import EvaluatedRun, Row

WIDTH = 80

_SHORT = {
    "fd_effnet": "FD",
    "kid_effnet": "KID(eff)",
    "precision": "precis.",
    "recall": "recall",
    "fid": "FID",
    "kid": "KID",
    "inception_score": "IS",
}
"""Heads of the columns. FD is no FID: it is in EfficientNet-Lite0's features."""

_SETTINGS: dict[str, Callable[[Row], str]] = {
    "images": lambda row: f"{row.images_seen:,}",
    "weights": lambda row: _weights(row),
    "sampler": lambda row: row.sampling.sampler,
    "steps": lambda row: str(row.sampling.steps),
    "calls": lambda row: str(row.calls),
    "grid": lambda row: row.sampling.grid,
    "guidance": lambda row: f"{row.sampling.guidance_scale:g}",
}


def table(found: EvaluatedRun) -> list[str]:
    """What is the same in all rows, then a line for each, then training images in place of drawn ones."""
    same = {name: of(found.rows[0]) for name, of in _SETTINGS.items() if len({of(row) for row in found.rows}) == 1}
    varying = [name for name in _SETTINGS if name not in same]
    metrics = [name for name in _SHORT if f"samples/{name}" in found.rows[0].values]
    head = [*varying, *(_SHORT[name] for name in metrics), "time"]
    lines = [
        [
            *(_SETTINGS[name](row) for name in varying),
            *(value_text(row.values[f"samples/{name}"]) for name in metrics),
            seconds_text(row.seconds).replace(" ", ""),
        ]
        for row in found.rows
    ]
    first = found.rows[0].values
    if any(f"samples/{name}_of_real" in first for name in metrics):
        floor = [value_text(first.get(f"samples/{name}_of_real")) for name in metrics]
        lines.append(["(real)" if place == 0 else "" for place in range(len(varying))] + [*floor, ""])
        if not varying:
            head, lines = ["", *head], [["drawn", *lines[0]], ["(real)", *lines[1]]]
    widths = [max(len(line[place]) for line in [head, *lines]) for place in range(len(head))]
    left = len(head) - len(metrics) - 1
    shown = [_line(line, widths, left) for line in [head, *lines]]
    return [*_wrapped(_about(found, same)), "", *shown, *_wrapped(_reals(found))]


def _about(found: EvaluatedRun, same: dict[str, str]) -> str:
    said = [f"{found.images:,} drawn images"]
    for name, value in same.items():
        said.append({"sampler": value, "images": f"after {value} images of training"}.get(name, f"{name} {value}"))
    return ", ".join(said)


def _reals(found: EvaluatedRun) -> str:
    sentences = []
    for name, told in found.measurement.items():
        sentences.append(f"{name} at {told['resolution']} px against {told['reals_n']:,} {told['reals']} images.")
        if "floor_n" in told:
            sentences.append(f"(real): {told['floor_n']:,} training images in place of drawn ones.")
            if told["floor_n"] < told["n"]:
                sentences.append("There are no more; the floor of as many as were drawn would be lower.")
        if "samples/fd_effnet" in found.rows[0].values and "floor_n" in told:
            sentences.append("FD is no FID and compares at this number of images only.")
    return " ".join(sentences)


def _line(cells: list[str], widths: list[int], left: int) -> str:
    padded = [
        cell.ljust(width) if place < left else cell.rjust(width)
        for place, (cell, width) in enumerate(zip(cells, widths, strict=True))
    ]
    return "  ".join(padded).rstrip()


def _wrapped(text: str) -> list[str]:
    import textwrap

    return textwrap.wrap(text, WIDTH)


def _weights(row: Row) -> str:
    if row.network.sigma_rel is not None:
        return f"s={row.network.sigma_rel:g}"
    return "ema" if row.averaged else "raw"


def row_line(row: Row) -> str:
    """One row as it is done."""
    said = [_weights(row), row.sampling.sampler, f"{row.sampling.steps} steps", row.sampling.grid]
    values = [
        f"{name.removeprefix('samples/')} {value_text(value)}" for name, value in row.values.items() if "_of_real" not in name
    ]
    return f"{', '.join(said)}: {', '.join(values)}"


def facts_of(found: EvaluatedRun) -> dict[str, Any]:
    """Plain data."""
    rows = [
        {
            **{name: getattr(row.sampling, name) for name in ("sampler", "steps", "grid", "guidance_scale")},
            "weights": "ema" if row.averaged else "raw",
            "sigma_rel": row.network.sigma_rel,
            "checkpoint": row.network.checkpoint,
            "images_seen": row.images_seen,
            "calls": row.calls,
            "seconds": row.seconds,
            "values": row.values,
        }
        for row in found.rows
    ]
    return {"run": found.run, "n": found.images, "rows": rows, "measurement": found.measurement, "notes": found.notes}
