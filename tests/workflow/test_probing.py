"""A probe tries what a run does, and what it found is taken again only where everything that decided it is the same."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from support.prepared import prepared_on_cpu

from ddpm_exp.memory.search import Attempt, Caps, Found
from ddpm_exp.records.run_directory import RunDirectory
from ddpm_exp.spec.data import Digits
from ddpm_exp.spec.errors import UserError
from ddpm_exp.spec.experiment import Experiment
from ddpm_exp.spec.hardware import GIB, Hardware, find_gpu
from ddpm_exp.spec.model import UNet
from ddpm_exp.spec.sampling import Sampling
from ddpm_exp.spec.training import Training
from ddpm_exp.workflow.begin import micro_batch_of
from ddpm_exp.workflow.display import Quiet
from ddpm_exp.workflow.kept_probes import KEPT, keep, key_of, recall
from ddpm_exp.workflow.prepare import Machine, Prepared
from ddpm_exp.workflow.probe_report import band_in_words
from ddpm_exp.workflow.probing import measure, trials_of

SMALL = UNet(base_channels=8, multipliers=(1,), blocks_per_level=1, attention_resolutions=(), time_embedding=16, groups=4)
EXPERIMENT = Experiment(
    data=Digits(subset=40), model=SMALL, training=Training(images_per_step=8), sampling=Sampling(sampler="heun")
)
FOUND = Found(Attempt(4, 5 * GIB, 900.0), "the fastest of 2 that fit", (Attempt(8, None), Attempt(4, 5 * GIB, 900.0)))


@pytest.fixture
def ready(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Prepared:
    monkeypatch.setenv("DDPM_EXP_CACHE", str(tmp_path))
    return prepared_on_cpu(EXPERIMENT)


def on(ready: Prepared, experiment: Experiment) -> Prepared:
    return replace(ready, loaded=replace(ready.loaded, experiment=experiment))


def test_a_trial_is_a_whole_step_sliced_as_asked_and_a_batch_of_sampling(ready: Prepared) -> None:
    factory = trials_of(ready)
    trainers = []
    for micro in (8, 2):
        trial = factory(micro)
        trial.step()
        trial.draw()
        trial.step()
        trainer = trial.step.__self__  # type: ignore[attr-defined]
        assert (trainer.micro_batch, trainer.images_seen) == (micro, 16)
        assert trainer.ema is not None and trainer.optimizer.state
        trainers.append(trainer)
    whole, sliced = ([weight.detach() for weight in trainer.network.parameters()] for trainer in trainers)
    assert all(torch.allclose(a, b, atol=1e-4) for a, b in zip(whole, sliced, strict=True))


def test_of_several_devices_one_tries_its_share(ready: Prepared) -> None:
    two = ready.plan.but(devices=2, micro_batch=4, accumulation=1)
    trial = trials_of(replace(ready, plan=two))(2)
    trial.step()
    assert trial.step.__self__.images_seen == 4  # type: ignore[attr-defined]


def test_on_a_cpu_nothing_is_measured_and_nothing_kept(ready: Prepared) -> None:
    assert measure(ready, Quiet()) is None
    assert not KEPT.folder.exists()


def test_what_a_probe_found_is_kept_and_comes_back_whole(ready: Prepared) -> None:
    key, notes = key_of(ready, Caps()), list[str]()
    assert recall(key, notes.append) is None
    keep(key, FOUND)
    assert recall(key_of(ready, Caps()), notes.append) == FOUND
    assert notes == []


def test_a_search_that_chose_nothing_is_not_kept(ready: Prepared) -> None:
    keep(key_of(ready, Caps()), Found(None, "nothing that was tried fits", (Attempt(1, None),)))
    assert recall(key_of(ready, Caps()), print) is None


def test_a_damaged_file_is_ignored_with_a_note_and_written_anew(ready: Prepared) -> None:
    key, notes = key_of(ready, Caps()), list[str]()
    keep(key, FOUND)
    (file,) = KEPT.folder.iterdir()
    file.write_bytes(file.read_bytes()[:-30])
    assert recall(key, notes.append) is None
    assert "cannot be read" in notes[0] and str(KEPT.folder) in notes[0]
    keep(key, FOUND)
    assert recall(key, notes.append) == FOUND and len(notes) == 1


def test_whatever_decides_a_probe_is_in_its_key_and_judgement_is_not(ready: Prepared, monkeypatch: pytest.MonkeyPatch) -> None:
    experiment, machine, plan = ready.experiment, ready.machine, ready.plan
    raw = on(ready, experiment.but(sampling=experiment.sampling.but(weights="raw")))
    others = [
        on(ready, experiment.but(model=SMALL.but(base_channels=16))),
        on(ready, experiment.but(model=SMALL.but(checkpointing=True))),
        on(ready, experiment.but(diffusion=experiment.diffusion.but(learned_variance=True))),
        on(ready, experiment.but(training=experiment.training.but(optimizer="adam"))),
        on(raw, raw.experiment.but(training=experiment.training.but(ema_half_life=None))),
        raw,
        on(ready, experiment.but(sampling=experiment.sampling.but(sampler="ddim"))),
        on(ready, experiment.but(hardware=Hardware(cuda_graph=False))),
        on(ready, experiment.but(hardware=Hardware(fused_kernels=False))),
        on(ready, experiment.but(hardware=Hardware(headroom=0.2))),
        replace(ready, plan=plan.but(precision="bf16")),
        replace(ready, plan=plan.but(compile=True)),
        replace(ready, machine=replace(machine, limit_bytes=15 * GIB)),
        replace(ready, machine=replace(machine, gpu=find_gpu("T4"))),
        replace(ready, machine=replace(machine, facts={"driver": "570.1"})),
    ]
    keys = [*(key_of(one, Caps()) for one in (ready, *others)), key_of(ready, Caps(attempts=3))]
    assert all(a != b for k, a in enumerate(keys) for b in keys[:k])
    same = on(ready, experiment.but(training=experiment.training.but(learning_rate=1e-3, duration="3 epochs")))
    assert key_of(same, Caps()) == keys[0]
    monkeypatch.setenv("PYTORCH_CUDA_ALLOC_CONF", "expandable_segments:True")
    assert key_of(ready, Caps()) != keys[0]


def test_the_result_is_placed_in_the_guide_s_band() -> None:
    words = [band_in_words(int(share * 1000), 1000) for share in (0.27, 0.5, 0.75, 0.9)]
    assert words[0] == "27% of the memory, below guide 000's band of 50% to 75%"
    assert [line.split(", ")[1].split()[0] for line in words] == ["below", "within", "within", "above"]


def test_nothing_is_emulated_on_a_processor(ready: Prepared) -> None:
    with Machine(find_gpu("T4"), "cpu", {}, limit_bytes=15 * GIB).held_to_limit():
        assert torch.ones(1).sum() == 1


def test_a_resumed_run_gives_its_micro_batch_to_a_gpu_of_the_same_name(ready: Prepared, undisturbed: Path) -> None:
    run = RunDirectory.open(undisturbed)
    before = int(run.manifest.plan["micro_batch"])
    assert micro_batch_of(run, ready.plan) == before
    assert micro_batch_of(run, ready.plan.but(gpu="H100")) is None
    assert micro_batch_of(None, ready.plan) is None


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without CUDA")
def test_a_memory_limit_without_a_gpu_is_an_error() -> None:
    from ddpm_exp.workflow.options import RunOptions
    from ddpm_exp.workflow.prepare import find_machine

    with pytest.raises(UserError, match=r"--memory-limit = .*only a GPU's memory can be limited"):
        find_machine(RunOptions(memory_limit=15 * GIB))
