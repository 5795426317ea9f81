"""What `evaluate` says of its cost, and which settings it makes of what was named."""

from __future__ import annotations

import re
import time
from dataclasses import replace
from pathlib import Path

import pytest
from support.recorded_run import small
from support.tiny_training import tiny_artist

from ddpm_exp.spec.errors import UserError
from ddpm_exp.spec.evaluation import FD, Evaluation
from ddpm_exp.spec.sampling import Sampling
from ddpm_exp.workflow.evaluate import _Clock
from ddpm_exp.workflow.evaluate_settings import Network, Wanted, compared

STOCHASTIC = small(sampling=Sampling(sampler="ddim", steps=4, eta=0.5, weights="raw"))


def test_the_time_of_all_drawing_is_said_once_a_batch_has_been_timed() -> None:
    said: list[str] = []
    settings = compared(STOCHASTIC, Wanted(n=400, steps=(2, 8)))
    clock, artist = _Clock(settings, said.append), replace(tiny_artist(), batch=50)
    clock.begin(2, artist)
    for pause in (0.3, 0.1, 0.1, 0.1):  # the first also captures, and tells nothing of the others
        clock.tick()
        time.sleep(pause)
    (only,) = said
    found = re.match(r"drawing all of it takes about (\d+) s; features and distances come on top", only)
    # 50 images with 2 calls take 0.1 s: 400 images with 2 and 8 calls take 40 times as long.
    assert found and 3 <= int(found[1]) <= 8
    assert clock.end() >= 0.6


def test_nothing_named_is_as_the_experiment_has_it() -> None:
    found = compared(STOCHASTIC.but(evaluation=Evaluation(fd=FD(images=3000))), Wanted())
    assert (found.images, found.samplings, found.networks) == (3000, (STOCHASTIC.sampling,), (Network(),))
    (measure,) = found.measures
    assert measure.metrics == ("fd_effnet", "kid_effnet", "precision", "recall")
    assert compared(STOCHASTIC, Wanted()).images == 5000


def test_fields_of_the_experiment_s_own_sampler_are_left_at_their_defaults_for_another_and_said() -> None:
    found = compared(STOCHASTIC, Wanted(samplers=("ddim", "heun", "unipc")))
    assert [(one.sampler, one.eta) for one in found.samplings] == [("ddim", 0.5), ("heun", 0.0), ("unipc", 0.0)]
    assert all(one.steps == 4 and one.weights == "raw" for one in found.samplings), "all else stays"
    assert found.notes == (
        "sampling.eta means nothing for heun and is left at 0.0",
        "sampling.eta means nothing for unipc and is left at 0.0",
    )


def test_weights_and_widths_each_go_with_every_checkpoint() -> None:
    found = compared(STOCHASTIC, Wanted(weights=("ema", "raw"), checkpoints=("last", 320)))
    assert found.networks == (Network("ema"), Network("raw"), Network("ema", None, 320), Network("raw", None, 320))
    assert compared(STOCHASTIC, Wanted(sigma_rel=(0.05, 0.1))).networks == (Network(None, 0.05), Network(None, 0.1))


def test_metrics_of_two_extractors_are_measured_on_the_same_images(tmp_path: Path) -> None:
    weights = tmp_path / "inception.pth"
    weights.touch()
    found = compared(STOCHASTIC, Wanted(n=100, metrics=("fid", "samples/recall", "kid"), inception=str(weights)))
    assert [(one.extractor.called, one.metrics, one.against) for one in found.measures] == [
        ("EfficientNet-Lite0", ("recall",), "held-out"),
        ("Inception", ("fid", "kid"), "train"),
    ]


def test_a_package_that_lacks_is_told_for_the_option(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ddpm_exp.evaluation.packages._FIDELITY", {"no_such_module": "no-such-package"})
    with pytest.raises(UserError) as caught:
        compared(STOCHASTIC, Wanted())
    assert (caught.value.field, caught.value.fix) == (
        "--metrics",
        "pip install no-such-package (or 'ddpm-exp[fidelity]'); or name other metrics",
    )
