"""A run whose images stay in their files is the run whose images lie on the device, interrupted or not."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from support.shard_files import write_shards
from support.tiny_experiment import Watching, assert_same_tensors, write_tiny

from ddpm_exp.loading.loaded import load_experiment
from ddpm_exp.workflow.check import check
from ddpm_exp.workflow.options import RunOptions
from ddpm_exp.workflow.run import Outcome, run_seed
from ddpm_exp.workflow.starving import starving


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    pattern = write_shards(tmp_path / "shards", ".tar.gz")
    data = f"Shards(train={pattern!r}, cache={str(tmp_path / 'cache')!r}, image_size=8, flip=True)"
    return write_tiny(tmp_path / "experiments", f"data = {data}")


def run(file: Path, data_in: str, root: str, display: Watching | None = None) -> Outcome:
    loaded = load_experiment(file, [f"hardware.data_in={data_in}"])
    return run_seed(loaded, 0, RunOptions(root=Path(root)), display or Watching())


def test_a_run_from_files_is_the_run_from_the_device_even_if_it_is_interrupted(file: Path) -> None:
    whole = run(file, "device", "whole")
    stopping = Watching(on_progress=lambda seen: os.kill(os.getpid(), signal.SIGTERM) if seen == 48 else None)
    assert run(file, "workers", "parts", stopping).state == "interrupted"
    display = Watching()
    done = run(file, "workers", "parts", display)
    assert done.state == "finished"
    assert "data: from files" in display.text
    assert_same_tensors(done.run, whole.run)


def test_a_check_says_where_the_images_will_be_on_each_gpu(file: Path) -> None:
    loaded = load_experiment(file)
    assert "known once the shards are unpacked" in check(loaded, ["T4"]).places[0]
    run(file, "device", "whole")
    places = check(load_experiment(file), ["T4", "V100-32"]).places
    assert all(": data: on the device: " in place for place in places)
    assert ", ".join(place.split(":")[0] for place in places) == "T4, V100-32"
    (place,) = check(load_experiment(file, ["hardware.data_in=workers"]), ["T4"]).places
    assert "from files" in place


def test_a_check_names_shards_that_are_not_here(file: Path) -> None:
    checked = check(load_experiment(file, ["data.train=shards/other-{0..3}.tar"]), ["T4"])
    assert checked.not_here == {"data.train": "shards/other-{0..3}.tar"}
    assert checked.places == ()


def test_waiting_for_data_is_told_with_the_measured_rates() -> None:
    assert starving({"speed/images_per_second": 100.0, "speed/data_wait_share": 0.05}, 2) is None
    told = starving({"speed/images_per_second": 100.0, "speed/data_wait_share": 0.75}, 2)
    assert told is not None
    assert "2 workers decode 100 images/s, and the device could train on about 400" in told
