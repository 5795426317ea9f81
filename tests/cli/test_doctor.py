"""doctor: what it finds on this machine, with a home of its own so that no login of the tester's counts."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from ddpm_exp.cli.doctor import doctor, has_kernels
from ddpm_exp.evaluation.extractors import WEIGHTS_NAME

Program = Callable[..., SimpleNamespace]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    for name in ("WANDB_API_KEY", "WANDB_BASE_URL", "NETRC"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def _found() -> dict[str, tuple[str, str]]:
    return {finding.name: (finding.state, finding.says) for finding in doctor()}


def test_what_every_run_needs_works_here(program: Program) -> None:
    done = program("doctor", "--json")
    assert done.exit_code == 0
    findings = json.loads(done.stdout)["findings"]
    states = {finding["name"]: finding["state"] for finding in findings}
    assert {states[name] for name in ("torch", "Digits", "disk", "processor")} == {"works"}
    assert all(finding["fix"] for finding in findings if finding["state"] != "works"), "what is missing says what to do"


def test_nothing_is_downloaded_or_written(home: Path) -> None:
    doctor()
    assert list(home.iterdir()) == []


def test_what_lies_in_the_caches_is_found(home: Path) -> None:
    assert _found()["CIFAR-10"][0] == _found()["Inception weights"][0] == "missing"
    batches = home / "torch" / "datasets" / "cifar-10-batches-py"
    checkpoints = home / "torch" / "hub" / "checkpoints"
    for folder, name in ((batches, "data_batch_1"), (checkpoints, WEIGHTS_NAME)):
        folder.mkdir(parents=True)
        (folder / name).write_bytes(b"")
    assert _found()["CIFAR-10"] == ("works", str(batches))
    assert _found()["Inception weights"] == ("works", str(checkpoints / WEIGHTS_NAME))


def test_a_login_is_found_and_its_key_never_shown(home: Path, program: Program) -> None:
    assert _found()["Weights & Biases"][0] == "missing"
    (home / ".netrc").write_text("machine api.wandb.ai login user password 0123456789secret\n")
    (home / ".netrc").chmod(0o600)
    done = program("doctor")
    assert "login for api.wandb.ai from" in done.stdout
    assert "0123456789secret" not in done.stdout


@pytest.mark.parametrize(
    ("capability", "built_for", "runs"),
    [
        ((7, 0), ["sm_75", "sm_80", "sm_90"], False),
        ((7, 5), ["sm_75", "sm_80", "sm_90"], True),
        ((8, 6), ["sm_80"], True),
        ((8, 0), ["sm_86"], False),
        ((12, 0), ["sm_90"], False),
        ((12, 0), ["sm_90", "compute_90"], True),
        ((9, 0), ["sm_90a"], True),
        ((10, 0), ["sm_100", "sm_120"], True),
    ],
)
def test_a_gpu_without_kernels_in_this_torch_is_told_apart(capability: tuple[int, int], built_for: list[str], runs: bool) -> None:
    assert has_kernels(capability, built_for) is runs
