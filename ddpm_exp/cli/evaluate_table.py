"""What `evaluate` found, as a table of at most 80 columns and as plain data."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from ddpm_exp.cli.amounts import seconds_text, value_text

if TYPE_CHECKING:
    from ddpm_exp.workflow.evaluate import Done, EvaluatedRun, Row

WIDTH = 80

_SHORT = {
    "fd_effnet": "FD",
    "kid_effnet": "KID(eff)",
    "precision": "precis.",
    "recall": "recall",
    "fid": "FID",
    "kid": "KID",
    "inception_score": "IS",
    "noise_left": "noise",
    "class_coverage_effnet": "classes",
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
    "calibrated": lambda row: "yes" if row.sampling.calibrate else "no",
}


def table(found: EvaluatedRun) -> list[str]:
    """What is the same in all rows, then a line for each, then training images in place of drawn ones. Where that is wider than
    `WIDTH`, settings are numbered in a table of their own."""
    same = {name: of(found.rows[0]) for name, of in _SETTINGS.items() if len({of(row) for row in found.rows}) == 1}
    varying = [name for name in _SETTINGS if name not in same]
    settings = [varying, *([_SETTINGS[name](row) for name in varying] for row in found.rows)]
    values = _values(found)
    last = len(values) > 1 + len(found.rows)  # the floor
    left = [*settings, *([["(real)", *[""] * (len(varying) - 1)]] if last else [])]
    if not varying:
        left = [[""], *[["drawn"]] * len(found.rows), *([["(real)"]] if last else [])]
    shown = _columns(left, values)
    if max(map(len, shown)) > WIDTH:
        numbers = [[""], *([str(number)] for number in range(1, len(found.rows) + 1)), *([["(real)"]] if last else [])]
        numbered = [[*number, *setting] for number, setting in zip(numbers, settings, strict=False)]
        shown = [*_columns(numbered, [[]] * len(numbered)), "", *_columns(numbers, values)]
    return [*wrapped(_about(found, same)), "", *shown, "", *(line for text in _reals(found) for line in wrapped(text))]


def kept_lines(found: list[EvaluatedRun]) -> list[str]:
    """All tables of a run, each with what keeps it apart from the one before."""
    from ddpm_exp.workflow.evaluate_kept import differing

    if not found:
        return ["nothing was measured of this run yet: the same command without --kept does"]
    lines = table(found[0])
    for before, one in pairwise(found):
        lines += ["", *wrapped(f"not to be compared with those above ({', '.join(differing(before, one))}):"), "", *table(one)]
    return [*lines, *(line for one in found for note in one.notes for line in wrapped(note))]


def _values(found: EvaluatedRun) -> list[list[str]]:
    """Heads, a line for each row, and one for training images where they were measured."""
    metrics = [name for name in _SHORT if any(f"samples/{name}" in row.values for row in found.rows)]
    lines = [[*(_SHORT[name] for name in metrics), "time"]]
    for row in found.rows:
        lines.append(
            [*(value_text(row.values.get(f"samples/{name}")) for name in metrics), seconds_text(row.seconds).replace(" ", "")]
        )
    floor = {name: value for row in found.rows for name, value in row.values.items() if name.endswith("_of_real")}
    if floor:
        lines.append([*(value_text(floor.get(f"samples/{name}_of_real")) for name in metrics), ""])
    return lines


def _columns(left: list[list[str]], right: list[list[str]]) -> list[str]:
    """Two tables of equally many lines beside each other: words to the left, numbers to the right."""
    sides = [[max(map(len, column)) for column in zip(*side, strict=True)] for side in (left, right)]
    lines = []
    for words, numbers in zip(left, right, strict=True):
        cells = [cell.ljust(width) for cell, width in zip(words, sides[0], strict=True)]
        cells += [cell.rjust(width) for cell, width in zip(numbers, sides[1], strict=True)]
        lines.append("  ".join(cells).rstrip())
    return lines


def _about(found: EvaluatedRun, same: dict[str, str]) -> str:
    said = [f"{found.images:,} drawn images"]
    for name, value in same.items():
        said.append({"sampler": value, "images": f"after {value} images of training"}.get(name, f"{name} {value}"))
    if "calibrated" in same:
        said[-1:] = [] if same["calibrated"] == "yes" else ["not calibrated"]  # it is the last of them
    said.append(f"seed {found.seed}")
    return ", ".join(said)


def _reals(found: EvaluatedRun) -> list[str]:
    """Sentences on what the columns are."""
    sentences = []
    first = {name: value for row in found.rows for name, value in row.values.items()}
    for name, told in found.measurement.items():
        if "resolution" in told:
            sentences.append(f"{name} at {told['resolution']} px against {told['reals_n']:,} {told['reals']} images.")
        if "floor_n" in told:
            floor = f"(real): {told['floor_n']:,} training images in place of drawn ones."
            if told["floor_n"] < told["n"]:
                floor += " There are no more; the floor of as many as were drawn would be lower."
            sentences.append(floor)
    if "samples/fd_effnet" in first:
        sentences.append("FD is no FID and compares at this number of images only.")
    if "samples/noise_left" in first:
        sentences.append("noise: share of images with visible noise left, 0.02 of real ones at most.")
    if "samples/class_coverage_effnet" in first:
        sentences.append(
            f"classes: share of the {first['samples/classes_effnet']:.0f} classes whose images come nearest to their own class."
        )
    return sentences


def wrapped(text: str) -> list[str]:
    """`text` in lines of at most `WIDTH` columns."""
    import textwrap

    return textwrap.wrap(text, WIDTH, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)


def _weights(row: Row) -> str:
    if row.network.sigma_rel is not None:
        return f"s={row.network.sigma_rel:g}"
    return "ema" if row.averaged else "raw"


def row_lines(row: Row, done: Done) -> list[str]:
    """One of several rows as it is done, and how long the others take; nothing of a single one, which the table tells."""
    if done.of == 1:
        return []
    said = [_weights(row), row.sampling.sampler, f"{row.sampling.steps} steps", row.sampling.grid]
    if row.network.checkpoint != "last":
        said.insert(0, f"{row.images_seen:,} images")
    if row.sampling.guidance_scale != 1:
        said.append(f"guidance {row.sampling.guidance_scale:g}")
    values = [
        f"{short} {value_text(row.values[f'samples/{name}'])}" for name, short in _SHORT.items() if f"samples/{name}" in row.values
    ]
    left = "" if done.seconds_left is None else f" (about {seconds_text(done.seconds_left)} left)"
    return wrapped(f"{done.settings} of {done.of}: {', '.join(said)}: {', '.join(values)}{left}")


def facts_of(found: EvaluatedRun) -> dict[str, Any]:
    """Plain data."""
    rows = [
        {
            **{name: getattr(row.sampling, name) for name in ("sampler", "steps", "grid", "guidance_scale", "calibrate")},
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
    return {
        "run": found.run,
        "n": found.images,
        "seed": found.seed,
        "rows": rows,
        "measurement": found.measurement,
        "notes": found.notes,
    }
