"""No secret reaches any file of a run: not from the environment, git, the command line, a source or a caption."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from support.records_setup import make_run

from ddpm_exp.records import capture
from ddpm_exp.records.wandb_sink import WandbSink
from ddpm_exp.spec.tracking import Tracking

SECRETS = {
    "WANDB_API_KEY": "5ec2e7a1" * 5,
    "HF_TOKEN": "hugging-5ec2e7b2",
    "AWS_SECRET_ACCESS_KEY": "amazon/5ec2e7c3+x",
    "DATABASE_PASSWORD": "post-5ec2e7d4",
}
IN_REMOTE, IN_COMMAND, IN_SOURCE = "remote-5ec2e7e5", "command-5ec2e7f6", "source-5ec2e7a7"


def test_no_secret_is_found_in_any_byte_of_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    repository = tmp_path / "repository"
    repository.mkdir()
    monkeypatch.chdir(repository)
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    everything = " ".join(SECRETS.values())
    source = f'"""{everything}"""\nAPI_KEY = "{IN_SOURCE}"\nURL = "https://me:{IN_REMOTE}@localhost/"\n'
    Path("adr_0002.py").write_text("x = 1\n")
    for words in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "x"]):
        subprocess.run(["git", "-c", "user.name=n", "-c", "user.email=e@localhost", *words], check=True)
    subprocess.run(["git", "remote", "add", "origin", f"https://somebody:{IN_REMOTE}@localhost/p.git"], check=True)
    Path("adr_0002.py").write_text(source)
    # This process is pytest: what a user would have typed can only be put in the place of pytest's own words.
    monkeypatch.setattr("sys.argv", ["ddpm-exp", "run", f"--wandb-key={IN_COMMAND}", "--token", IN_COMMAND, SECRETS["HF_TOKEN"]])

    run = make_run(
        tmp_path / "runs",
        git=capture.git_facts(),
        packages=capture.package_versions(),
        host=capture.host_facts({"name": SECRETS["HF_TOKEN"]}),
        command_line=capture.command_line(),
        sources={"adr_0002.py": source},
        config={"data.root": f"https://me:{IN_REMOTE}@localhost/{SECRETS['HF_TOKEN']}"},
        overrides=[f"data.root={everything}"],
        decision={"title": everything},
    )
    assert run.manifest.git.dirty_patch is not None
    run.metrics.append(0, {"train/loss": 1.0})
    run.set_status("failed", message=everything, note=everything)
    run.write_text("adr.md", everything)
    sink = WandbSink(Tracking(tags=(SECRETS["HF_TOKEN"],)), "offline", lambda sentence: None)
    sink.start(run.manifest, run.path)
    sink.log(0, {"train/loss": 1.0})
    grid = run.samples / "grid.png"
    _picture(grid)
    sink.image("samples/grid", grid, 0, everything)
    sink.summary({"why": everything})
    sink.artifact(run.record())
    sink.finish()

    kept = [path for path in run.path.rglob("*") if path.is_file()]
    assert any(path.suffix == ".wandb" for path in kept) and any(path.name == "debug.log" for path in kept)
    for path in kept:
        data = path.read_bytes()
        for secret in (*SECRETS.values(), IN_REMOTE, IN_COMMAND, IN_SOURCE):
            assert secret.encode() not in data, f"{secret} is in {path}"


def _picture(path: Path) -> None:
    from PIL import Image

    Image.new("L", (8, 8)).save(path)
