"""What can be said about an experiment without a GPU: parameters, plans, advice."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

from ddpm_exp.loading.diff import Change, diff_experiments
from ddpm_exp.loading.loaded import Loaded
from ddpm_exp.memory.plan import PlanRow, plan_table
from ddpm_exp.spec.advice.advise import advise, advise_change
from ddpm_exp.spec.advice.rule import Advice
from ddpm_exp.spec.errors import UserError
from ddpm_exp.spec.hardware import find_gpu
from ddpm_exp.workflow.parameters import parameter_count


@dataclass(frozen=True)
class Checked:
    """A valid experiment and what there is to know about it before it runs."""

    loaded: Loaded
    changes: tuple[Change, ...]
    plans: list[PlanRow]
    advice: tuple[Advice, ...]
    parameters: int | None


def check(loaded: Loaded, gpus: Sequence[str]) -> Checked:
    """Plan for each of `gpus` (catalogue names) and collect advice. Touches no device and reads no data set.

    Raises UserError where the experiment names a GPU that cannot hold it.
    """
    experiment, baseline = loaded.experiment, loaded.baseline
    own = experiment.hardware.gpu
    wanted = [find_gpu(name) for name in dict.fromkeys([*([own] if own else []), *gpus])]
    plans = plan_table(experiment, wanted)
    if own and (reason := plans[0].reason) is not None:
        raise UserError(
            reason.rule, field=reason.field, value=reason.value, fix=reason.fix, origin=loaded.origins.get("hardware.gpu")
        )
    advice = advise(experiment, host_cores=os.cpu_count())
    return Checked(
        loaded,
        diff_experiments(baseline.experiment, experiment) if baseline else (),
        plans,
        advice + (advise_change(baseline.experiment, experiment) if baseline else ()),
        parameter_count(experiment),
    )
