"""check needs no GPU and touches none: with CUDA hidden, and where any call of CUDA fails, it says what it always says."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

FORBIDDEN = """
import functools, sys, torch

def forbid(place, name):
    def forbidden(*_, **__):
        print("CUDA was asked", file=sys.stderr)
        raise SystemExit(99)
    setattr(place, name, functools.wraps(getattr(place, name))(forbidden))  # one each: torch's compiler keeps a table of them

def is_function(name):
    return callable(getattr(torch.cuda, name)) and not isinstance(getattr(torch.cuda, name), type)

# Whether this process initialised CUDA or captures is kept by torch itself: no driver is asked.
kept = {"is_initialized", "is_current_stream_capturing"}
for name in {"_lazy_init", "_lazy_call", *filter(is_function, torch.cuda.__all__)} - kept:
    forbid(torch.cuda, name)
for name in ("_cuda_init", "_cuda_getDeviceCount", "_cuda_getDevice", "_cuda_setDevice", "_cuda_memoryStats"):
    forbid(torch._C, name)
"""

PROGRAM = """
from ddpm_exp.cli.main import main
sys.argv = ["ddpm-exp", "check", "--no-cache", "experiment.py", "--gpu", "T4", "--gpu", "A100-40", "--gpu", "cpu"]
try:
    main()
except SystemExit as ended:
    assert not ended.code, ended.code
assert not torch.cuda.is_initialized()
"""

EXPERIMENT = '''
from ddpm_exp import ClassLabels, Digits, Experiment, Training, UNet


class Small(Experiment):
    """Small."""

    data = Digits(image_size=16)
    condition = ClassLabels()
    model = UNet(base_channels=16, multipliers=(1, 2), blocks_per_level=1, attention_resolutions=(8,), groups=8, time_embedding=32)
    training = Training(images_per_step=48)
'''


def said(folder: Path, prelude: str, **environment: str) -> str:
    command = [sys.executable, "-c", prelude + PROGRAM]
    place = {**os.environ, "COLUMNS": "200", "DDPM_EXP_CACHE": str(folder / "cache"), **environment}
    done = subprocess.run(command, cwd=folder, env=place, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_check_says_the_same_with_cuda_hidden_and_where_every_call_of_cuda_fails(tmp_path: Path) -> None:
    (tmp_path / "experiment.py").write_text(EXPERIMENT)
    hidden = said(tmp_path, "import sys, torch\n", CUDA_VISIBLE_DEVICES="", HIP_VISIBLE_DEVICES="")
    assert all(word in hidden for word in ("T4", "fp16", "A100-40", "bf16", "48 x 1"))
    assert said(tmp_path, FORBIDDEN) == hidden


@pytest.mark.parametrize("call", ["torch.cuda.is_available()", "torch.zeros(1, device='cuda')"])
def test_a_call_of_cuda_would_be_seen(call: str) -> None:
    script = f"{FORBIDDEN}\ntry:\n    {call}\nexcept (AssertionError, RuntimeError):\n    pass\n"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (99, "CUDA was asked\n")
