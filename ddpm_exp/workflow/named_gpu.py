"""The GPU that an experiment names must hold it, whichever machine runs it: said with the plan's reasons before anything starts."""

from __future__ import annotations

from ddpm_exp.loading.loaded import Loaded
from ddpm_exp.spec.errors import UserError
from ddpm_exp.spec.hardware import find_gpu


def require_named_gpu(loaded: Loaded) -> None:
    """Raise UserError unless the experiment names no GPU or one that holds it. Asks no device."""
    own = loaded.experiment.hardware.gpu
    if own is None:
        return
    from ddpm_exp.memory.plan import plan_table

    reason = plan_table(loaded.experiment, [find_gpu(own)])[0].reason
    if reason is not None:
        raise refusal(reason, loaded)


def refusal(reason: UserError, loaded: Loaded) -> UserError:
    """`reason` with the line or the override that set its field, else that which names the GPU."""
    origin = loaded.origins.get(reason.field or "") or loaded.origins.get("hardware.gpu")
    return UserError(reason.rule, field=reason.field, value=reason.value, fix=reason.fix, origin=origin)
