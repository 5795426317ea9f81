"""The claims that `false_accepts.py` tries: draws what seeds would measure, and asks the product's judge whether a claim holds."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ddpm_exp.decisions.judged import judge_criterion
from ddpm_exp.spec.decision import Criterion, metric

Rng = np.random.Generator

SEEDS = (2, 3, 5)
JUDGED = 200
"""Samples of which a share is one, as evaluations draw by default."""

SPREADS = {0.5: (0.0, 0.05, 0.1), 0.9: (0.0, 0.02, 0.05), 0.98: (0.0, 0.005, 0.01)}
"""A share's mean to standard deviations between seeds of what it is in truth."""

SHARE_EFFECTS = {0.5: 0.15, 0.9: 0.07, 0.98: 0.016}

METRICS = ("val/denoising", "val/reconstruction", "val/bits_per_dimension", "samples/coherence", "samples/prompt_distance")


@dataclass(frozen=True)
class Case:
    """One row."""

    table: str
    facts: Mapping[str, Any]
    trial: Callable[[Rng, float], bool]
    """Whether the claim holds on values drawn with a truth that lies this far beyond it."""

    effect: float = 0.0
    kept: bool = True
    """Whether its rate of false claims is to stay within the limit."""

    key: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "key", f"{self.table}/{'/'.join(map(str, self.facts.values()))}")


def holds(
    criterion: Criterion,
    values: Sequence[float],
    reference: Sequence[float] | None = None,
    *,
    pairs: bool = True,
    of: int = JUDGED,
) -> bool:
    """Whether the product says so of these values by seed; shares are of `of` samples."""
    start = 0 if pairs else 100
    others = None if reference is None else dict(enumerate(reference, start))
    sizes = [{seed: float(of) for seed in among} for among in (range(len(values)), others or {})]
    found = judge_criterion(criterion, dict(enumerate(values)), others, out_of=sizes[0], reference_out_of=sizes[1])
    return found.status == "holds"


def _bounds() -> Iterator[Case]:
    """Measured numbers against a number; effects in standard deviations between seeds."""
    for (sign, claim), n in itertools.product(((-1, metric(METRICS[0]) <= 1.0), (1, metric(METRICS[0]) >= 1.0)), SEEDS):

        def trial(rng: Rng, effect: float, sign: int = sign, claim: Criterion = claim, n: int = n) -> bool:
            return holds(claim, 1 + 0.05 * (sign * effect + rng.standard_normal(n)))

        yield Case("bounds", {"claim": "<= x" if sign < 0 else ">= x", "seeds": n}, trial, 3.0)


def _contrasts() -> Iterator[Case]:
    """Measured numbers against another arm's; effects in standard deviations of the difference of two seeds."""
    term = metric(METRICS[0])
    claims = {
        "falls by 0.05": (term.falls(0.05), 0.95, -1),
        "falls by 5 %": (term.falls("5%"), 0.95, -1),
        "rises by 0.05": (term.rises(0.05), 1.05, 1),
        "rises by 5 %": (term.rises("5%"), 1.05, 1),
        "no worse by 0.05": (term.no_worse(0.05), 1.05, -1),
        "no worse by 5 %": (term.no_worse("5%"), 1.05, -1),
    }
    for (words, (claim, edge, sign)), pairs, n in itertools.product(claims.items(), (True, False), SEEDS):
        common = 0.05 if pairs else 0.0

        def trial(
            rng: Rng,
            effect: float,
            *,
            claim: Criterion = claim,
            edge: float = edge,
            sign: int = sign,
            pairs: bool = pairs,
            n: int = n,
            common: float = common,
        ) -> bool:
            shared, own, other = common * rng.standard_normal(n), rng.standard_normal(n), rng.standard_normal(n)
            reference = 1 + shared + 0.03 * other
            centre = edge + sign * effect * 0.03 * math.sqrt(2)
            return holds(claim, centre * (1 + shared) + 0.03 * own, reference, pairs=pairs)

        yield Case("contrasts", {"claim": words, "arms": "paired" if pairs else "independent", "seeds": n}, trial, 3.0)


def true_shares(rng: Rng, p: float, spread: float, n: int) -> np.ndarray:
    """What each seed's share is in truth, [n]: beta with mean `p` and standard deviation `spread`."""
    if spread == 0:
        return np.full(n, p)
    size = p * (1 - p) / spread**2 - 1
    return rng.beta(p * size, (1 - p) * size, n)


def _drawn(rng: Rng, p: float, spread: float, n: int, of: int = JUDGED) -> np.ndarray:
    return rng.binomial(of, true_shares(rng, p, spread, n)) / of


def _shares() -> Iterator[Case]:
    """Shares of 200 against a number: the claim is as far below (above) the truth as the effect says."""
    term = metric("samples/class_accuracy")
    for (p, spreads), sign, n in itertools.product(SPREADS.items(), (1, -1), SEEDS):
        for spread in spreads:

            def trial(rng: Rng, effect: float, *, p: float = p, spread: float = spread, sign: int = sign, n: int = n) -> bool:
                bound = p - sign * effect
                return holds(term >= bound if sign > 0 else term <= bound, _drawn(rng, p, spread, n))

            facts = {"claim": ">= x" if sign > 0 else "<= x", "share": p, "spread": spread, "seeds": n}
            yield Case("shares", facts, trial, SHARE_EFFECTS[p] if sign > 0 or p < 0.98 else 0.0)


def _share_contrasts() -> Iterator[Case]:
    """Shares of 200 against another arm's."""
    term = metric("samples/class_accuracy")
    claims = (("rises", term.rises(), 0.0), ("no worse by 0.02", term.no_worse(0.02), -0.02))
    for (p, spreads), n in itertools.product(SPREADS.items(), SEEDS):
        for pairs, spread, (words, claim, edge) in itertools.product((True, False), (spreads[0], spreads[2]), claims):
            if not pairs and (edge or not spread):
                continue

            def trial(
                rng: Rng,
                effect: float,
                *,
                p: float = p,
                spread: float = spread,
                claim: Criterion = claim,
                edge: float = edge,
                pairs: bool = pairs,
                n: int = n,
            ) -> bool:
                ours, theirs = p + min(edge, 0.0) * (effect == 0), p - max(edge, 0.0) - effect
                return holds(claim, _drawn(rng, ours, spread, n), _drawn(rng, theirs, spread, n), pairs=pairs)

            facts = {"claim": words, "arms": "paired" if pairs else "independent", "share": p, "spread": spread, "seeds": n}
            yield Case("share contrasts", facts, trial, 0.15)


def _counts() -> Iterator[Case]:
    """Events per run: Poisson, or with a mean of its own (gamma, standard deviation of half the mean) in each run."""
    term = metric("train/bad_steps")
    for events, spread, sign, n in itertools.product((0.5, 5.0), (0.0, 0.5), (1, -1), SEEDS):

        def trial(rng: Rng, effect: float, *, events: float = events, spread: float = spread, sign: int = sign, n: int = n) -> bool:
            truth = events * (rng.gamma(1 / spread**2, spread**2, n) if spread else np.ones(n))
            bound = events * (1 - sign * effect)
            return holds(term >= bound if sign > 0 else term <= bound, rng.poisson(truth).astype(float))

        facts = {"claim": ">= x" if sign > 0 else "<= x", "events": events, "spread": spread * events, "seeds": n}
        yield Case("counts", facts, trial, 0.8 if sign > 0 else 2.0)


def _noise() -> Iterator[Case]:
    """`<= its own true mean` where a part of the variance is the luck of evaluation noise, one for all seeds or each seed's own."""
    claim = metric(METRICS[0]) <= 0.0
    for luck, own, n in itertools.product((0.0, 0.5, 0.8, 0.95), (True, False), SEEDS):

        def trial(rng: Rng, effect: float, *, luck: float = luck, own: bool = own, n: int = n) -> bool:
            noise = rng.standard_normal(n) if own else np.full(n, rng.standard_normal())
            return holds(claim, math.sqrt(1 - luck) * rng.standard_normal(n) + math.sqrt(luck) * noise - effect)

        facts = {"noise": "of the seed" if own else "of all seeds (before)", "luck": luck, "seeds": n}
        yield Case("noise", facts, trial, 3.0, kept=own)


def _beyond() -> Iterator[Case]:
    """What is not kept: t alone on shares, as before; and spreads between seeds that no few seeds show."""
    for p, n in itertools.product((0.5, 0.9, 0.98), SEEDS):
        plain = metric("samples/coherence") >= p  # judged as measured numbers are

        def before(rng: Rng, effect: float, *, p: float = p, n: int = n, plain: Criterion = plain) -> bool:
            return holds(plain, _drawn(rng, p, 0.0, n))

        yield Case("shares before", {"claim": ">= x", "share": p, "seeds": n}, before, kept=False)
    for of, n in itertools.product((500, 2000), SEEDS):

        def wild(rng: Rng, effect: float, *, of: int = of, n: int = n) -> bool:
            return holds(metric("samples/class_accuracy") >= 0.995, _drawn(rng, 0.995, 0.005, n, of), of=of)

        yield Case("beyond", {"what": f"a share of {of} of 0.995 with a spread of 0.005", "seeds": n}, wild, kept=False)
    for often, n in itertools.product((0.02, 0.1), SEEDS):
        truth = 0.95 * (1 - often)

        def collapses(rng: Rng, effect: float, *, often: float = often, n: int = n, truth: float = truth) -> bool:
            found = rng.binomial(JUDGED, np.where(rng.random(n) < often, 0.0, 0.95)) / JUDGED
            return holds(metric("samples/class_accuracy") >= truth, found)

        yield Case(
            "beyond", {"what": f"{often:.0%} of runs collapse to 0, the others have 0.95", "seeds": n}, collapses, kept=False
        )


def cases() -> Iterator[Case]:
    """All of them, table by table."""
    for part in (_bounds, _contrasts, _shares, _share_contrasts, _counts, _noise, _beyond):
        yield from part()
