"""What a launcher says, what the experiment says and what the machine has agree, or the mistake is told before anything is done."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from ddpm_exp.memory.estimate import estimate
from ddpm_exp.memory.plan import plan
from ddpm_exp.ranks.environment import launched, require_agreement, restarted
from ddpm_exp.ranks.ranks import SINGLE, Ranks
from ddpm_exp.spec.errors import UserError
from ddpm_exp.spec.experiment import Experiment
from ddpm_exp.spec.hardware import Hardware, find_gpu
from ddpm_exp.spec.model import UNet
from ddpm_exp.spec.training import Training

_TORCHRUN = {"RANK": "3", "WORLD_SIZE": "4", "LOCAL_RANK": "1"}


def _on(devices: int) -> Experiment:
    return Experiment().but(hardware=Hardware(devices=devices))


def test_without_a_launcher_there_is_one_process_whatever_cluster_software_sets() -> None:
    assert launched({}) is None
    assert launched({"WORLD_SIZE": "8", "SLURM_NTASKS": "8"}) is None
    assert not restarted({})


def test_torchrun_s_words_are_understood() -> None:
    assert launched(_TORCHRUN) == (3, 4, 1)
    assert restarted(_TORCHRUN | {"TORCHELASTIC_RESTART_COUNT": "1"})
    assert not restarted(_TORCHRUN | {"TORCHELASTIC_RESTART_COUNT": "0"})


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ({"RANK": "0"}, "WORLD_SIZE and LOCAL_RANK is missing"),
        (_TORCHRUN | {"RANK": "4"}, "RANK counts from 0 to below WORLD_SIZE"),
        (_TORCHRUN | {"LOCAL_RANK": "x"}, "RANK counts from 0 to below WORLD_SIZE"),
    ],
)
def test_half_a_description_is_refused(said: dict[str, str], why: str) -> None:
    with pytest.raises(UserError, match=why) as error:
        launched(said)
    assert error.value.fix is not None and "torchrun" in error.value.fix


@pytest.mark.parametrize(
    ("devices", "ranks", "gpus", "rule", "fix"),
    [
        (1, Ranks(0, 4, 0), 0, "started 4 processes", "hardware.devices=4"),
        (2, Ranks(0, 4, 0), 4, "started 4 processes", "start 2 processes"),
        (2, SINGLE, 1, "this is one alone", "ddpm-exp run FILE"),
        (4, Ranks(2, 4, 2), 2, "has 2 GPUs that torch can use, and process 2", "at most 2 processes"),
    ],
)
def test_devices_processes_and_gpus_that_do_not_agree_are_told_with_the_fix(
    devices: int, ranks: Ranks, gpus: int, rule: str, fix: str
) -> None:
    with pytest.raises(UserError) as error:
        require_agreement(ranks, _on(devices), gpus=gpus)
    assert error.value.field == "hardware.devices"
    assert rule in error.value.rule
    assert error.value.fix is not None and fix in error.value.fix


def test_devices_and_processes_that_agree_are_let_through() -> None:
    require_agreement(SINGLE, _on(1), gpus=1)
    require_agreement(Ranks(3, 4, 1), _on(4), gpus=2)
    require_agreement(Ranks(1, 2, 1), _on(2), gpus=0)


@pytest.mark.parametrize(
    ("changes", "fix"),
    [
        ({"hardware": Hardware(devices=3)}, "training.images_per_step = 126 or 129"),
        ({"hardware": Hardware(devices=4, micro_batch=64)}, "take a divisor of it"),
        ({"hardware": Hardware(devices=4, shard=True, compile=True)}, "hardware.compile or hardware.shard to False"),
        ({"hardware": Hardware(devices=4, shard=True), "training": Training(optimizer="muon")}, "'adamw'"),
    ],
)
def test_a_step_is_cut_into_equal_shares_and_what_cannot_be_spread_is_refused(changes: dict[str, Any], fix: str) -> None:
    assert Experiment().training.images_per_step == 128
    with pytest.raises(ValidationError) as error:
        Experiment().but(**changes)
    assert fix in str(error.value)


def test_weights_are_spread_over_several_devices_only() -> None:
    with pytest.raises(ValidationError, match="set devices to how many there are"):
        Hardware(shard=True)


@pytest.mark.parametrize("devices", [1, 2, 8])
def test_a_plan_s_micro_batch_times_accumulation_times_devices_is_the_step(devices: int) -> None:
    made = plan(_on(devices), find_gpu("T4"), device="cuda")
    assert made.devices == devices
    assert made.micro_batch * made.accumulation * devices == made.images_per_step == 128


def test_spread_weights_are_planned_with_a_share_of_the_memory() -> None:
    wide = Experiment().but(model=UNet(base_channels=256))
    whole, spread = (
        estimate(wide.but(hardware=Hardware(devices=8, shard=shard)), find_gpu("A100-80"), "bf16", 16).terms
        for shard in (False, True)
    )
    assert spread["optimizer"] == whole["optimizer"] // 8
    assert spread["ema"] == whole["ema"] // 8
    assert whole["weights"] // 8 < spread["weights"] < whole["weights"] // 2
