"""Whatever `Diffusion` accepts can be trained: losses and gradients are finite at both ends of its path."""

from __future__ import annotations

from typing import Any, get_args

import torch
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from ddpm_exp.diffusion import draws
from ddpm_exp.diffusion.objective import Objective
from ddpm_exp.diffusion.paths import build_path
from ddpm_exp.spec.diffusion import Diffusion

SCHEDULES = ["linear", "scaled-linear", "cosine", "sigmoid", "vp-linear", "vp-cosine", "rectified-flow", "ve"]
IMAGES = (torch.arange(4 * 3 * 16) * 37 % 256 / 127.5 - 1).view(4, 3, 4, 4)


@st.composite
def specs(draw: st.DrawFn) -> Diffusion:
    fields: dict[str, Any] = {
        name: draw(st.sampled_from(get_args(Diffusion.model_fields[name].annotation)))
        for name in ("prediction", "weight", "time_density", "preconditioning")
    }
    schedule = draw(st.sampled_from(SCHEDULES))
    fields |= {"schedule": schedule, "time_density": "uniform" if draw(st.booleans()) else fields["time_density"]}
    if schedule in ("linear", "scaled-linear"):
        low, high = sorted((draw(st.floats(1e-10, 0.999)), draw(st.floats(1e-10, 0.999))))
        fields |= {"beta_start": low, "beta_end": high}
    if schedule == "sigmoid":
        fields |= {"sigmoid_start": draw(st.floats(-20, 20)), "sigmoid_end": draw(st.floats(-20, 20))}
        fields |= {"sigmoid_tau": draw(st.floats(0.05, 10))}
    if schedule == "cosine":
        fields["cosine_s"] = draw(st.floats(0, 0.99))
    if schedule == "vp-linear":
        low, high = sorted((draw(st.floats(1e-4, 10)), draw(st.floats(1e-4, 100))))
        fields |= {"beta_min": low, "beta_max": high}
    if schedule == "ve":
        fields |= {"sigma_min": draw(st.floats(1e-5, 0.99)), "sigma_max": draw(st.floats(1.01, 1e4))}
        fields["sigma_data"] = draw(st.floats(1e-3, 10))
    if schedule in ("linear", "scaled-linear", "cosine", "sigmoid"):
        fields["timesteps"] = draw(st.sampled_from([2, 3, 10, 100, 1000]))
        fields["zero_terminal_snr"] = draw(st.booleans())
        fields["learned_variance"] = draw(st.booleans())
    if fields["prediction"] in ("eps", "score") and (
        fields.get("zero_terminal_snr") or schedule in ("vp-cosine", "rectified-flow")
    ):
        fields["prediction"] = "v"
    if schedule == "ve" and draw(st.booleans()):
        fields |= {"preconditioning": "edm", "prediction": "x0"}
    try:
        return Diffusion(**fields)
    except ValidationError:
        assume(False)
        raise


@given(spec=specs(), shape=st.sampled_from([(3, 4, 4), (48,), (3, 16)]), scale=st.sampled_from([0.0, 1.0, 30.0]))
@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.filter_too_much])
def test_every_spec_gives_finite_losses_and_gradients_at_both_ends(spec: Diffusion, shape: tuple[int, ...], scale: float) -> None:
    path = build_path(spec)
    objective = Objective(spec, path, images_per_step=4, device="cpu")
    x0, eps = IMAGES.view(4, *shape), draws.normal(0, "noise", torch.arange(4), shape)
    ends = [path.first, path.first, path.last, path.last]
    t = torch.tensor(ends).round().long() if path.discrete else torch.tensor(ends)
    said = torch.zeros(4, *shape) + scale * draws.normal(1, "noise", torch.arange(4), shape)
    if spec.learned_variance:
        said = torch.cat([said, said / 30], dim=1)
    said.requires_grad_()
    losses = objective.losses(lambda x, c, condition: said, x0, objective.noised_at(x0, eps, t), None)
    losses.mean().backward()
    assert losses.dtype == torch.float32 and losses.isfinite().all()
    assert said.grad is not None and said.grad.isfinite().all()
