"""Whole verdicts that `false_accepts.py` tries: several criteria for rejection, and seeds added until a criterion holds."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from false_accept_cases import METRICS, Case, Rng, holds

from ddpm_exp.decisions.arm import Arm, Run
from ddpm_exp.decisions.looks import amendment
from ddpm_exp.decisions.verdict import judge
from ddpm_exp.spec.decision import Criterion, Decision, metric


def arm_of(values: Mapping[str, Sequence[float]], plan: tuple[int, ...], *, amendable: bool = True) -> Arm:
    """Finished runs with these values by seed, planned as `plan`."""
    count = len(next(iter(values.values())))
    units = {"images_per_step": 1, "images_per_epoch": 1, "total_images": 1}
    runs = tuple(
        Run(
            path=Path(f"runs/a/b/{seed}"),
            seed=seed,
            state="finished",
            images_seen=1,
            science_hash="b",
            planned_seeds=plan,
            amendable=amendable,
            units=units,
            series={name: ((1, float(found[seed])),) for name, found in values.items()},
        )
        for seed in range(count)
    )
    return Arm("A", "a", "b", tuple(range(count)), runs)


def _decision(
    seeds: int, accept: tuple[Criterion, ...] = (), reject: tuple[Criterion, ...] = (), amendable: bool = True
) -> Decision:
    plan = tuple(range(seeds))
    return Decision(title="t", context="c", chosen="d", seeds=plan, accept_when=accept, reject_when=reject, amendable=amendable)


def _several() -> Iterator[Case]:
    """Any of k claims for rejection, with final seeds; effects on the first of them. Without Holm's rule for comparison."""
    for k, n in itertools.product((1, 2, 3, 5), (3, 5)):
        claims = tuple(metric(name) >= 0.0 for name in METRICS[:k])
        decision = _decision(n, reject=claims, amendable=False)

        def drawn(rng: Rng, effect: float, k: int = k, n: int = n) -> dict[str, np.ndarray]:
            return {name: rng.standard_normal(n) + effect * (place == 0) for place, name in enumerate(METRICS[:k])}

        def trial(rng: Rng, effect: float, drawn: Any = drawn, decision: Decision = decision) -> bool:
            return judge(decision, arm_of(drawn(rng, effect), decision.seeds, amendable=False), None).outcome == "rejected"

        def alone(rng: Rng, effect: float, drawn: Any = drawn, claims: tuple[Criterion, ...] = claims) -> bool:
            return any(holds(claim, values) for claim, values in zip(claims, drawn(rng, effect).values(), strict=True))

        yield Case("several", {"rule": "Holm", "criteria": k, "seeds": n}, trial, 3.0)
        yield Case("several", {"rule": "each alone (before)", "criteria": k, "seeds": n}, alone, 3.0, kept=False)


def _growing() -> Iterator[Case]:
    """Seeds added as long as the claim does not hold; one criterion. Every look at the whole error for comparison."""
    claim = metric(METRICS[0]) >= 0.0
    for plans in ((2,), (3,), (5,), (2, 5), (3, 5), (2, 3, 5), (2, 3, 4, 5), (3, 4, 5, 6, 7, 8, 9, 10)):

        def trial(rng: Rng, effect: float, plans: tuple[int, ...] = plans) -> bool:
            values = rng.standard_normal(plans[-1]) + effect
            amendments: tuple[Any, ...] = ()
            for n in plans:
                decision = _decision(n, accept=(claim,))
                arm = replace(arm_of({METRICS[0]: values[:n]}, tuple(range(plans[0]))), amendments=amendments)
                if n > plans[0]:
                    amendments = (*amendments, amendment(decision, arm, "it did not hold"))
                    arm = replace(arm, amendments=amendments)
                if judge(decision, arm, None).outcome == "accepted":
                    return True
            return False

        def whole(rng: Rng, effect: float, plans: tuple[int, ...] = plans) -> bool:
            values = rng.standard_normal(plans[-1]) + effect
            return any(holds(claim, values[:n]) for n in plans)

        facts = {"seeds": " to ".join(map(str, plans if len(plans) < 5 else (plans[0], "...", plans[-1])))}
        yield Case("growing", {"rule": "looks share the error", **facts}, trial, 1.5)
        yield Case("growing", {"rule": "every look spends all (before)", **facts}, whole, 1.5, kept=False)


def cases() -> Iterator[Case]:
    """All of them, table by table."""
    yield from _several()
    yield from _growing()
