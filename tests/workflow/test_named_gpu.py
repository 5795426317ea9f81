"""An experiment that names a GPU which cannot hold it is not valid: check and run say so, with the plan's reasons."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.tiny_experiment import Watching, write_tiny

from ddpm_exp.loading.loaded import load_experiment
from ddpm_exp.spec.errors import UserError
from ddpm_exp.workflow.check import check
from ddpm_exp.workflow.options import RunOptions
from ddpm_exp.workflow.run import run_seed

TOO_LARGE = ("hardware.gpu=T4", "data.image_size=16", "model.base_channels=1024", "model.multipliers=1,3")


def test_check_and_run_refuse_it_with_the_same_reasons_and_nothing_is_written(folder: Path) -> None:
    write_tiny(folder / "experiments")
    loaded = load_experiment("experiments/adr_0001.py", TOO_LARGE)
    with pytest.raises(UserError) as checked:
        check(loaded, ["A100-40"])
    with pytest.raises(UserError) as run:
        run_seed(loaded, 0, RunOptions(gpu="cpu"), Watching())
    assert str(run.value) == str(checked.value)
    said = str(run.value)
    for word in ("hardware.gpu = 'T4': one image at a time needs", "set at: override hardware.gpu=T4", "any one of these fits"):
        assert word in said
    assert "model.base_channels=512" in said and not (folder / "runs").exists()


def test_the_same_without_a_name_is_checked_for_each_gpu_and_a_name_that_holds_it_is_no_error(folder: Path) -> None:
    write_tiny(folder / "experiments")
    rows = check(load_experiment("experiments/adr_0001.py", TOO_LARGE[1:]), ["T4", "A100-80"]).plans
    assert rows[0].reason is not None and rows[1].plan is not None
    assert check(load_experiment("experiments/adr_0001.py", ("hardware.gpu=T4",)), []).plans[0].plan is not None
