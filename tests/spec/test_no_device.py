"""The spec says the same on every machine: it imports no torch and asks no device."""

from __future__ import annotations

import subprocess
import sys

CODE = """
import sys

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"torch", "torchvision", "wandb", "numpy", "rich", "typer", "scipy", "sklearn"}:
            raise AssertionError(f"the spec imported {name}")

sys.meta_path.insert(0, Refuse())
import ddpm_exp
from ddpm_exp.spec import fields, identity, metrics, plan, rules, schedule

for name in set(ddpm_exp.__all__) - {"load"}:  # which gives a notebook a network
    getattr(ddpm_exp, name)

class Variant(ddpm_exp.Experiment):
    hardware = ddpm_exp.Hardware(gpu="H100")
    training = ddpm_exp.Training(precision="bf16")

identity.science_hash(Variant(), "bf16")
assert "torch" not in sys.modules
"""


def test_building_an_experiment_for_a_gpu_needs_no_torch_and_no_gpu():
    result = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
