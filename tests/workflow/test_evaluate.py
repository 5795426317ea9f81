"""What `evaluate` says of its cost, and which settings it makes of what was named."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from support.recorded_run import record, small
from support.tiny_training import tiny_artist

from ddpm_exp.data.datasets import load as load_data
from ddpm_exp.evaluation.asked import in_proportion
from ddpm_exp.memory.timing import drawing_seconds
from ddpm_exp.ranks.ranks import SINGLE
from ddpm_exp.records.run_directory import RunDirectory
from ddpm_exp.spec.condition import ClassLabels
from ddpm_exp.spec.errors import UserError
from ddpm_exp.spec.evaluation import FD, Evaluation
from ddpm_exp.spec.hardware import find_gpu
from ddpm_exp.spec.sampling import Sampling
from ddpm_exp.workflow.evaluate import Row, evaluate
from ddpm_exp.workflow.evaluate_cost import Clock, costs, in_words
from ddpm_exp.workflow.evaluate_settings import Network, Wanted, compared
from ddpm_exp.workflow.load import load

STOCHASTIC = small(sampling=Sampling(sampler="ddim", steps=4, eta=0.5, weights="raw"))
CLASSES = small(condition=ClassLabels())


def test_what_is_left_is_reckoned_by_the_passes_through_the_network_and_said_while_it_is_drawn(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now, said = [0.0], list[str]()
    monkeypatch.setattr("ddpm_exp.workflow.evaluate_cost.time.monotonic", lambda: now[0])
    settings = compared(CLASSES, Wanted(n=400, steps=(2, 4), guidance=(1.0, 3.0)))
    clock, artist = Clock(settings, said.append), replace(tiny_artist(), batch=100)
    left = []
    for sampling, seconds in zip(settings.samplings, (20, 40, 40, 80), strict=True):
        clock.begin(sampling, artist)
        for _ in range(4):
            assert not clock.tick()
            now[0] += seconds
        assert clock.drawn() == 4 * seconds
        now[0] += 5  # of measuring
        left.append(clock.measured())
    # Passes for each image: 2, with guidance 4; 4, with guidance 8.
    assert left == [80 * 16 / 2 + 3 * 5, 160 * 12 / 4 + 2 * 5, 160 * 8 / 4 + 5, None]
    assert said[:2] == [
        "setting 1 of 4: 200 of 400 images drawn, the rest in about 40 s",
        "setting 2 of 4: 100 of 400 images drawn, the rest in about 2 min",
    ]


def test_time_and_memory_are_said_of_all_settings_and_on_a_gpu_by_the_catalogue(tmp_path: Path) -> None:
    loaded, settings = load(record(tmp_path, CLASSES)), compared(CLASSES, Wanted(n=100_000, steps=(2, 4), guidance=(1.0, 3.0)))
    splits = load_data(CLASSES.data, CLASSES.condition)
    conditions = in_proportion(CLASSES.condition, splits.train, torch.arange(64))
    said = costs(settings, loaded, find_gpu("cpu"), splits, conditions, 64, SINGLE)
    assert (
        said[0] == "4 settings x 100,000 images: 1,200,000 network calls, for fd_effnet, kid_effnet, precision, recall, noise_left"
    )
    assert re.match(r"time: about \S+ \S+ of drawing, \S+ (min|h) of features, and \S+ s for those of real images unless", said[1])
    # 100,000 images: 1,280 features of 48 bytes each, beside which digits are small.
    assert said[2].endswith("of which 5.7 GiB for images and features")
    seconds = drawing_seconds(CLASSES, find_gpu("H200"), "fp32", calls=100_000 * (2 + 4 + 4 + 8), together=64)
    assert seconds is not None
    on_gpu = costs(settings, loaded, find_gpu("H200"), splits, conditions, 64, SINGLE)
    assert on_gpu[1].startswith(f"time: about {in_words(seconds[0])} of drawing (estimated for H200, within a factor of 2), ")
    assert re.match(r"memory: at most \S+ [GM]iB of each GPU, and 5.7 GiB of the host for images and features", on_gpu[2])


def test_what_the_run_does_not_have_is_told_before_anything_else_is_drawn(tmp_path: Path) -> None:
    run, drawn = record(tmp_path, CLASSES), list[Row]()
    for checkpoints, widths, said in (
        ((320, 64), (), "no checkpoint after"),
        ((320, "best"), (), "no best"),
        ((), (0.1,), "no snapshots"),
    ):
        wanted = Wanted(n=4, checkpoints=checkpoints, weights=("raw",) if widths else (), sigma_rel=widths, metrics=("noise_left",))  # type: ignore[arg-type]
        with pytest.raises(UserError, match=said):
            evaluate(run, wanted, on_row=lambda row, done: drawn.append(row))
    assert drawn == []


def test_noise_left_is_counted_in_all_drawn_images_without_any_pretrained_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ddpm_exp.evaluation.packages._FIDELITY", {"no_such_module": "no-such-package"})
    run = record(tmp_path, CLASSES)
    found = evaluate(run, Wanted(n=40, metrics=("noise_left",)))
    assert found is not None
    assert found.rows[0].values == {"samples/noise_left": 1.0, "samples/measured": 40.0}, "a network of random weights"
    (kept,) = RunDirectory.open(run).evaluations.read()
    assert (kept.measurement["n"], kept.measurement["reals_sha256"]) == (40, load_data(CLASSES.data, CLASSES.condition).fingerprint)
    assert kept.drawing["calibrate"] is True


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
        "pip install no-such-package (or 'ddpm-exp[fidelity]'); or take --metrics noise_left",
    )
