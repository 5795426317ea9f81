"""How much of what an evaluation measures is the luck of its noise, and what does a claim against a number make of it?

    python benchmarks/noise_luck.py --out benchmarks/results/noise_luck.json            (minutes on one core)

Trains small networks on 8x8 digits that differ in their seed alone, and evaluates each with several sets of noise. The variance of
each measure is split in that between networks, that between sets of noise (which all networks share) and the rest. Then `<= its own
mean` over all of them is judged many times on a few networks, as `ddpm-exp decide` judges it: with one set of noise for all seeds,
as evaluations had once, and with a set for each.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ddpm_exp.decisions.judged import judge_criterion
from ddpm_exp.loading.loaded import load_experiment
from ddpm_exp.spec.decision import metric
from ddpm_exp.workflow.assemble import assemble
from ddpm_exp.workflow.options import RunOptions
from ddpm_exp.workflow.prepare import find_machine, prepare

EXPERIMENT = Path(__file__).parents[1] / "experiments" / "quickstart.py"
OVERRIDES = ("training.duration=8 epochs", "sampling.guidance_scale=1.0", "sampling.steps=10", "model.base_channels=16")
MEASURES = ("val/denoising", "samples/coherence", "samples/class_accuracy")
SEEDS = (2, 3, 5)


def measured(networks: int, noises: int) -> dict[str, np.ndarray]:
    """Each measure as [networks, noises]."""
    prepared = prepare(load_experiment(EXPERIMENT, OVERRIDES), find_machine(RunOptions(gpu="cpu")))
    found = {name: np.zeros((networks, noises)) for name in MEASURES}
    for seed in range(networks):
        runtime = assemble(prepared, seed)
        while runtime.trainer.images_seen < prepared.units.total_images:
            runtime.trainer.step()
        for noise in range(noises):
            runtime.evaluator.artist = replace(runtime.artist, seed=noise)
            values = runtime.evaluator.evaluate(runtime.averaged(), "").values
            for name in MEASURES:
                found[name][seed, noise] = values[name]
        print(f"network {seed}:", {name: round(float(found[name][seed].mean()), 5) for name in MEASURES}, flush=True)
    return found


def split(values: np.ndarray) -> dict[str, float]:
    """Parts of the variance, from the mean squares of a two-way layout without repetition."""
    networks, noises = values.shape
    centred = values - values.mean()
    rows, columns = centred.mean(1), centred.mean(0)
    rest = np.square(centred - rows[:, None] - columns[None]).sum() / ((networks - 1) * (noises - 1))
    of_networks = max(0.0, float(rows.var(ddof=1) - rest / noises))
    of_noises = max(0.0, float(columns.var(ddof=1) - rest / networks))
    whole = of_networks + of_noises + float(rest)
    return {"networks": of_networks / whole, "noise": of_noises / whole, "rest": float(rest) / whole}


def held(name: str, values: np.ndarray, seeds: int, trials: int, *, shared: bool) -> float:
    """How often `<= the mean of all values` holds on `seeds` networks with one set of noise or one each."""
    rng, (networks, noises) = np.random.default_rng(0), values.shape
    claim, sizes, found = metric(name) <= float(values.mean()), dict.fromkeys(range(seeds), 200.0), 0
    for _ in range(trials):
        rows = rng.choice(networks, seeds, replace=False)
        columns = np.full(seeds, rng.integers(noises)) if shared else rng.choice(noises, seeds, replace=False)
        found += judge_criterion(claim, dict(enumerate(values[rows, columns])), None, out_of=sizes).status == "holds"
    return found / trials


def main() -> None:
    """Train, evaluate, split, judge."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", type=int, default=6)
    parser.add_argument("--noises", type=int, default=16)
    parser.add_argument("--trials", type=int, default=10_000)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    found: dict[str, Any] = {"networks": given.networks, "noises": given.noises, "trials": given.trials, "torch": torch.__version__}
    found |= {"experiment": EXPERIMENT.stem, "overrides": OVERRIDES, "measures": {}}
    for name, values in measured(given.networks, given.noises).items():
        rates = {
            rule: {str(n): held(name, values, n, given.trials, shared=rule == "shared") for n in SEEDS}
            for rule in ("shared", "per-seed")
        }
        found["measures"][name] = {"variance": split(values), "held": rates, "values": values.round(6).tolist()}
        print(name, found["measures"][name]["variance"], rates)
    if given.out:
        given.out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
