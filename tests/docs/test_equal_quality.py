"""The comparison with diffusers' loop: both begin alike and average by one rule, and the figures of its page are what runs say."""

from __future__ import annotations

import json
import math
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import torch

from ddpm_exp.data.examples import Facts
from ddpm_exp.models.diffusers_unet import from_diffusers
from ddpm_exp.spec.experiment import Experiment
from ddpm_exp.training.ema import decay
from ddpm_exp.workflow.assemble import build

ROOT = Path(__file__).parents[2]


def _module(folder: str, name: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(sys, "path", [str(ROOT / folder), *sys.path])
    return import_module(name)


def _run(trainer: str, seed: int, fds: tuple[float, ...], minutes: tuple[float, ...]) -> dict[str, Any]:
    moments = [
        {"images": number + 1, "minutes": time, "fd": fd} for number, (time, fd) in enumerate(zip(minutes, fds, strict=True))
    ]
    row = {"trainer": trainer, "seed": seed, "initial_weights": "ddpm-exp", "moments": moments, "images_per_second": 100.0}
    return row | moments[-1] | ({"fd_usual": 2 * fds[-1]} if trainer == "peer" else {}) | {"at_once": 1}


RUNS = [
    *(_run("ours", seed, (400.0 + seed, 200.0 + seed, 100.0 + seed), (1.0, 2.0, 4.0)) for seed in (0, 1, 2)),
    *(_run("peer", seed, (400.0 + seed, 200.0 + seed, 100.0 + seed), (3.0, 6.0, 12.0)) for seed in (0, 1, 2)),
]


def test_equal_runs_have_a_ratio_of_one_and_the_times_theirs(monkeypatch: pytest.MonkeyPatch) -> None:
    (found,) = _module("benchmarks", "equal_summary", monkeypatch).summary(RUNS)
    assert found["ratio"] == {"mean": 1.0, "interval": [1.0, 1.0], "seeds": [0, 1, 2]}
    assert found["ratio_usual"]["mean"] == 0.5
    assert [one["ratio"] for one in found["same_fd"]] == [3.0, 3.0, 3.0]
    low, high = found["fd"]["ours"]["interval"]
    assert (low + high) / 2 == pytest.approx(101.0) and high - 101.0 == pytest.approx(4.3027 / math.sqrt(3), rel=1e-3)


def test_one_seed_has_no_interval_and_no_curve_is_drawn_beyond_its_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    module = _module("benchmarks", "equal_summary", monkeypatch)
    (found,) = module.summary([_run("ours", 0, (400.0, 150.0), (1.0, 2.0)), _run("peer", 0, (410.0, 140.0), (3.0, 6.0))])
    assert found["fd"]["peer"]["interval"] is None and found["ratio"]["interval"] is None
    assert [one["ratio"] for one in found["same_fd"]] == [None, None]
    assert module.minutes_to([(1.0, 400.0), (4.0, 100.0)], 200.0) == pytest.approx(2.0)


def test_the_peer_begins_with_our_weights_and_averages_by_our_rule(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("diffusers")
    peer_module, training = (_module("benchmarks", name, monkeypatch) for name in ("equal_peer", "equal_training"))
    settings = {"data": tmp_path, "network": training.SMALL, "dropout": 0.1, "batch": 4, "images": 16, "moments": 2, "every": 8}
    settings |= {"warmup": 8, "half_life": 100, "ramp": 0.5, "precision": "fp32"}
    from ddpm_exp.loading.loaded import load_experiment

    place = training.Place(tmp_path, settings, False)
    experiment: Experiment = load_experiment(str(place.experiment(tmp_path)), []).experiment
    pixels = torch.randint(0, 256, (10, 3, 32, 32), dtype=torch.uint8)
    peer = peer_module.Peer(experiment, pixels, 3, "ddpm-exp", compiled=False, usual=True)
    ours = build(experiment, Facts((3, 32, 32)), 3)
    placed = from_diffusers(peer.averages()["same"], dict(peer.network.config))
    assert not (placed.missing or placed.unexpected or placed.mismatched)
    torch.testing.assert_close(placed.weights, dict(ours.state_dict()), rtol=0, atol=0)

    expected = [weight.detach().clone() for weight in peer.weights]
    for seen in (4, 8, 12):
        peer.step()
        keep = decay(images_per_step=4, images_seen=seen, half_life_images=100, ramp=0.5)
        expected = [keep * before + (1 - keep) * weight.detach() for before, weight in zip(expected, peer.weights, strict=True)]
    assert any(not torch.equal(average, weight) for average, weight in zip(peer.average, peer.weights, strict=True))
    torch.testing.assert_close(peer.average, expected)


def test_a_training_leaves_every_moment_that_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("diffusers")
    peer_module, training = (_module("benchmarks", name, monkeypatch) for name in ("equal_peer", "equal_training"))
    settings = {"data": tmp_path, "network": training.SMALL, "dropout": 0.0, "batch": 4, "images": 64, "moments": 4, "every": 16}
    settings |= {"warmup": 8, "half_life": 100, "ramp": 0.05, "precision": "fp32"}
    from ddpm_exp.loading.loaded import load_experiment

    place = training.Place(tmp_path, settings, False)
    part = training.Part("peer", 0, "diffusers", place)
    experiment = load_experiment(str(place.experiment(part.folder)), []).experiment
    peer = peer_module.Peer(experiment, torch.zeros(8, 3, 32, 32, dtype=torch.uint8), 0, "diffusers", compiled=False, usual=True)
    peer_module.train(peer, 16, part.folder)
    moments = dict(part.moments(dict(peer.network.config)))
    assert list(moments) == [16, 32, 48, 64] and all(set(one) == {"same", "usual"} for one in moments.values())
    build(experiment, Facts((3, 32, 32)), 0).load_state_dict(moments[64]["usual"])
    assert json.loads((part.folder / "progress.json").read_text())["images"] == 64


def test_the_page_says_the_ratio_with_its_interval_and_the_times(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = _module("docs", "make_equal_quality", monkeypatch)
    found = {"n": 40, "floor": 9.0, "device": "a GPU", "torch": "2", "compiled": False, "settings": {"images": 3}, "runs": RUNS}
    found |= {"images_per_second_alone": {"ours": 300.0, "peer": 100.0}}
    found["summary"] = _module("benchmarks", "equal_summary", monkeypatch).summary(RUNS)
    text = page.page(found)
    assert "| 101.0 (98.5 to 103.5) | 1.000 (1.000 to 1.000) |" in text
    assert "| 101.0 | 12.00 | 4.00 | 3.0 x |" in text
    page.draw(found, tmp_path / "curve.png")
    assert (tmp_path / "curve.png").read_bytes().startswith(b"\x89PNG")
