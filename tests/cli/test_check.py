"""check: a plan for each GPU, advice, and errors that stop nothing else."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from ddpm_exp.spec import hardware

Program = Callable[..., SimpleNamespace]


def test_check_plans_for_each_gpu_and_shows_diff_and_advice(folder: Path, program: Program) -> None:
    document = json.loads(program("check", "2", "--json").stdout)
    (checked,) = document["checked"]
    assert [row["gpu"]["name"] for row in checked["plans"]] == ["T4", "V100-16", "V100-32", "A100-40"]
    assert all(row["plan"]["micro_batch"] * row["plan"]["accumulation"] == 10 for row in checked["plans"])
    assert (checked["id"], checked["baseline"]) == ("ADR-0002", "ADR-0001")
    assert [change["path"] for change in checked["changes"]] == ["training.learning_rate"]
    assert any("guide" in guide or guide.isdigit() for advice in checked["advice"] for guide in advice["guides"])
    text = program("check", "2", "--gpu", "T4,a100").stdout
    for word in (
        "memory: predicted, not measured",
        "baseline: ADR-0001; 1 setting differs",
        "training.learning_rate",
        "T4",
        "A100-40",
        "advice: ",
        "guide",
    ):
        assert word in text
    assert "V100" not in text


def test_a_failing_file_does_not_keep_the_others_from_being_checked(folder: Path, program: Program) -> None:
    (folder / "experiments" / "wrong.py").write_text(
        "from ddpm_exp import Experiment, Sampling\n\n\nclass Wrong(Experiment):\n    sampling = Sampling(steps=2000)\n"
    )
    done = program("check", "wrong", "nowhere", "1", "--gpu", "T4")
    assert done.exit_code == 2
    assert "experiments/wrong.py" in done.stderr
    assert "nowhere: no such experiment" in done.stderr
    assert "ADR-0001: A tiny start" in done.stdout
    document = json.loads(program("check", "wrong", "1", "--json").stdout)["checked"]
    assert document[0]["error"]["field"] == "sampling.steps"
    assert document[1]["id"] == "ADR-0001"


def test_overrides_apply_to_every_file(folder: Path, program: Program) -> None:
    document = json.loads(program("check", "1", "2", "training.images_per_step=20", "--gpu", "T4", "--json").stdout)
    assert [checked["plans"][0]["plan"]["images_per_step"] for checked in document["checked"]] == [20, 20]


def test_what_is_wrong_with_a_table_is_one_error_and_no_plan(folder: Path, program: Program) -> None:
    (folder / "plants.csv").write_text("height,kind\n" + "1.5,fern\n2.5,moss\n" * 10)
    words = ["data.kind=table", "data.source=plants.csv", "condition.kind=class", "model.kind=mlp", "diffusion.schedule=vp-cosine"]
    words += ["diffusion.prediction=v", "diffusion.timesteps=1000"]
    assert program("check", "1", *words, "data.label=kind").exit_code == 0
    done = program("check", "1", *words, "data.label=knid")
    assert done.exit_code == 2
    assert done.stderr.count("data.label = 'knid': the table has no such column") == 1 and "T4" not in done.stdout
    assert "set at: override data.label=knid" in done.stderr


def test_what_is_not_on_this_machine_is_told_without_being_an_error(folder: Path, program: Program) -> None:
    words = ["training.init_from=nowhere", "sampling.guide=runs/none", "sampling.guidance_scale=2"]
    done = program("check", "1", *words)
    assert done.exit_code == 0 and "nothing to advise" not in done.stdout
    assert "not on this machine, and a run needs it: training.init_from = 'nowhere'" in done.stdout
    (checked,) = json.loads(program("check", "1", *words, "--json").stdout)["checked"]
    assert checked["not_here"] == {"training.init_from": "nowhere", "sampling.guide": "runs/none"}
    (folder / "nowhere").mkdir()
    (checked,) = json.loads(program("check", "1", *words, "--json").stdout)["checked"]
    assert checked["not_here"] == {"sampling.guide": "runs/none"}


def test_what_distances_cost_and_lack_is_told(folder: Path, program: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    words = ["evaluation.fd.images=3000", "sampling.steps=20"]
    done = program("check", "1", *words)
    assert "evaluation.fd draws 3,000 images at the end of a run, 60,000 network calls" in done.stdout
    assert "not installed" not in done.stdout
    monkeypatch.setattr("ddpm_exp.evaluation.packages._FIDELITY", {"no_such_module": "no-such-package"})
    done = program("check", "1", *words)
    assert done.exit_code == 0 and "nothing to advise" not in done.stdout
    assert "not installed, and a run needs it: evaluation.fd: pip install no-such-package" in done.stdout
    (checked,) = json.loads(program("check", "1", *words, "--json").stdout)["checked"]
    assert checked["not_installed"] == {"evaluation.fd": "pip install no-such-package"}
    done = program("run", "1", *words)
    assert done.exit_code == 2 and "fix: pip install no-such-package (or 'ddpm-exp[fidelity]')" in done.stderr
    assert not (folder / "runs").exists(), "told before anything is begun"


def test_a_gpu_that_the_file_adds_is_planned_for_and_named_in_errors(
    folder: Path, program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hardware, "_added", {})
    file = folder / "experiments" / "adr_0002.py"
    row = 'add_gpu(Gpu("L40S", int(44.4 * 2**30), (8, 9), fp32_tflops=91.6, half_tflops=362.0, bandwidth_gbs=864.0))'
    file.write_text(f"from ddpm_exp import Gpu, add_gpu\n\n{row}\n" + file.read_text())
    (checked,) = json.loads(program("check", "2", "--gpu", "l40s,V100-16", "--json").stdout)["checked"]
    assert [row["gpu"]["name"] for row in checked["plans"]] == ["L40S", "V100-16"]
    assert "V100-16: needs torch 2.10 or older" in program("check", "2", "--gpu", "l40s,V100-16").stdout
    wrong = program("check", "2", "--gpu", "L41S")
    assert wrong.exit_code == 2 and "MI300X, L40S" in wrong.stderr and "did you mean 'L40S'?" in wrong.stderr
    file.write_text(file.read_text().replace("91.6", "91.5"))
    assert "add_gpu = 'L40S': the catalogue has a L40S with other values" in program("check", "2").stderr


def test_time_and_cost_are_told_for_each_gpu_with_how_far_they_may_be_off(folder: Path, program: Program) -> None:
    words = ["check", "1", "--gpu", "T4,H100,cpu", "--price", "0.5", "--price", "H100=3"]
    (checked,) = json.loads(program(*words, "--json").stdout)["checked"]
    t4, h100, cpu = checked["plans"]
    assert cpu["timing"] is None and checked["costs"]["cpu"] is None
    assert (t4["timing"]["source"], h100["timing"]["source"]) == ("predicted, not measured", "counted")
    assert t4["timing"]["run_seconds"] > t4["timing"]["training_seconds"] + t4["timing"]["evaluation_seconds"]
    assert checked["costs"]["T4"] == pytest.approx(0.5 * t4["timing"]["run_seconds"] / 3600)
    assert checked["costs"]["H100"] == pytest.approx(3 * h100["timing"]["run_seconds"] / 3600)
    text = program(*words).stdout
    for word in ("whole run", "evaluation", "cost", "times for T4: predicted, not measured", "times for H100: counted", "1.5x"):
        assert word in text
    without = program("check", "1", "--gpu", "T4")
    assert "whole run" in without.stdout and "cost" not in without.stdout
    assert json.loads(program("check", "1", "--gpu", "T4", "--json").stdout)["checked"][0]["costs"] is None


def test_the_cost_is_of_all_devices(folder: Path, program: Program) -> None:
    words = ["check", "1", "--gpu", "T4", "--price", "1", "--json", "hardware.devices=2"]
    (checked,) = json.loads(program(*words).stdout)["checked"]
    assert checked["costs"]["T4"] == pytest.approx(2 * checked["plans"][0]["timing"]["run_seconds"] / 3600)


@pytest.mark.parametrize(
    ("prices", "told"),
    [
        (["T4=cheap"], "--price = 'T4=cheap': a price is a number per hour of one GPU"),
        (["T4=-1"], "not negative"),
        (["T4=nan"], "not negative"),
        (["T4="], "--price = 'T4=': a price is a number"),
        (["T5=1"], "--price = 'T5=1': a GPU is one of"),
        (["T4=1", "t4=2"], "there are two prices of T4"),
        (["1,2"], "there are two prices for every GPU"),
    ],
)
def test_a_mistake_in_a_price_is_told_with_its_fix(folder: Path, program: Program, prices: list[str], told: str) -> None:
    words = [word for price in prices for word in ("--price", price)]
    done = program("check", "1", "--gpu", "T4", *words)
    assert done.exit_code == 2 and told in done.stderr and "fix: " in done.stderr and "whole run" not in done.stdout


def test_a_guide_s_claim_stands_beside_our_estimate_as_a_claim(folder: Path, program: Program) -> None:
    head = "from ddpm_exp.spec.presets.guide_000 import Balanced\n\n\nclass Mine(Balanced):\n"
    (folder / "experiments" / "mine.py").write_text(head + "    pass\n")
    text = program("check", "mine", "--gpu", "T4").stdout
    assert "claim of guide 000, not ours: 2-4 h for the whole training on T4; estimated here: T4 " in text
    assert "2-4 h for the whole training on T4; --gpu T4 estimates it" in program("check", "mine", "--gpu", "L4").stdout
    (checked,) = json.loads(program("check", "mine", "--gpu", "T4", "--json").stdout)["checked"]
    assert (checked["claim"]["low"], checked["claim"]["high"]) == (7200.0, 14400.0)
    assert checked["claim"]["estimated_seconds"] == {"T4": checked["plans"][0]["timing"]["run_seconds"]}
    for change in ("model.hidden_dim=128", "training.images_per_step=16", "training.duration=50 epochs"):
        assert "claim of guide" not in program("check", "mine", "--gpu", "T4", change).stdout


def test_tables_are_readable_at_80_columns(folder: Path, program: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    lines = program("check", "1", "--gpu", "RTX4090,V100-16", "--price", "12.5").stdout.splitlines()
    rows = [line.split() for line in lines if line.startswith(("RTX 4090", "V100-16"))]
    assert len(rows) >= 4 and rows[2][-1] == rows[3][-1] == "2x"
    (header,) = (line for line in lines if "images/s" in line)
    assert header.split() == ["GPU", "images/s", "epoch", "whole", "run", "evaluation", "cost", "within"] and len(header) <= 80
