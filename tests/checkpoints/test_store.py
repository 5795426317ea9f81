"""Checkpoints come back exactly, are never half there, and never run code."""

import os
import pickle
import subprocess
import warnings
from pathlib import Path

import pytest
import torch

from ddpm_exp.checkpoints import Checkpoint, latest, load, save
from ddpm_exp.spec.errors import RunError


def _checkpoint(images: int, value: float = 0.0) -> Checkpoint:
    return Checkpoint(images, {"network": {"weight": torch.full((3, 4), value)}}, {"note": f"at {images}"})


def _value(found: tuple[Path, Checkpoint] | None) -> float:
    assert found is not None
    return float(found[1].tensors["network"]["weight"][0, 0])


def _trained() -> tuple[torch.nn.Module, torch.optim.Optimizer]:
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.GroupNorm(2, 4))
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3, betas=(0.8, 0.99))
    for _ in range(3):
        network(torch.randn(5, 4)).square().sum().backward()
        optimizer.step()
    return network, optimizer


def test_network_optimizer_and_facts_come_back_bit_for_bit(tmp_path: Path) -> None:
    network, optimizer = _trained()
    tensors = {
        "network": network.state_dict(),
        "optimizer": optimizer.state_dict(),
        "parts": [torch.arange(3), (torch.tensor(1.5, dtype=torch.bfloat16), None, "text", 2, 0.1, True)],
    }
    facts = {"seed": 3, "rates": [0.1, None], "nested": {"finished": False}}
    path = save(tmp_path / "new" / "checkpoints", Checkpoint(1280, tensors, facts))
    assert path.name == "000000001280.pt"
    back = load(path)
    assert (back.images_seen, back.facts) == (1280, facts)
    torch.testing.assert_close(dict(back.tensors["network"]), dict(network.state_dict()), rtol=0, atol=0)
    torch.testing.assert_close(back.tensors["parts"][1][0], torch.tensor(1.5, dtype=torch.bfloat16), rtol=0, atol=0)
    assert back.tensors["parts"][1][1:] == (None, "text", 2, 0.1, True)
    again = torch.optim.AdamW(network.parameters())
    again.load_state_dict(back.tensors["optimizer"])
    torch.testing.assert_close(again.state_dict(), optimizer.state_dict(), rtol=0, atol=0)


def test_as_many_stay_as_are_asked_for_while_there_are_fewer_too(tmp_path: Path) -> None:
    for images in (1, 2, 3, 4, 5, 6):
        save(tmp_path, _checkpoint(images), keep=5)
        there = [int(path.stem) for path in sorted(tmp_path.glob("*.pt"))]
        assert there == list(range(max(1, images - 4), images + 1))


def test_the_latest_is_the_one_with_most_images_and_none_is_none(tmp_path: Path) -> None:
    assert latest(tmp_path) is None
    assert latest(tmp_path / "absent") is None
    for images in (900, 1000, 20_000):
        path = save(tmp_path, _checkpoint(images, images))
    found = latest(tmp_path)
    assert found is not None
    assert (found[0], found[1].images_seen, _value(found)) == (path, 20_000, 20_000.0)


def test_only_the_last_ones_are_kept_each_with_its_checksum(tmp_path: Path) -> None:
    for images in (1, 2, 3, 4):
        save(tmp_path, _checkpoint(images))
    names = ["000000000003.pt", "000000000003.pt.sha256", "000000000004.pt", "000000000004.pt.sha256"]
    assert sorted(path.name for path in tmp_path.iterdir()) == names
    for keep in (1, 0):
        save(tmp_path, _checkpoint(5 - keep), keep=keep)
        assert sorted(path.name for path in tmp_path.glob("*.pt")) == [f"{5 - keep:012d}.pt"]


def test_the_checksum_is_one_that_sha256sum_checks(tmp_path: Path) -> None:
    path = save(tmp_path, _checkpoint(7))
    save(tmp_path, _checkpoint(7, 1.0))
    checked = subprocess.run(["sha256sum", "-c", f"{path.name}.sha256"], cwd=tmp_path, capture_output=True, text=True)
    assert checked.stdout == f"{path.name}: OK\n"


def test_a_rewound_run_continues_from_its_own_checkpoint(tmp_path: Path) -> None:
    save(tmp_path, _checkpoint(100, 1.0))
    damaged = save(tmp_path, _checkpoint(200, 2.0))
    damaged.write_bytes(damaged.read_bytes()[:-1])
    save(tmp_path, _checkpoint(150, 3.0))
    assert _value(latest(tmp_path)) == 3.0
    assert sorted(path.stem for path in tmp_path.glob("*.pt")) == ["000000000100", "000000000150"]


def _truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _empty(path: Path) -> None:
    path.write_bytes(b"")


def _flip_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def _lose_the_checksum(path: Path) -> None:
    path.with_name(f"{path.name}.sha256").unlink()


def _garble_the_checksum(path: Path) -> None:
    path.with_name(f"{path.name}.sha256").write_bytes(b"\xff\x00\n\n")


@pytest.mark.parametrize("damage", [_truncate, _empty, _flip_a_bit, _lose_the_checksum, _garble_the_checksum])
def test_a_damaged_checkpoint_is_reported_and_the_one_before_is_used(damage: object, tmp_path: Path) -> None:
    assert callable(damage)
    save(tmp_path, _checkpoint(1, 1.0))
    broken = save(tmp_path, _checkpoint(2, 2.0))
    damage(broken)
    with pytest.raises(RunError) as caught:
        load(broken)
    assert caught.value.field == str(broken)
    assert caught.value.fix is not None
    assert "checkpoint before" in caught.value.fix
    reports: list[RunError] = []
    assert _value(latest(tmp_path, reports.append)) == 1.0
    assert [report.field for report in reports] == [str(broken)]
    with pytest.warns(UserWarning, match=broken.name):
        latest(tmp_path)


def test_a_run_whose_checkpoints_are_all_damaged_does_not_silently_start_over(tmp_path: Path) -> None:
    for images in (1, 2):
        _truncate(save(tmp_path, _checkpoint(images)))
    with pytest.raises(RunError, match="none of its 2 checkpoints"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        latest(tmp_path)


def test_a_missing_file_is_a_clear_word(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="No such file"):
        load(tmp_path / "000000000001.pt")


def _with_checksum(path: Path) -> Path:
    digest = subprocess.run(["sha256sum", path.name], cwd=path.parent, capture_output=True, text=True, check=True).stdout
    path.with_name(f"{path.name}.sha256").write_text(digest)
    return path


class _Trap:
    def __init__(self, evidence: Path) -> None:
        self.evidence = evidence

    def __reduce__(self) -> tuple[object, ...]:
        return (os.mkdir, (str(self.evidence),))


@pytest.mark.parametrize("form", ["zip", "pickle"])
def test_code_in_a_checkpoint_is_refused_and_does_not_run(form: str, tmp_path: Path) -> None:
    evidence, path = tmp_path / "executed", tmp_path / "000000000001.pt"
    content = {"format": 1, "images_seen": 1, "tensors": {"network": _Trap(evidence)}, "facts": "{}"}
    if form == "zip":
        torch.save(content, path)
    else:
        path.write_bytes(pickle.dumps(content, protocol=2))
    _with_checksum(path)
    with pytest.raises(RunError, match="not a file of tensors and plain data alone"):
        load(path)
    assert not evidence.exists()
    if form == "zip":
        torch.load(path, weights_only=False)
        assert evidence.exists(), "the trap must be one that a careless load falls into"


@pytest.mark.parametrize(
    "content",
    [
        [1, 2],
        {"format": 99, "images_seen": 1, "tensors": {}, "facts": "{}"},
        {"format": 1, "images_seen": 1, "facts": "{}"},
        {"format": 1, "images_seen": 1, "tensors": {}, "facts": "{"},
    ],
    ids=["a list", "a later format", "no tensors", "damaged facts"],
)
def test_files_of_another_form_are_refused(content: object, tmp_path: Path) -> None:
    path = tmp_path / "000000000001.pt"
    torch.save(content, path)
    with pytest.raises(RunError, match="cannot be used"):
        load(_with_checksum(path))


def test_what_would_not_load_again_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    for bad in ({1.5: torch.zeros(1)}, {"a": [object()]}, {"a": torch.zeros(1).numpy()}, {"a": Path()}):
        with pytest.raises(TypeError, match="tensors"):
            save(tmp_path, Checkpoint(1, bad))  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        save(tmp_path, Checkpoint(1, {}, {"a": object()}))
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_is_a_clear_word(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="could not be written"):
        save(tmp_path / "file" / "checkpoints", _checkpoint(1))
