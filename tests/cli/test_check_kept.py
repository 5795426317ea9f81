"""The cache of check: the same answer in far less time, and never an old one."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ddpm_exp.loading.loaded import load_experiment
from ddpm_exp.spec.hardware import find_gpu
from ddpm_exp.workflow import kept_plans
from ddpm_exp.workflow.kept_plans import KEPT, Sized, sized, what_decides

Program = Callable[..., SimpleNamespace]


@pytest.fixture(autouse=True)
def empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DDPM_EXP_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def computed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Grows by one whenever something is estimated."""
    calls: list[int] = []
    real = kept_plans._sized

    def counted(*arguments: Any) -> Sized:
        calls.append(1)
        return real(*arguments)

    monkeypatch.setattr(kept_plans, "_sized", counted)
    return calls


TOLD = """
import atexit, sys
known = ("torch", "numpy", "pandas", "pydantic")
atexit.register(lambda: print(*(name for name in known if name in sys.modules), file=sys.stderr))
from ddpm_exp.cli.main import main
main()
"""


def test_a_second_check_says_the_same_within_two_seconds_and_without_torch(folder: Path, program: Program) -> None:
    first = program("check", "2", "--gpu", "T4").stdout
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [sys.executable, "-c", TOLD, "check", "2", "--gpu", "T4"]
    second = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "COLUMNS": "200"}, timeout=60, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert second.stdout == first and "T4" in first
    assert second.stderr.split() == ["pydantic"]
    # The processor's seconds: how long it takes where nothing else runs.
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 2


def test_errors_come_back_in_the_same_words(folder: Path, program: Program, computed: list[int]) -> None:
    large = ("check", "1", "model.base_channels=1024", "model.multipliers=1,4", "data.image_size=16")
    for words, said in (
        (("check", "1", "training.precision=bf16"), "has no bf16 in hardware"),
        (large, "any one of these fits"),
        ((*large, "hardware.gpu=T4"), "set at: override hardware.gpu=T4"),
    ):
        computed.clear()
        first, second = program(*words, "--gpu", "T4"), program(*words, "--gpu", "T4")
        assert (first.exit_code, first.stdout, first.stderr) == (second.exit_code, second.stdout, second.stderr)
        assert said in " ".join((first.stdout + first.stderr).split()) and len(computed) == 1


def test_no_cache_estimates_anew(folder: Path, program: Program, computed: list[int]) -> None:
    for words, times in (((), 1), ((), 1), (("--no-cache",), 2), ((), 2)):
        assert program("check", "1", "--gpu", "T4", *words).exit_code == 0
        assert len(computed) == times


def test_a_damaged_entry_is_computed_again_and_mended(folder: Path, program: Program, computed: list[int]) -> None:
    first = program("check", "1").stdout
    (file,) = KEPT.folder.glob("*.json")
    for broken in (b"", b"{}", file.read_bytes()[:-40], file.read_bytes().replace(b'"micro_batch": 10', b'"micro_batch": 99')):
        file.write_bytes(broken)
        assert program("check", "1").stdout == first
    assert len(computed) == 5


def test_what_is_not_on_this_machine_is_looked_for_each_time(folder: Path, program: Program, computed: list[int]) -> None:
    def not_here() -> Any:
        return json.loads(program("check", "1", "training.init_from=weights", "--json").stdout)["checked"][0]["not_here"]

    assert not_here() == {"training.init_from": "weights"}
    (folder / "weights").mkdir()
    assert not_here() == {} and len(computed) == 1


def test_every_value_every_gpu_the_sources_and_the_versions_decide(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = folder / "experiments" / "adr_0001.py"
    t4, a100 = find_gpu("T4"), find_gpu("A100-40")

    def question(*overrides: str, gpus: Any = (t4,)) -> str:
        return json.dumps(what_decides(load_experiment(file, overrides).experiment, gpus))

    plain = question()
    assert question() == plain
    others = {
        question("hardware.headroom=0.2"),
        question("training.images_per_step=20"),
        question("model.dropout=0.2"),
        question("sampling.guidance_scale=2"),
        question(gpus=(t4, a100)),
        question(gpus=(t4._replace(usable_bytes=t4.usable_bytes - 1),)),
    }
    monkeypatch.setenv("PYTORCH_CUDA_ALLOC_CONF", "expandable_segments:True")
    others.add(question())
    monkeypatch.delenv("PYTORCH_CUDA_ALLOC_CONF")
    for name, value in (("source_digest", "edited"), ("version_of", "9.9"), ("torch_build", "CPU")):
        with monkeypatch.context() as changed:
            changed.setattr(kept_plans, name, lambda *_, value=value: value)
            others.add(question())
    assert len(others) == 10 and plain not in others


def test_a_table_that_changes_is_read_again(folder: Path, program: Program, computed: list[int]) -> None:
    table = folder / "plants.csv"
    table.write_text("height,kind\n" + "1.5,fern\n2.5,moss\n" * 10)
    words = ["check", "1", "data.kind=table", "data.source=plants.csv", "data.label=kind", "condition.kind=class"]
    words += ["model.kind=mlp", "diffusion.schedule=vp-cosine", "diffusion.prediction=v", "diffusion.timesteps=1000", "--json"]

    def parameters() -> int:
        return int(json.loads(program(*words).stdout)["checked"][0]["parameters"])

    one = parameters()
    assert parameters() == one and len(computed) == 1
    table.write_text("height,width,kind\n" + "1.5,1.0,fern\n2.5,3.0,moss\n" * 10)
    assert parameters() > one and len(computed) == 2
    table.unlink()
    assert program(*words[:-1]).exit_code == 2


def test_images_that_come_or_go_are_counted_again(folder: Path, computed: list[int]) -> None:
    from PIL import Image

    images = folder / "images"
    images.mkdir()
    for k in range(4):
        Image.new("RGB", (8, 8)).save(images / f"{k}.png")
    words = ["data.kind=folder", "data.root=images", "data.image_size=8", "data.subset=none", "condition.kind=none"]
    e = load_experiment(folder / "experiments" / "adr_0001.py", words).experiment
    before = sized(e, [find_gpu("T4")]).places
    assert before
    assert sized(e, [find_gpu("T4")]).places == before and len(computed) == 1
    for k in range(4, 40):
        Image.new("RGB", (8, 8)).save(images / f"{k}.png")
    assert sized(e, [find_gpu("T4")]).places != before and len(computed) == 2
