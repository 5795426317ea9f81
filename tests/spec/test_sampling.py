"""Sampling: fields of another sampler, and ranges the wrong way round, are refused with the fix."""

from __future__ import annotations

from typing import Any, get_args

import pytest
from pydantic import ValidationError

from ddpm_exp.spec.sampling import Sampler, Sampling


@pytest.mark.parametrize("sampler", get_args(Sampler))
def test_every_sampler_is_valid_by_name_alone(sampler: Any) -> None:
    assert Sampling(sampler=sampler).steps == 50


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"sampler": "euler", "eta": 0.5}, "eta"),
        ({"variance": "large"}, "variance"),
        ({"sampler": "heun", "churn": 10.0}, "churn"),
        ({"sampler": "edm-stochastic", "churn_min": 50.0}, "churn_min"),
        ({"guidance_scale": 2.0, "guidance_interval": (5.0, 0.2)}, "guidance_interval"),
        ({"guidance_rescale": 0.7}, "guidance_rescale"),
        ({"guidance_interval": (0.2, 5.0)}, "guidance_interval"),
        ({"guide": "runs/small"}, "guide"),
    ],
)
def test_what_means_nothing_is_refused_with_the_fix(wrong: dict[str, Any], field: str) -> None:
    with pytest.raises(ValidationError) as caught:
        Sampling(**wrong)
    (error,) = caught.value.errors()
    assert error["ctx"]["field"] == field
    assert error["ctx"]["fix"]
