"""Whether training waits for its data, in words with the measured rates. Measures nothing itself."""

from __future__ import annotations

from collections.abc import Mapping

from ddpm_exp.evaluation.symptoms import STARVING


def starving(values: Mapping[str, float], workers: int) -> str | None:
    """What to say about the logged `values` of some steps; None where data did not hold them up."""
    share, rate = values.get("speed/data_wait_share", 0.0), values.get("speed/images_per_second")
    if share < STARVING or not rate:
        return None
    could = "far more" if share > 0.99 else f"about {rate / (1 - share):,.0f}"
    return (
        f"data limit the training: {workers} workers decode {rate:,.0f} images/s, and the device could train on {could}; "
        f"it waits {share:.0%} of the time. More hardware.workers help as far as there are cores; so do smaller image files, "
        "or hardware.data_in='device' where the decoded images fit"
    )
