"""A full disk or a killed process costs the checkpoint being written and nothing else."""

import json
import subprocess
import sys
from pathlib import Path

import torch

from ddpm_exp.checkpoints import Checkpoint, latest, save

FULL_DISK = """
import resource, sys, torch
from pathlib import Path
from ddpm_exp.checkpoints import Checkpoint, save
from ddpm_exp.spec.errors import RunError
folder = Path(sys.argv[1])
save(folder, Checkpoint(1, {"a": torch.ones(10)}))
resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))
for images in (1, 2):
    try:
        save(folder, Checkpoint(images, {"a": torch.zeros(1_000_000)}))
    except RunError as error:
        print(error)
    print(len(list(folder.iterdir())), "files")
save(folder, Checkpoint(3, {"a": torch.ones(10)}))
"""


def test_a_full_disk_is_told_and_costs_neither_older_checkpoints_nor_space(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", FULL_DISK, str(tmp_path)], capture_output=True, text=True, check=True)
    assert done.stdout.count("could not be written: File too large; the ones before it are untouched") == 2
    assert "free disk space" in done.stdout
    assert done.stdout.count("2 files") == 2, "a part of the failed file was left"
    names = [f"00000000000{k}.pt{ending}" for k in (1, 3) for ending in ("", ".sha256")]
    assert sorted(path.name for path in tmp_path.iterdir()) == names
    (tmp_path / names[2]).unlink()
    found = latest(tmp_path)
    assert found is not None
    assert torch.equal(found[1].tensors["a"], torch.ones(10))


KILLED = """
import json, os, random, signal, sys, time, torch, warnings
from pathlib import Path
from ddpm_exp.checkpoints import Checkpoint, latest, save
torch.set_num_threads(1)
root, random_source, states = Path(sys.argv[1]), random.Random(0), []
def files(folder):
    return {entry.inode() for entry in os.scandir(folder) if entry.name.endswith(".pt")}
for round_ in range(12):
    folder = root / str(round_)
    same_name = round_ % 2
    save(folder, Checkpoint(1, {"a": torch.zeros(300_000)}))
    first = files(folder)
    writer = os.fork()
    if writer == 0:
        for k in range(2, 10**6):
            save(folder, Checkpoint(1 if same_name else k, {"a": torch.full((300_000,), float(k))}))
    deadline = time.monotonic() + 30
    while files(folder) == first and time.monotonic() < deadline:
        time.sleep(0.002)
    time.sleep(random_source.uniform(0.0, 0.03))
    os.kill(writer, signal.SIGKILL)
    os.waitpid(writer, 0)
    warnings.simplefilter("error")
    left = sorted(path.suffix for path in folder.iterdir())
    path, found = latest(folder)
    whole = bool((found.tensors["a"] == found.tensors["a"][0]).all())
    save(folder, Checkpoint(10**7, {"a": torch.zeros(1)}))
    swept = not list(folder.glob("*.tmp"))
    states.append({"whole": whole, "left": left, "swept": swept, "value": float(found.tensors["a"][0])})
print(json.dumps(states))
"""


def test_a_process_killed_while_saving_leaves_a_latest_that_loads(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    states = json.loads(done.stdout)
    assert len(states) == 12
    assert all(state["whole"] and state["swept"] for state in states)
    assert any(state["value"] > 0 for state in states), "no writer got as far as a checkpoint of its own"
    assert any(".tmp" in state["left"] for state in states), "no writer was killed while it wrote"


def test_each_crash_between_two_steps_of_saving_leaves_a_latest_that_loads(tmp_path: Path) -> None:
    """The folder as it is after every single file operation of a save over a checkpoint of the same name."""
    folder = tmp_path / "run"
    old = save(folder, Checkpoint(5, {"a": torch.zeros(1)}))
    old_file, old_sum = old.read_bytes(), (folder / f"{old.name}.sha256").read_text()
    save(folder, Checkpoint(5, {"a": torch.ones(1)}))
    new_file, new_sum = old.read_bytes(), (folder / f"{old.name}.sha256").read_text()
    assert old_sum != new_sum
    for file, checksums in ((old_file, old_sum), (old_file, old_sum + new_sum), (new_file, old_sum + new_sum), (new_file, new_sum)):
        old.write_bytes(file)
        (folder / f"{old.name}.sha256").write_text(checksums)
        found = latest(folder)
        assert found is not None
        assert float(found[1].tensors["a"][0]) == (file == new_file)


def test_a_checksum_whose_file_never_came_harms_nobody_and_is_swept(tmp_path: Path) -> None:
    save(tmp_path, Checkpoint(1, {"a": torch.zeros(1)}))
    orphan = tmp_path / "000000000002.pt.sha256"
    orphan.write_text(f"{'0' * 64}  000000000002.pt\n")
    found = latest(tmp_path)
    assert found is not None
    assert found[1].images_seen == 1
    save(tmp_path, Checkpoint(3, {"a": torch.zeros(1)}))
    assert not orphan.exists()
