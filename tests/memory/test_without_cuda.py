"""check needs no GPU and touches none: with CUDA hidden, and where any call of CUDA fails, it says what it always says."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from typer.testing import CliRunner

from ddpm_exp.cli.main import app

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
sys.argv = ["ddpm-exp", *sys.argv[1:]]
try:
    main()
except SystemExit as ended:
    assert not ended.code, ended.code
assert not torch.cuda.is_initialized()
print("end of check", file=sys.stderr)
for seen in (torch.cuda.is_available, torch.cuda.device_count, lambda: torch.zeros(1, device="cuda")):
    try:
        seen()
    except SystemExit as ended:
        assert ended.code == 99
"""

EXPERIMENT = '''
from ddpm_exp import ClassLabels, Digits, Experiment, Training, UNet


class Small(Experiment):
    """Small."""

    data = Digits(image_size=16)
    condition = ClassLabels()
    model = UNet(base_channels=8, multipliers=(1, 2), blocks_per_level=1, attention_resolutions=(8,), groups=8, time_embedding=16)
    training = Training(images_per_step=48)
'''


def test_check_says_the_same_with_cuda_hidden_and_where_every_call_of_cuda_fails(tmp_path: Path) -> None:
    (tmp_path / "small.py").write_text(EXPERIMENT)
    words = ["check", "--no-cache", str(tmp_path / "small.py"), "--gpu", "T4,cpu"]
    environment = {**os.environ, "COLUMNS": "200", "CUDA_VISIBLE_DEVICES": "", "HIP_VISIBLE_DEVICES": ""}
    command = [sys.executable, "-c", FORBIDDEN + PROGRAM, *words]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert all(word in done.stdout for word in ("T4", "fp16", "48 x 1", "cpu", "fp32"))
    assert done.stdout == CliRunner().invoke(app, words, env={"COLUMNS": "200"}).stdout, "as where CUDA may be asked"
    during, after = done.stderr.split("end of check\n")
    assert during == "" and after == 3 * "CUDA was asked\n", "a call would have been seen"
