"""Whatever passes validation trains and samples; whatever is impossible is refused with a way out."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator

import pytest
import torch
from combinations.axes import (
    DENSITIES,
    NETWORKS,
    PATHS,
    PREDICTIONS,
    SAMPLERS,
    WEIGHTS,
    Choice,
    choices,
    conditions,
    diffusions,
    experiment,
)
from pydantic import ValidationError
from support.prepared import prepared_on_cpu

from ddpm_exp.evaluation.validation import validate
from ddpm_exp.spec.diffusion import Diffusion
from ddpm_exp.workflow.assemble import assemble

Pair = tuple[tuple[str, str], tuple[str, str]]


def pairs_of(choice: Choice) -> set[Pair]:
    """Every two of its parts."""
    return set(itertools.combinations(choice._asdict().items(), 2))


def says_what_to_do(error: ValidationError) -> bool:
    """Whether each message names a field and a fix."""
    return all(found["type"] == "rule" and found["ctx"]["field"] and found["ctx"]["fix"] for found in error.errors())


@pytest.fixture(scope="module")
def every_diffusion() -> dict[tuple[str, str, str, str], Diffusion | ValidationError]:
    return diffusions()


@pytest.fixture(scope="module")
def possible(every_diffusion) -> dict[tuple[str, str, str, str], Diffusion]:
    return {key: found for key, found in every_diffusion.items() if isinstance(found, Diffusion)}


def test_every_impossible_diffusion_says_what_to_do(every_diffusion, possible):
    refused = [found for found in every_diffusion.values() if isinstance(found, ValidationError)]
    assert len(refused) + len(possible) == len(PATHS) * len(PREDICTIONS) * len(WEIGHTS) * len(DENSITIES)
    assert all(says_what_to_do(error) for error in refused)


# No rule looks at how a network is told the time, so those variants are left to the covering array.
@pytest.mark.parametrize("network", [name for name in NETWORKS if name not in ("unet, adagn", "unet, concatenated", "mlp, adaln")])
def test_the_full_product_is_possible_or_says_what_to_do(possible, network):
    uniform = {key: diffusion for key, diffusion in possible.items() if key[3] == "uniform"}
    refused, allowed = 0, 0
    for choice, diffusion, condition in choices(uniform, network):
        try:
            experiment(diffusion, choice.sampler, choice.network, condition)
        except ValidationError as error:
            assert says_what_to_do(error), choice
            refused += 1
        else:
            allowed += 1
    assert refused and allowed
    assert refused + allowed == len(uniform) * len(SAMPLERS) * len(conditions(NETWORKS[network][1]))


def covering(possible: dict[tuple[str, str, str, str], Diffusion]) -> Iterator[Choice]:
    """Combinations that pass validation, such that every two parts that can occur together do."""
    chance = random.Random(0)
    keys = list(possible)
    told = {network: conditions(data) for network, (_, data) in NETWORKS.items()}
    axes = {
        **{name: sorted({key[place] for key in keys}) for place, name in enumerate(Choice._fields[:4])},
        "sampler": list(SAMPLERS),
        "network": list(NETWORKS),
        "condition": list(told["unet"]),
    }
    wanted = [
        ((a, one), (b, other)) for a, b in itertools.combinations(axes, 2) for one, other in itertools.product(axes[a], axes[b])
    ]
    chance.shuffle(wanted)
    covered: set[Pair] = set()
    for pair in wanted:
        if pair in covered:
            continue
        fixed = dict(pair)
        fitting = [key for key in keys if all(fixed.get(name, key[k]) == key[k] for k, name in enumerate(Choice._fields[:4]))]
        best: Choice | None = None
        for _ in range(60 if fitting else 0):
            rest = (fixed.get(name) or chance.choice(axes[name]) for name in ("sampler", "network", "condition"))
            choice = Choice(*chance.choice(fitting), *rest)
            if best is not None and len(pairs_of(choice) - covered) <= len(pairs_of(best) - covered):
                continue
            try:
                experiment(possible[choice[:4]], choice.sampler, choice.network, told[choice.network][choice.condition])
            except ValidationError:
                continue
            best = choice
        if best is not None:
            covered |= pairs_of(best)
            yield best


def test_a_pairwise_covering_array_of_what_passes_trains_and_samples(possible):
    tried: set[Pair] = set()
    optimizers = itertools.cycle(("adamw", "adam", "muon"))
    by: set[tuple[str, str]] = set()
    for choice in covering(possible):
        condition = conditions(NETWORKS[choice.network][1])[choice.condition]
        whole = experiment(possible[choice[:4]], choice.sampler, choice.network, condition)
        whole = whole.but(training=whole.training.but(optimizer=next(optimizers)))
        by.add((choice.network, whole.training.optimizer))
        runtime = assemble(prepared_on_cpu(whole), 0)
        train = runtime.evaluator.splits.train
        try:
            runtime.trainer.step()
            values, bad = runtime.trainer.statistics.read()
            drawn = runtime.artist.draw(runtime.averaged(), train.batch(slice(0, 2)), torch.arange(2), held_out=True)
            errors = validate(runtime.averaged(), train.batch(slice(0, 2)), runtime.artist, runtime.evaluator.spec)
        except Exception as error:
            raise AssertionError(f"{choice} passed validation and failed: {error!r}") from error
        assert values["train/bad_steps"] == 0 and bad.longest == 0, choice
        assert all(weight.isfinite().all() for weight in runtime.trainer.network.parameters()), choice
        assert drawn.isfinite().all() and drawn.shape == (2, *train.x.shape[1:]), choice
        assert all(torch.tensor(value).isfinite() for value in errors.values.values()), choice
        tried |= pairs_of(choice)
    parts = {part for pair in tried for part in pair}
    everything = (PATHS, PREDICTIONS, WEIGHTS, DENSITIES, SAMPLERS, NETWORKS, conditions(NETWORKS["unet"][1]))
    assert parts == {(name, part) for name, axis in zip(Choice._fields, everything, strict=True) for part in axis}
    assert by == set(itertools.product(NETWORKS, ("adamw", "adam", "muon")))
