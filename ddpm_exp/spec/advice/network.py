"""Advice on what fits tables, and on how a network is told the noise level."""

from __future__ import annotations

from ddpm_exp.spec.advice.rule import Advice, Case, rule
from ddpm_exp.spec.data import family_of


@rule("learning rate of a table's network outside 1e-4 to 5e-4", reads=("training.learning_rate", "data.kind"), guides=("002",))
def table_learning_rate(case: Case) -> Advice | None:
    rate = case.experiment.training.learning_rate
    if family_of(case.experiment.data) != "vector" or 1e-4 <= rate <= 5e-4:
        return None
    says = "guide 002 takes 1e-4 to 5e-4 for tables"
    return Advice("training.learning_rate", rate, says, ("002",), "set training.learning_rate to 3e-4")


@rule("images per step on a table outside 128 to 512", reads=("training.images_per_step", "data.kind"), guides=("002",))
def table_batch(case: Case) -> Advice | None:
    count = case.experiment.training.images_per_step
    if family_of(case.experiment.data) != "vector" or 128 <= count <= 512:
        return None
    says = "guide 002 takes 128 to 512 rows per step for tables"
    return Advice("training.images_per_step", count, says, ("002",), "set training.images_per_step to 256")


@rule(
    "Fourier time features where the network is told whole times or times up to 1000",
    reads=("model.time_features", "diffusion.schedule"),
    guides=("Song et al. 2021",),
)
def fourier_of_large_times(case: Case) -> Advice | None:
    if case.experiment.model.time_features != "fourier" or case.experiment.diffusion.schedule == "ve":
        return None
    says = (
        "Fourier features are made for logarithms of the noise, a few units wide, as on ve; of times up to 1000 they make "
        "numbers that neighbouring times do not share"
    )
    fix = "set model.time_features to 'sinusoidal', or diffusion.schedule to 've'"
    return Advice("model.time_features", "fourier", says, ("Song et al. 2021",), fix)


RULES = (table_learning_rate, table_batch, fourier_of_large_times)
