"""Kept answers: exactly the question's own or none, whatever happens to the folder."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from ddpm_exp.records.cache import Kept, cache_folder, source_digest, version_of


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Kept:
    monkeypatch.setenv("DDPM_EXP_CACHE", str(tmp_path / "own"))
    return Kept("numbers", most=3)


def test_an_answer_comes_back_to_its_own_question_alone(kept: Kept) -> None:
    kept.keep({"a": 1}, [1.5, None, "text"])
    assert kept.find({"a": 1}) == [1.5, None, "text"]
    assert kept.find({"a": 2}) is None and Kept("others").find({"a": 1}) is None


@pytest.mark.parametrize("cut", [0, 10, -10])
def test_a_damaged_answer_is_none_and_is_written_again(kept: Kept, cut: int) -> None:
    kept.keep("question", 12345)
    (file,) = kept.folder.iterdir()
    file.write_bytes(file.read_bytes()[:cut])
    assert kept.find("question") is None
    kept.keep("question", 12345)
    assert kept.find("question") == 12345


def test_a_changed_number_in_a_file_that_still_reads_is_seen(kept: Kept) -> None:
    kept.keep("question", 12345)
    (file,) = kept.folder.iterdir()
    file.write_text(file.read_text().replace("12345", "12335"))
    assert json.loads(file.read_text())["answer"] == 12335
    assert kept.find("question") is None


def test_no_more_than_so_many_are_kept_and_the_ones_asked_for_stay(kept: Kept) -> None:
    for k in range(3):
        kept.keep(k, k)
        os.utime(kept._path(k), (k, k))
    assert kept.find(0) == 0
    kept.keep(3, 3)
    assert [kept.find(k) for k in range(4)] == [0, None, 2, 3]
    assert len(list(kept.folder.iterdir())) == 3


def test_a_folder_that_cannot_be_written_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("not a folder")
    monkeypatch.setenv("DDPM_EXP_CACHE", str(tmp_path / "file" / "under"))
    Kept("numbers").keep("question", 1)
    assert Kept("numbers").find("question") is None


def test_the_folder_is_the_variable_s_or_the_user_s(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DDPM_EXP_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "ddpm-exp"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_folder() == Path.home() / ".cache" / "ddpm-exp"
    monkeypatch.setenv("DDPM_EXP_CACHE", "~/elsewhere")
    assert cache_folder() == Path.home() / "elsewhere"


def test_two_processes_may_keep_the_same_answer(kept: Kept) -> None:
    script = "from ddpm_exp.records.cache import Kept\nfor k in range(60): Kept('numbers', most=3).keep(k % 4, k % 4)"
    both = [subprocess.Popen([sys.executable, "-c", script]) for _ in range(2)]
    assert [process.wait(timeout=60) for process in both] == [0, 0]
    assert len(list(kept.folder.glob("*.json"))) <= 4 and not list(kept.folder.glob(".*.tmp"))
    assert all(kept.find(k) in (None, k) for k in range(4))


def test_the_sources_and_versions_are_read_without_importing_them() -> None:
    script = (
        "import sys\nfrom ddpm_exp.records.cache import source_digest, version_of\n"
        "print(source_digest(), version_of('torch'), 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)
    import torch

    digest, version, imported = done.stdout.split()
    assert digest == source_digest() and imported == "False"
    assert version.split("+")[0] == str(torch.__version__).split("+")[0]
    assert version_of("no-such-package-anywhere") is None
