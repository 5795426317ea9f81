"""Advice on feeding the data."""

from __future__ import annotations

from ddpm_exp.spec.advice.rule import Advice, Case, rule


@rule(
    "more than 4 workers on a host with fewer than twice as many cores (or unknown), or more workers than cores",
    reads=("hardware.workers",),
    guides=("000", "003"),
)
def many_workers(case: Case) -> Advice | None:
    workers, cores = case.experiment.hardware.workers, case.host_cores
    small_host = cores is None or cores < 2 * workers
    crowded = cores is not None and workers > cores
    if not (crowded or (workers > 4 and small_host)):
        return None
    host = "a small host" if cores is None else f"a host of {cores} cores"
    says = f"on {host} more workers do not help: guide 000 takes 0 to 4; guide 003 takes 8 for large data sets"
    fix = f"set hardware.workers to {min(4, 4 if cores is None else max(1, cores // 2))}"
    return Advice("hardware.workers", workers, says, ("000", "003"), fix)


RULES = (many_workers,)
