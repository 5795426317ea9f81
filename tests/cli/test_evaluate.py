"""`evaluate`: several ways of drawing from a recorded run as one table, kept with the run with all that the values depend on."""

from __future__ import annotations

import json
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from support.recorded_run import IMAGES_SEEN, record, small
from support.shard_files import write_shards
from typer.testing import CliRunner

from ddpm_exp.cli.main import app
from ddpm_exp.data.datasets import load as load_data
from ddpm_exp.evaluation.extractors import efficientnet
from ddpm_exp.evaluation.image_measures import Measured
from ddpm_exp.evaluation.noise_counted import NoiseCount
from ddpm_exp.records.evaluations import Evaluated
from ddpm_exp.records.run_directory import RunDirectory
from ddpm_exp.spec.condition import ClassLabels
from ddpm_exp.spec.data import Shards
from ddpm_exp.spec.experiment import Experiment
from ddpm_exp.spec.model import MLP
from ddpm_exp.spec.sampling import Sampling
from ddpm_exp.spec.vectors import Table


@pytest.fixture(scope="module")
def experiment(tmp_path_factory: pytest.TempPathFactory) -> Experiment:
    pattern = write_shards(tmp_path_factory.mktemp("shards"))
    return small(
        data=Shards(train=pattern, image_size=8, cache=None),
        condition=ClassLabels(),
        sampling=Sampling(sampler="ddim", steps=2, eta=0.5),
    )


@pytest.fixture
def run(tmp_path: Path, experiment: Experiment) -> Path:
    return record(tmp_path / "runs", experiment)


def evaluate(run: Path, *words: str) -> SimpleNamespace:
    done = CliRunner().invoke(app, ["evaluate", str(run), "-n", "8", *words], env={"COLUMNS": "80"})
    return SimpleNamespace(exit_code=done.exit_code, stdout=done.stdout, stderr=done.stderr)


def kept(run: Path) -> list[Evaluated]:
    return RunDirectory.open(run).evaluations.read()


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory, experiment: Experiment) -> tuple[Path, Any]:
    """Two samplers by two numbers of steps by two weights."""
    run = record(tmp_path_factory.mktemp("compared"), experiment)
    words = ("--sampler", "ddim,heun", "--steps", "2", "--steps", "3", "--weights", "raw,ema", "--metrics", "kid_effnet,recall")
    return run, evaluate(run, *words)


def test_options_with_several_values_give_their_product_as_a_table_of_80_columns(compared: tuple[Path, Any]) -> None:
    _, done = compared
    assert done.exit_code == 0, done.stderr
    lines = done.stdout.splitlines()
    assert max(map(len, lines)) <= 80
    assert lines[0] == "8 drawn images, after 320 images of training, grid trailing, guidance 1, seed 0"
    head = next(place for place, line in enumerate(lines) if line.startswith("weights"))
    assert lines[head].split() == ["weights", "sampler", "steps", "calls", "KID(eff)", "recall", "time"]
    rows = [line.split()[:4] for line in lines[head + 1 : head + 9]]
    assert rows == [
        [weights, sampler, str(steps), str(2 * steps - 1 if sampler == "heun" else steps)]
        for weights in ("raw", "ema")
        for sampler in ("ddim", "heun")
        for steps in (2, 3)
    ]
    assert lines[head + 9].startswith("(real)")
    assert "8 training images in place of drawn ones" in done.stdout.replace("\n", " ")


def test_the_cost_is_said_before_anything_is_drawn(compared: tuple[Path, Any]) -> None:
    said = compared[1].stderr.splitlines()
    assert said[0] == "sampling.eta means nothing for heun and is left at 0.0"
    assert said[1] == "8 settings x 8 images: 208 network calls, for kid_effnet, recall"
    assert said[2].startswith("time: about ") and any(line.startswith("memory: at most ") for line in said[3:5])
    rows = [line for line in said if re.match(r"\d of 8: ", line)]
    assert len(rows) == 8 and rows[0].startswith("1 of 8: raw, ddim, 2 steps, trailing: KID(eff) ")
    assert max(map(len, said)) <= 80


def test_every_row_is_kept_with_the_run_and_all_that_it_depends_on(compared: tuple[Path, Any]) -> None:
    found = kept(compared[0])
    assert len(found) == 8 and {one.by for one in found} == {"evaluate"} and {one.images for one in found} == {IMAGES_SEEN}
    assert all(one.measurement == found[0].measurement for one in found), "so that they may be compared"
    assert found[0].measurement["weights_sha256"] == efficientnet().sha256 and found[0].measurement["n"] == 8
    drawings = [(one.drawing["weights"], one.drawing["sampler"], one.drawing["steps"]) for one in found]
    assert len(set(drawings)) == 8 and drawings[0] == ("raw", "ddim", 2)
    assert [one.drawing["eta"] for one in found[:4]] == [0.5, 0.5, 0.0, 0.0]
    assert len({one.values["samples/kid_effnet"] for one in found}) == 8, "each way draws others"
    assert len({one.values["samples/kid_effnet_of_real"] for one in found}) == 1


def test_without_options_it_draws_as_the_experiment_does_and_says_it_as_json(run: Path) -> None:
    done = evaluate(run, "--json", "--metrics", "precision", "--seed", "7")
    told = json.loads(done.stdout)
    (row,) = told["rows"]
    assert (row["sampler"], row["steps"], row["weights"], row["checkpoint"]) == ("ddim", 2, "ema", "last")
    assert set(row["values"]) == {"samples/precision", "samples/precision_of_real"}
    assert told["measurement"]["efficientnet-lite0"]["reals"] == "held-out"
    assert kept(run)[0].drawing["seed"] == 7
    again = json.loads(evaluate(run, "--json", "--metrics", "precision", "--seed", "7").stdout)
    assert again["rows"][0]["values"] == row["values"] and len(kept(run)) == 2


def test_any_checkpoint_can_be_evaluated_and_one_that_is_not_there_is_told(run: Path) -> None:
    done = evaluate(run, "--checkpoint", "320,last", "--metrics", "recall")
    assert done.exit_code == 0 and [one.drawing["checkpoint"] for one in kept(run)] == [320, "last"]
    assert "1 of 2: 320 images, ema, ddim, 2 steps, trailing: recall " in done.stderr
    assert "drawn" in evaluate_kept(run).stdout, "both are the same network: one line"
    done = evaluate(run, "--checkpoint", "64", "--metrics", "recall")
    assert done.exit_code == 2
    assert "checkpoint = 64: this run keeps no checkpoint after so many images" in done.stderr
    assert "fix: take last or 320" in done.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--sampler", "dim"), "sampling.sampler = 'dim'"),
        (("--steps", "101"), "sampling.steps = 101: sampling cannot take more steps than the 100 timesteps"),
        (("--steps", "ten"), "--steps = 'ten': takes whole numbers"),
        (("--metrics", "fidd"), "--metrics = 'fidd': no such measure of images"),
        (("--n", "3"), "--n = 3: fd_effnet, kid_effnet, precision, recall, noise_left need at least 4 images"),
        (("--weights", "averaged"), "--weights = 'averaged': weights are the average or the last ones"),
        (("--sigma-rel", "0.1", "--checkpoint", "best"), "--checkpoint = 'best': an average of a chosen width"),
        (("--sigma-rel", "0.1"), "sigma_rel = 0.1: this run kept no snapshots of averages"),
        (("--metrics", "fid", "--inception", "none.pth"), "--inception = 'none.pth': no such file"),
        (("--checkpoint", "first"), "--checkpoint = 'first': no such checkpoint"),
    ],
)
def test_what_does_not_fit_is_one_message_before_anything_is_drawn(run: Path, words: tuple[str, ...], said: str) -> None:
    done = evaluate(run, *words)
    assert done.exit_code == 2 and said in done.stderr and "Traceback" not in done.stderr
    assert kept(run) == []


def test_other_data_than_the_run_was_trained_on_is_refused(run: Path, experiment: Experiment) -> None:
    manifest = run / "manifest.json"
    told = json.loads(manifest.read_text())
    told["data_fingerprint"] = "0" * 16
    manifest.write_text(json.dumps(told))
    done = evaluate(run)
    ours = load_data(experiment.data, experiment.condition).fingerprint
    assert done.exit_code == 2 and f"data fingerprint = '{ours}': the data on this machine are not those of the run" in done.stderr


def test_data_that_are_no_images_are_refused(tmp_path: Path) -> None:
    wine = small(data=Table(source="wine"), condition=ClassLabels(), model=MLP(hidden_dim=16, layers=1, time_embedding=8))
    done = evaluate(record(tmp_path / "runs", wine))
    assert done.exit_code == 2 and "distances in features are for images, and table holds none" in done.stderr


def test_a_table_that_would_be_wider_is_two_with_the_settings_numbered(run: Path) -> None:
    words = ("--sampler", "ddim,edm-stochastic", "--steps", "2,3", "--weights", "raw,ema", "--grid", "trailing,karras")
    lines = evaluate(run, *words, "--metrics", "noise_left,precision,recall,kid_effnet", "--guidance", "1").stdout.splitlines()
    assert max(map(len, lines)) <= 80
    heads = [place for place, line in enumerate(lines) if line.startswith("   ")]
    assert [lines[place].split()[:2] for place in heads] == [["weights", "sampler"], ["KID(eff)", "precis."]]
    assert [line.split()[0] for line in lines[heads[0] + 1 : heads[0] + 17]] == [str(number) for number in range(1, 17)]
    assert lines[heads[0] + 16].split()[1:] == ["ema", "edm-stochastic", "3", "5", "karras"]
    assert lines[heads[1] + 16].split()[0] == "16" and lines[heads[1] + 17].startswith("(real)")


def test_ctrl_c_keeps_what_was_measured_and_says_so(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    of, calls = NoiseCount.of, list[int]()

    def interrupted(count: NoiseCount, drawn: torch.Tensor) -> Measured:
        calls.append(len(drawn))
        if len(calls) == 2:
            raise KeyboardInterrupt
        return of(count, drawn)

    monkeypatch.setattr(NoiseCount, "of", interrupted)
    done = evaluate(run, "--metrics", "noise_left", "--steps", "1,2,3")
    assert done.exit_code == 130
    said = "1 setting is kept in the run's evaluations.jsonl; --kept shows them"
    assert done.stderr.splitlines()[-2:] == [said, "interrupted"]
    assert [one.drawing["steps"] for one in kept(run)] == [1]


def test_what_was_measured_is_shown_later_as_tables_of_equals(run: Path) -> None:
    assert evaluate_kept(run).stdout == "nothing was measured of this run yet: the same command without --kept does\n"
    evaluate(run, "--metrics", "recall", "--steps", "2,3")
    evaluate(run, "--metrics", "recall", "--steps", "4", "--weights", "raw")
    evaluate(run, "--metrics", "precision", "--steps", "3")
    CliRunner().invoke(app, ["evaluate", str(run), "-n", "9", "--metrics", "recall", "--steps", "2"])
    lines = evaluate_kept(run).stdout.splitlines()
    assert max(map(len, lines)) <= 80
    apart = next(place for place, line in enumerate(lines) if line.startswith("not to be compared"))
    assert lines[apart].startswith("not to be compared with those above (floor_n, floor_sha256, n):")
    rows = [line.split() for line in lines[:apart] if line.startswith(("ema", "raw"))]
    assert [row[:3] for row in rows] == [["ema", "2", "2"], ["ema", "3", "3"], ["raw", "4", "4"]]
    assert [row[3] == "-" for row in rows] == [True, False, True], "precision was asked of one alone"
    assert any(line.startswith("9 drawn images") for line in lines[apart:])
    told = json.loads(evaluate_kept(run, "--json").stdout)
    assert [(one["n"], len(one["rows"])) for one in told] == [(8, 3), (9, 1)]
    done = evaluate_kept(run, "--steps", "3")
    assert done.exit_code == 2 and "--steps = [3]: --kept shows all that was measured" in done.stderr


def evaluate_kept(run: Path, *words: str) -> SimpleNamespace:
    done = CliRunner().invoke(app, ["evaluate", str(run), "--kept", *words], env={"COLUMNS": "80"})
    return SimpleNamespace(exit_code=done.exit_code, stdout=done.stdout, stderr=done.stderr)
