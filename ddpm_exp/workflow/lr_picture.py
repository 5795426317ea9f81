"""The picture of a learning-rate range test as PNG bytes: loss over the rate, with what was read off it."""

from __future__ import annotations

import io

from ddpm_exp.training.range_reading import Reading
from ddpm_exp.training.range_test import RangeTest

_EACH, _SMOOTHED = "#9aa5b1", "#d9480f"


def picture(test: RangeTest, reading: Reading, *, now: float, title: str) -> bytes:
    """Losses and their smoothed curve over a logarithmic axis of rates; upright lines at the suggestions and at the rate `now`."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.0, 4.2), layout="constrained")
    axis = figure.subplots()
    axis.plot(test.rates, test.losses, ".", color=_EACH, markersize=3, label="each step")
    axis.plot(test.rates, reading.smoothed, color=_SMOOTHED, label="smoothed")
    axis.set_xscale("log")
    marks = (
        (reading.tenth, "a tenth of the lowest", "#2b8a3e", "-"),
        (reading.steepest, "steepest", "#1864ab", "--"),
        (reading.lowest, "lowest", "#5f3dc4", ":"),
        (now, "training.learning_rate now", "#212529", "-."),
    )
    for rate, name, colour, style in marks:
        if rate is not None:
            axis.axvline(rate, color=colour, linestyle=style, linewidth=1.2, label=f"{name}: {rate:.2g}")
    low, high = min(reading.smoothed), max(reading.smoothed)
    margin = 0.15 * (high - low) or 0.1
    # The last steps of a test that diverged are out of all proportion.
    axis.set_ylim(low - margin, high + margin)
    axis.set(xlabel="learning rate", ylabel="training loss", title=title)
    axis.legend(fontsize=8)
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=120)
    return stream.getvalue()
