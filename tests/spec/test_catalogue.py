"""The GPU catalogue: rows that a user can trust, and rows that a user adds."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from ddpm_exp.loading.loaded import load_experiment
from ddpm_exp.spec import hardware
from ddpm_exp.spec.errors import UserError
from ddpm_exp.spec.experiment import Experiment
from ddpm_exp.spec.hardware import CATALOGUE, GIB, Gpu, Hardware, add_gpu, find_gpu, gpu_names
from ddpm_exp.spec.identity import flat
from ddpm_exp.spec.restored import experiment_of

L40S = Gpu("L40S", int(44.4 * GIB), (8, 9), fp32_tflops=91.6, half_tflops=362.0, bandwidth_gbs=864.0)


@pytest.fixture(autouse=True)
def nothing_added(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hardware, "_added", {})


def test_every_gpu_of_the_issue_has_a_row_with_memory_below_its_label_and_rates():
    labels = {"T4": 16, "V100-16": 16, "V100-32": 32, "A10": 24, "L4": 24, "A100-40": 40, "A100-80": 80, "RTX 3090": 24}
    labels |= {"RTX 4090": 24, "RTX 5090": 32, "H100": 80, "H200": 141, "MI300X": 192}
    for name, label in labels.items():
        row = find_gpu(name)
        assert 0.9 * label < row.usable_bytes / GIB <= label
        assert 0 < row.fp32_tflops <= row.half_tflops and row.bandwidth_gbs > 0
    assert find_gpu("T4").usable_bytes == int(14.75 * GIB)
    assert len(set(gpu_names())) == len(CATALOGUE)


def test_v100_says_which_torch_it_needs_and_mi300x_what_is_untested():
    assert all("torch 2.10 or older" in find_gpu(name).note and "cu126" in find_gpu(name).note for name in ("V100-16", "V100-32"))
    assert "untested" in find_gpu("MI300X").note and find_gpu("MI300X").maker == "AMD"


def test_capitals_spaces_and_hyphens_do_not_matter():
    assert find_gpu("rtx4090") == find_gpu("RTX-4090") == find_gpu("4090") == find_gpu("RTX 4090")
    assert find_gpu("a100").name == "A100-40" and find_gpu("V100_16").name == "V100-16"


def test_a_gpu_is_added_in_one_line_of_an_experiment_file(tmp_path: Path):
    file = tmp_path / "mine.py"
    file.write_text(
        "from ddpm_exp import Experiment, Gpu, Hardware, add_gpu\n\n"
        'add_gpu(Gpu("L40S", int(44.4 * 2**30), (8, 9), fp32_tflops=91.6, half_tflops=362.0, bandwidth_gbs=864.0))\n\n\n'
        'class Mine(Experiment):\n    hardware = Hardware(gpu="L40S")\n'
    )
    for _ in range(2):  # the same row again is no conflict
        assert load_experiment(file).experiment.hardware.gpu == "L40S"
    assert find_gpu("l40s") == L40S and gpu_names()[-1] == "L40S"
    with pytest.raises(ValidationError, match="MI300X, L40S"):
        Hardware(gpu="L41")


def test_a_taken_name_and_impossible_values_are_refused():
    add_gpu(L40S)
    with pytest.raises(UserError, match="has a L40S with other values") as refused:
        add_gpu(L40S._replace(name="l-40s", bandwidth_gbs=1.0))
    assert (refused.value.field, refused.value.value) == ("add_gpu", "l-40s") and "another name" in (refused.value.fix or "")
    with pytest.raises(UserError, match="has a V100-32 with other values"):
        add_gpu(L40S._replace(name="V100"))
    for changes, rule in (
        ({"name": "a,b"}, "a GPU's name is"),
        ({"name": ""}, "a GPU's name is"),
        ({"usable_bytes": 44.4 * GIB}, "whole number of bytes"),
        ({"usable_bytes": 44}, "1 GiB or more"),
        ({"capability": (0, 0)}, "compute capability"),
        ({"capability": 8.9}, "compute capability"),
        ({"half_tflops": 0.0}, "rates are more than 0"),
        ({"bandwidth_gbs": "864"}, "rates are more than 0"),
    ):
        with pytest.raises(UserError, match=rule):
            add_gpu(L40S._replace(**{"name": "Other", **changes}))  # type: ignore[arg-type]
    assert gpu_names()[len(CATALOGUE) :] == ("L40S",)


def test_a_record_is_read_where_the_gpu_that_its_file_added_is_unknown(monkeypatch: pytest.MonkeyPatch):
    add_gpu(L40S)
    config = flat(Experiment(hardware=Hardware(gpu="L40S")))
    assert experiment_of(config).hardware.gpu == "L40S"
    monkeypatch.setattr(hardware, "_added", {})
    assert experiment_of(config) == Experiment()
