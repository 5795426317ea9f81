"""export: from a run directory to another program's file, in one command."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from support.recorded_run import record, small

from ddpm_exp.spec.condition import ClassLabels

Program = Callable[..., SimpleNamespace]


@pytest.fixture
def digits(folder: Path) -> str:
    """An unconditional run."""
    return str(record(folder / "runs", small()))


def test_a_folder_for_diffusers_is_listed(folder: Path, digits: str, program: Program) -> None:
    done = program("export", digits, "--to", "diffusers", "pipeline")
    assert done.exit_code == 0
    head, *files = done.stdout.splitlines()
    assert head.startswith("diffusers with the averaged weights, ") and head.endswith(": pipeline")
    assert [name.strip() for name in files] == [
        "model_index.json",
        "scheduler/scheduler_config.json",
        "unet/config.json",
        "unet/diffusion_pytorch_model.safetensors",
    ]
    assert all((folder / "pipeline" / name.strip()).is_file() for name in files)


def test_the_facts_are_a_document(folder: Path, digits: str, program: Program) -> None:
    facts = json.loads(program("export", digits, "w.safetensors", "--to", "safetensors", "--raw", "--json").stdout)
    assert facts == {
        "path": "w.safetensors",
        "form": "safetensors",
        "files": ["w.safetensors"],
        "bytes": (folder / "w.safetensors").stat().st_size,
        "averaged": False,
    }


def test_mistakes_are_one_message_with_a_way_out(folder: Path, digits: str, program: Program) -> None:
    told = str(record(folder / "told", small(condition=ClassLabels())))
    (folder / "w.safetensors").write_text("mine")
    for words, code, text in (
        ((told, "--to", "diffusers", "pipeline"), 2, "condition = 'class': diffusers cannot hold this run"),
        ((digits, "--to", "safetensors", "w.safetensors"), 2, "w.safetensors: there is something here already"),
        ((digits, "--to", "pickle", "w.bin"), 2, "--to: "),
        ((digits, "--to", "onnx"), 2, "DEST: is missing"),
        (("nowhere", "--to", "onnx", "w.onnx"), 1, "nowhere: no run here"),
    ):
        done = program("export", *words)
        assert done.exit_code == code and done.stdout == ""
        assert done.stderr.startswith(f"error: {text}") and "fix: " in done.stderr
    assert (folder / "w.safetensors").read_text() == "mine" and not (folder / "pipeline").exists()
    assert program("export", digits, "--to", "safetensors", "w.safetensors", "--force").exit_code == 0
