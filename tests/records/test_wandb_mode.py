"""Who decides whether W&B is off, offline or online."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from ddpm_exp.records.sink import NoSink
from ddpm_exp.records.wandb_mode import wandb_mode
from ddpm_exp.records.wandb_sink import build_sink
from ddpm_exp.spec.tracking import Tracking


@pytest.mark.parametrize(
    ("tracked", "online", "environment", "mode"),
    [
        ("offline", None, {}, "offline"),
        ("online", None, {}, "online"),
        ("off", None, {}, "off"),
        ("offline", True, {}, "online"),
        ("off", True, {"WANDB_MODE": "disabled"}, "online"),
        ("offline", None, {"WANDB_MODE": "online"}, "online"),
        ("off", None, {"WANDB_MODE": "online"}, "online"),
        ("online", None, {"WANDB_MODE": "offline"}, "offline"),
        ("online", False, {"WANDB_MODE": "dryrun"}, "offline"),
        ("online", None, {"WANDB_MODE": "disabled"}, "off"),
        ("offline", None, {"WANDB_MODE": "nonsense"}, "offline"),
        ("offline", None, {"WANDB_SWEEP_ID": "s"}, "online"),
        ("offline", None, {"WANDB_SWEEP_ID": "s", "WANDB_MODE": "offline"}, "offline"),
    ],
)
def test_command_line_then_environment_then_agent_then_experiment(
    tracked: str, online: bool | None, environment: dict[str, str], mode: str
) -> None:
    assert wandb_mode(Tracking(wandb=tracked), online, environment) == mode  # type: ignore[arg-type]


def test_off_is_a_sink_that_shows_nothing() -> None:
    assert isinstance(build_sink(Tracking(wandb="off"), warn=print), NoSink)


def test_records_load_neither_torch_nor_the_client() -> None:
    heavy = "[name for name in ('torch', 'wandb', 'numpy', 'rich') if name in sys.modules]"
    script = f"import sys; from ddpm_exp.records import run_directory, catalog, capture, wandb_sink, sink; print({heavy})"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, env=os.environ)
    assert done.stdout.strip() == "[]"
