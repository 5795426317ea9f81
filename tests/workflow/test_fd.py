"""Distances in EfficientNet-Lite0's features at the end of a run: drawn, measured and recorded with what they depend on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from support.shard_files import write_shard, write_shards
from support.tiny_experiment import Watching, write_tiny

from ddpm_exp.data.datasets import load as load_data
from ddpm_exp.data.examples import Batch
from ddpm_exp.data.pixels import to_uint8
from ddpm_exp.evaluation.asked import in_proportion
from ddpm_exp.evaluation.drawing import Artist
from ddpm_exp.evaluation.extractors import efficientnet
from ddpm_exp.evaluation.image_measures import Comparison, of_fd
from ddpm_exp.evaluation.reals import every
from ddpm_exp.loading.loaded import load_experiment
from ddpm_exp.records.run_directory import RunDirectory
from ddpm_exp.spec.errors import UserError
from ddpm_exp.spec.metrics import find_metric
from ddpm_exp.spec.restored import experiment_of
from ddpm_exp.workflow.evaluate import evaluate
from ddpm_exp.workflow.evaluate_settings import Wanted
from ddpm_exp.workflow.load import load
from ddpm_exp.workflow.options import RunOptions
from ddpm_exp.workflow.run import run_seed

METRICS = ("fd_effnet", "kid_effnet", "precision", "recall")


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("fd")
    pattern = write_shards(folder / "shards")
    return write_tiny(folder / "experiments", f"data = Shards(train={pattern!r}, image_size=8)")


@pytest.fixture(scope="module")
def run(file: Path) -> RunDirectory:
    loaded = load_experiment(file, ["evaluation.fd.images=12"])
    done = run_seed(loaded, 0, RunOptions(root=file.parent / "runs"), Watching())
    assert done.state == "finished"
    return RunDirectory.open(done.run)


def test_a_run_records_each_distance_beside_its_floor(run: RunDirectory) -> None:
    last = run.metrics.read()[-1]
    counts = {"samples/fd_generated", "samples/fd_reals"}
    assert set(last.values) == counts | {f"samples/{name}{end}" for name in METRICS for end in ("", "_of_real")}
    assert last.values["samples/fd_generated"] == 12, "of which precision is a share"
    assert all(find_metric(name).out_of in counts for name in ("samples/precision", "samples/recall"))
    assert last.images == run.manifest.units.total_images
    assert 0 < last.values["samples/fd_effnet_of_real"] < last.values["samples/fd_effnet"]


def test_the_same_values_stand_with_all_that_they_depend_on(run: RunDirectory) -> None:
    (kept,) = run.evaluations.read()
    assert (kept.images, kept.by) == (run.manifest.units.total_images, "run")
    assert kept.values.items() <= run.metrics.read()[-1].values.items() and len(kept.values) == 8
    told, splits = kept.measurement, load_data(load(run.path).experiment.data)
    assert (told["n"], told["extractor"], told["weights_sha256"]) == (12, "efficientnet-lite0", efficientnet().sha256)
    assert (told["reals"], told["reals_n"]) == ("held-out", len(splits.held_out))
    assert told["reals_sha256"] == every(splits, "held-out").sha256
    drawn = kept.drawing
    assert (drawn["sampler"], drawn["steps"], drawn["grid"], drawn["guidance_scale"]) == ("dpm++3m-sde", 2, "trailing", 1.0)
    assert (drawn["weights"], drawn["seed"], drawn["checkpoint"], drawn["calibrate"]) == ("ema", 0, "last", True)
    assert set(drawn["versions"]) == {"ddpm-exp", "torch"} and all(drawn["versions"].values())
    assert drawn.items() >= experiment_of(run.manifest.config).sampling.model_dump(mode="json").items(), "every field"
    assert kept.cost["network_calls"] == 24 and kept.cost["seconds"] > 0


def test_they_are_those_of_samples_drawn_again_from_the_run(run: RunDirectory) -> None:
    loaded = load(run.path)
    splits, numbers = load_data(loaded.experiment.data, loaded.experiment.condition), torch.arange(12)
    conditions = in_proportion(loaded.experiment.condition, splits.train, numbers)
    drawn = loaded.artist(None, 0).draw(loaded.network, conditions, numbers, held_out=False)
    fd = loaded.experiment.evaluation.fd
    assert fd is not None
    again = Comparison(of_fd(fd), splits, 12, loaded.device).of(to_uint8(drawn))
    assert again is not None
    (kept,) = run.evaluations.read()
    assert again.values == pytest.approx(kept.values, rel=1e-4, abs=1e-4) and again.measurement == kept.measurement


def test_a_smoke_run_leaves_them_out(file: Path) -> None:
    loaded = load_experiment(file, ["evaluation.fd.images=12"])
    done = run_seed(loaded, 0, RunOptions(root=file.parent / "smoke", smoke=True), Watching())
    assert RunDirectory.open(done.run).evaluations.read() == []


def test_classes_are_drawn_as_often_as_the_data_has_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keys = [f"{3 * k:04d}" for k in range(36)] + [f"{3 * k + 1:04d}" for k in range(4)]  # 36 of one class, 4 of another
    shard, held_out = write_shard(tmp_path / "train-0.tar", keys), write_shard(tmp_path / "test-0.tar", keys[::4])
    file = write_tiny(tmp_path / "experiments", f"data = Shards(train={str(shard)!r}, held_out={str(held_out)!r}, image_size=8)")
    asked: list[torch.Tensor | None] = []
    draw = Artist.draw

    def watched(artist: Artist, network: torch.nn.Module, batch: Batch, *rest: Any, **more: Any) -> torch.Tensor:
        asked.append(batch.labels)
        return draw(artist, network, batch, *rest, **more)

    monkeypatch.setattr(Artist, "draw", watched)
    display = Watching()
    done = run_seed(load_experiment(file, ["evaluation.fd.images=44"]), 0, RunOptions(root=tmp_path / "runs"), display)
    assert "there are 40 training images for the floor, and 44 were drawn" in display.text
    at_end = asked[-1]
    assert at_end is not None and at_end[:40].bincount().tolist() == [36, 4], "not twenty of each"
    evaluate(done.run, Wanted(n=80, steps=(1,), metrics=("recall",)))
    later = asked[-1]
    assert later is not None and later.bincount().tolist() == [72, 8]


def test_too_few_held_out_images_are_told_before_anything_is_trained(tmp_path: Path) -> None:
    train = write_shard(tmp_path / "train-0.tar", [f"{k:04d}" for k in range(12)])
    held_out = write_shard(tmp_path / "test-0.tar", ["0012", "0013", "0014"])
    file = write_tiny(tmp_path / "experiments", f"data = Shards(train={str(train)!r}, held_out={str(held_out)!r}, image_size=8)")
    with pytest.raises(UserError) as caught:
        run_seed(load_experiment(file, ["evaluation.fd.images=12"]), 0, RunOptions(root=tmp_path / "runs"), Watching())
    assert caught.value.field == "evaluation.fd" and caught.value.exit_code == 2
    assert "there must be 4 at least, and the data hold out 3" in caught.value.rule
    assert not (tmp_path / "runs").exists()
