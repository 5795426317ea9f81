"""What a run needs and does not find is one sentence with a fix, before anything is written."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image
from support.tiny_experiment import Watching, write_tiny, write_variant
from typer.testing import CliRunner

from ddpm_exp.cli.main import app
from ddpm_exp.loading.loaded import load_experiment
from ddpm_exp.spec.errors import UserError
from ddpm_exp.workflow.judge import compare
from ddpm_exp.workflow.options import RunOptions
from ddpm_exp.workflow.run import run_seed

PHOTOS = 'data = ImageFolder(root="photos", image_size=8, channels=1)'


def _photos(folder: Path, count: int = 8) -> None:
    for number in range(count):
        path = folder / "photos" / f"kind {number % 2}" / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (12, 10), 20 * number).save(path)


def _refused(folder: Path, *overrides: str) -> UserError:
    with pytest.raises(UserError) as refused:
        run_seed(load_experiment("experiments/adr_0001.py", overrides), 0, RunOptions(), Watching())
    assert refused.value.exit_code == 2
    assert refused.value.fix
    assert not (folder / "runs").exists()
    return refused.value


def test_unreadable_images_are_named(folder: Path) -> None:
    write_tiny(folder / "experiments", PHOTOS)
    _photos(folder)
    for name in ("a.png", "b.jpg"):
        (folder / "photos" / "kind 0" / name).write_bytes(b"no image")
    error = _refused(folder)
    assert (error.field, error.value) == ("data.root", "photos")
    assert "2 of 10 images cannot be read: kind 0/a.png" in error.rule and "kind 0/b.jpg" in error.rule


def test_a_missing_folder_of_images_is_told_on_the_command_line_too(folder: Path) -> None:
    write_tiny(folder / "experiments", PHOTOS)
    assert "does not exist" in _refused(folder).rule
    done = CliRunner().invoke(app, ["run", "1"])
    assert done.exit_code == 2
    assert done.stderr.count("error:") == 1 and "fix: write the path of an existing folder" in done.stderr
    assert not (folder / "runs").exists()


def test_a_missing_published_data_set_says_where_it_was_looked_for(folder: Path) -> None:
    write_tiny(folder / "experiments", "from ddpm_exp import FashionMNIST as _F", "data = _F(image_size=28, root='nowhere')")
    assert "nowhere" in str(_refused(folder))


def test_classes_need_a_folder_that_has_them(folder: Path) -> None:
    write_tiny(folder / "experiments", PHOTOS)
    _photos(folder)
    for path in list((folder / "photos").rglob("*.png")):
        path.rename(folder / "photos" / path.name)
    assert _refused(folder).field == "condition"


def test_prompts_without_held_out_wording_are_refused_before_the_first_step(folder: Path) -> None:
    write_tiny(folder / "experiments", "condition = Prompts(held_out_templates=(), width=8, layers=0)")
    error = _refused(folder)
    assert error.field == "condition.held_out_templates"
    assert "wording that training never saw" in error.rule


def test_experiments_on_other_images_are_not_compared(folder: Path) -> None:
    write_tiny(folder / "experiments", 'training = Training(images_per_step=8, duration="1 steps")')
    write_variant(folder / "experiments")
    with (folder / "experiments" / "adr_0002.py").open("a") as file:
        file.write("    data = base.data.but(subset_seed=1)\n")
    for name in ("adr_0001", "adr_0002"):
        loaded = load_experiment(f"experiments/{name}.py", ())
        assert run_seed(loaded, 0, RunOptions(), Watching()).state == "finished"
    with pytest.raises(UserError, match=r"these differ: data\.subset_seed: 1 in adr_0002, 0 in adr_0001.*data fingerprint"):
        compare("2", None, RunOptions())
