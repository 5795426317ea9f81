"""Amending an experiment's plan: seeds added after runs were made, recorded beside them with the reason. Judges nothing."""

from __future__ import annotations

from pathlib import Path

from ddpm_exp.decisions.looks import added_seeds, amendment, plan_of, require_amendable, require_plan
from ddpm_exp.loading.loaded import Loaded
from ddpm_exp.records.amendments import Amendment, AmendmentLog
from ddpm_exp.spec.errors import UserError
from ddpm_exp.workflow.arms import arms_of


def settle_plan(loaded: Loaded, root: Path, why: str | None) -> Amendment | None:
    """Make sure that the seeds of `loaded` are those its runs under `root` were planned with, or with `why` amend the plan to them.

    The same amendment given again (as on resuming) is found and not repeated. None where nothing was to amend and no `why` given.
    Raises UserError where seeds were added without a `why`, or taken out, or where there is nothing that `why` could amend.
    """
    decision = loaded.experiment.decision
    if decision is None:
        return None if why is None else _nothing(why, "the experiment has no decision, and plans no seeds")
    variant, _ = arms_of(loaded, root)
    if why is None:
        require_plan(decision, variant)
        return None
    if not why.strip():
        raise UserError("an amendment has a reason", field="--amend", value=why, fix='say why: --amend "the seeds differ too much"')
    if plan_of(variant) is None:
        return _nothing(why, "no run was made yet, so that seeds are still free to choose")
    if not added_seeds(decision, variant):
        last = variant.amendments[-1] if variant.amendments else None
        return last if last is not None and last.why == why else _nothing(why, "the seeds are those that were planned")
    require_amendable(decision, variant)
    found = amendment(decision, variant, why)
    AmendmentLog(root, loaded.name, variant.science_hash).append(found)
    return found


def _nothing(why: str, rule: str) -> Amendment:
    raise UserError(f"there is nothing to amend: {rule}", field="--amend", value=why, fix="leave out --amend")
