"""What a run records of its circumstances: the repository, the packages, the machine."""

from __future__ import annotations

import platform
import socket
import subprocess
from pathlib import Path

import pytest

from ddpm_exp.records import capture


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository with one commit, one changed file and a remote with a password in its URL."""
    folder = tmp_path / "repository"
    folder.mkdir()
    (folder / "a.py").write_text("x = 1\n")
    git(folder, "init", "-q", "-b", "trunk")
    git(folder, "add", "a.py")
    git(folder, "-c", "user.name=n", "-c", "user.email=e@localhost", "commit", "-q", "-m", "first")
    git(folder, "remote", "add", "origin", "https://somebody:pw-9f8e7d@localhost/group/project.git")
    (folder / "a.py").write_text("x = 2\n")
    return folder


def git(folder: Path, *words: str) -> str:
    return subprocess.run(["git", *words], cwd=folder, check=True, capture_output=True, text=True).stdout


def test_git_facts_name_commit_branch_and_what_was_changed(repository: Path) -> None:
    facts = capture.git_facts(repository)
    assert facts.sha == git(repository, "rev-parse", "HEAD").strip()
    assert facts.branch == "trunk"
    assert "-x = 1\n+x = 2" in (facts.dirty_patch or "") and not facts.patch_cut


def test_a_remote_loses_user_and_password(repository: Path) -> None:
    assert capture.git_facts(repository).remote == "https://localhost/group/project.git"
    assert capture.without_credentials("git@localhost:group/project.git") == "git@localhost:group/project.git"
    assert capture.without_credentials("https://t0k3n@localhost/p?private_token=abc") == "https://localhost/p"


def test_a_clean_repository_has_no_patch(repository: Path) -> None:
    (repository / "a.py").write_text("x = 1\n")
    assert capture.git_facts(repository).dirty_patch is None


def test_a_long_patch_is_cut_and_says_so(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(capture, "PATCH_LIMIT", 40)
    facts = capture.git_facts(repository)
    assert facts.patch_cut and len((facts.dirty_patch or "").encode()) <= 40


def test_no_repository_and_no_git_are_empty_facts(tmp_path: Path, repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert capture.git_facts(tmp_path) == capture.GitFacts()
    monkeypatch.setenv("PATH", str(tmp_path))
    assert capture.git_facts(repository) == capture.GitFacts()


def test_a_repository_without_a_commit_is_empty_facts(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q")
    assert capture.git_facts(tmp_path) == capture.GitFacts()


def test_package_versions_hold_what_results_depend_on() -> None:
    versions = capture.package_versions()
    expected = {"python", "ddpm-exp", "torch", "torchvision", "numpy", "wandb", "pydantic", "torch-fidelity", "scikit-learn"}
    assert expected <= versions.keys() and versions["python"] == platform.python_version()


def test_host_facts_describe_the_machine_without_its_name() -> None:
    facts = capture.host_facts({"name": "T4", "driver": "550.1"})
    assert facts["cores"] >= 1 and facts["memory_bytes"] > 0 and facts["processor"] is not None
    assert facts["device"] == {"name": "T4", "driver": "550.1"}
    if len(socket.gethostname()) > 4:
        assert socket.gethostname() not in str(facts)


def test_the_command_line_has_no_folder_of_the_program_and_no_secret() -> None:
    words = ["/home/somebody/.venv/bin/ddpm-exp", "run", "a.py", "--api-key", "0a1b2c3d", "--token=0a1b2c3d", "--gpu", "T4"]
    clean = capture.command_line(words)
    assert clean == ["ddpm-exp", "run", "a.py", "--api-key", "[redacted]", "--token=[redacted]", "--gpu", "T4"]
