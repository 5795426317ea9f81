"""FID at the end of a run, through the real library with random weights: planned for, measured, recorded."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from support.inception_file import write_random_inception
from support.tiny_experiment import Watching
from torch import nn

from ddpm_exp.loading.loaded import load_experiment
from ddpm_exp.records.run_directory import RunDirectory
from ddpm_exp.workflow.options import RunOptions
from ddpm_exp.workflow.run import run_seed


def test_a_run_measures_fid_with_as_many_images_at_once_as_were_planned(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    weights = write_random_inception(folder / "inception.pth")
    overrides = ["data.subset=8", "evaluation.fid.images=6", f"evaluation.fid.weights={weights}"]
    loaded = load_experiment("experiments/adr_0001.py", overrides)
    monkeypatch.setattr("ddpm_exp.workflow.measure_images.fid_batch", lambda *_: 4)  # this machine has room for more
    seen: list[int] = []

    def watch(module: nn.Module, given: tuple[torch.Tensor, ...]) -> None:
        if type(module).__name__ == "FeatureExtractorInceptionV3":
            seen.append(len(given[0]))

    hook = nn.modules.module.register_module_forward_pre_hook(watch)
    try:
        display = Watching()
        done = run_seed(loaded, 0, RunOptions(), display)
    finally:
        hook.remove()
    assert done.state == "finished"
    assert seen == [4, 4, 3, 3], "8 real ones and 6 drawn, in equal parts of at most 4"
    metrics = RunDirectory.open(done.run).metrics
    found = {name: metrics.series(f"samples/{name}")[-1][1] for name in ("fid", "fid_generated", "fid_reals")}
    assert found["fid"] > 0 and (found["fid_generated"], found["fid_reals"]) == (6, 8)
    assert "this FID is from 6 images; papers use 50,000" in display.text
