"""What loading an experiment's file promises: its identity, sources, baseline and independence of other loads."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from ddpm_exp.loading.loaded import load_experiment, resolve
from ddpm_exp.spec.errors import UserError

CHILD = """
    from adr_0001 import Conservative

    base = Conservative()


    class Variant(Conservative):
        training = base.training.but(learning_rate=5e-5)
"""


def test_a_subclass_is_its_parent_but_for_what_it_writes(write, parent):
    loaded = load_experiment(write("adr_0002.py", CHILD))
    assert (loaded.id, loaded.name, loaded.class_name) == ("ADR-0002", "adr_0002", "Variant")
    assert loaded.experiment.training.learning_rate == 5e-5
    assert loaded.experiment.training.images_per_step == 32
    assert loaded.experiment.diffusion.timesteps == 500


def test_the_baseline_is_the_parent_class(write, parent):
    loaded = load_experiment(write("adr_0002.py", CHILD), ["training.learning_rate=1e-3"])
    assert loaded.baseline is not None
    assert (loaded.baseline.id, loaded.baseline.path) == ("ADR-0001", parent)
    assert loaded.baseline.baseline is None
    assert loaded.baseline.experiment.training.learning_rate == 1e-4, "overrides must not reach the baseline"


def test_a_named_baseline_wins_over_the_parent(write, parent):
    write("adr_0002.py", CHILD)
    file = write("adr_0003.py", "from adr_0002 import Variant\n\nclass Third(Variant):\n    baseline = 'ADR-0001'\n")
    loaded = load_experiment(file)
    assert loaded.baseline is not None and loaded.baseline.id == "ADR-0001"
    assert loaded.experiment.training.learning_rate == 5e-5


def test_a_grandparent_is_the_baseline_of_the_baseline(write, parent):
    write("adr_0002.py", CHILD)
    loaded = load_experiment(write("adr_0003.py", "from adr_0002 import Variant\n\nclass Third(Variant):\n    pass\n"))
    assert loaded.baseline is not None and loaded.baseline.baseline is not None
    assert [loaded.baseline.id, loaded.baseline.baseline.id] == ["ADR-0002", "ADR-0001"]


def test_a_circle_of_baselines_is_an_error_that_shows_it(write, parent):
    write("adr_0001.py", "from ddpm_exp import Experiment\n\nclass Conservative(Experiment):\n    baseline = 'ADR-0002'\n")
    file = write("adr_0002.py", "from adr_0001 import Conservative\n\nclass Variant(Conservative):\n    pass\n")
    with pytest.raises(UserError, match="circle") as caught:
        load_experiment(file)
    assert caught.value.value == "ADR-0002 -> ADR-0001 -> ADR-0002"
    assert caught.value.origin == "experiments/adr_0001.py:4"


def test_a_preset_is_a_start_but_no_baseline(write):
    file = write("mine.py", "from ddpm_exp.spec.presets.ddpm import DdpmCifar10\n\nclass Mine(DdpmCifar10):\n    pass\n")
    loaded = load_experiment(file)
    assert loaded.baseline is None
    assert loaded.id == "mine"
    assert loaded.origins["training.images_per_step"].startswith("ddpm_exp/spec/presets/ddpm.py:")
    assert list(loaded.sources) == ["mine.py"]


def test_sources_hold_the_file_its_bases_and_what_they_share(write, parent):
    write("widths.py", "WIDE = 256\n")
    child = CHILD.replace("base =", "from widths import WIDE\n    base =")
    loaded = load_experiment(write("adr_0002.py", child))
    assert set(loaded.sources) == {"adr_0001.py", "adr_0002.py", "widths.py"}
    assert loaded.sources["widths.py"] == "WIDE = 256\n"
    assert loaded.baseline is not None and "adr_0002.py" not in loaded.baseline.sources


def test_a_second_load_sees_an_edit_of_the_same_size_and_second(write, parent, monkeypatch):
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    file, second = write("adr_0002.py", CHILD), 1_700_000_000
    os.utime(parent, (second, second))
    assert load_experiment(file).experiment.diffusion.timesteps == 500
    parent.write_text(parent.read_text().replace("500", "400"))
    os.utime(parent, (second, second))
    assert load_experiment(file).experiment.diffusion.timesteps == 400


def test_equal_stems_in_two_folders_do_not_meet(write, parent):
    file = write("adr_0002.py", CHILD)
    other = Path("others")
    other.mkdir()
    (other / "adr_0001.py").write_text(parent.read_text().replace("500", "300"))
    (other / "adr_0002.py").write_text(file.read_text())
    assert [load_experiment(folder / "adr_0002.py").experiment.diffusion.timesteps for folder in (file.parent, other)] == [500, 300]


def test_a_load_leaves_no_trace_even_if_it_fails(write, parent, monkeypatch):
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    before = set(sys.modules), list(sys.path), list(sys.meta_path)
    load_experiment(write("adr_0002.py", CHILD))
    with pytest.raises(UserError):
        load_experiment(write("adr_0003.py", "from adr_0001 import Conservative\n1 / 0\n"))
    assert (set(sys.modules), sys.path, sys.meta_path) == before
    assert not {"adr_0001", "adr_0002", "adr_0003"} & set(sys.modules)
    assert sorted(path.name for path in parent.parent.iterdir()) == ["adr_0001.py", "adr_0002.py", "adr_0003.py"]


def test_a_module_of_the_same_name_from_elsewhere_is_set_aside_and_comes_back(write, parent, monkeypatch):
    mine = ModuleType("adr_0001")
    monkeypatch.setitem(sys.modules, "adr_0001", mine)
    assert load_experiment(write("adr_0002.py", CHILD)).experiment.diffusion.timesteps == 500
    assert sys.modules["adr_0001"] is mine


@pytest.mark.parametrize("word", ["2", "0002", "ADR-0002", "adr-2", "adr_0002", "adr_0002.py", "experiments/adr_0002.py"])
def test_a_word_finds_its_experiment(write, parent, word):
    file = write("adr_0002.py", CHILD)
    assert resolve(word) == file


def test_loading_and_its_errors_need_no_torch(write, parent):
    code = (
        "import sys\nfrom ddpm_exp.loading.loaded import load_experiment\nfrom ddpm_exp.loading import diff, scaffold\n"
        "load_experiment('experiments/adr_0001.py', ['training.learning_rate=1e-3'])\n"
        "heavy = {'torch', 'wandb', 'torchvision', 'sklearn', 'rich', 'numpy', 'torch_fidelity'} & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else 0)\n"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
