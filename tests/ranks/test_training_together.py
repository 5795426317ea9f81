"""Two real processes train as one does: the same images, times and noise, losses and weights to rounding."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from support.processes import in_processes
from support.recorded_run import record, small
from support.shard_files import write_shards
from support.tiny_training import tiny_trainer
from support.together import STEPS, TOGETHER, asked_of_each, evaluate_later, evaluate_some, measure_some, train_some

from ddpm_exp.checkpoints.store import latest, load
from ddpm_exp.ranks.ranks import SINGLE
from ddpm_exp.spec.condition import ClassLabels
from ddpm_exp.spec.data import Shards
from ddpm_exp.spec.errors import RunError
from ddpm_exp.training.state import restore


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("together")
    pattern = write_shards(made / "shards")
    record(made / "runs", small(data=Shards(train=pattern, image_size=8), condition=ClassLabels()))
    return made / "checkpoints"


@pytest.fixture(scope="module")
def both(folder: Path) -> list[dict[str, Any]]:
    return in_processes(2, asked_of_each, str(folder))


@pytest.fixture(scope="module")
def alone(folder: Path) -> dict[str, Any]:
    return {
        "whole": train_some(SINGLE, 128),
        "sliced": train_some(SINGLE, 32),
        "importance": train_some(SINGLE, 128, "importance"),
        "evaluated": evaluate_some(SINGLE),
        "distances": measure_some(SINGLE),
        "later": evaluate_later(SINGLE, folder.parent / "runs"),
    }


def test_two_processes_and_any_slicing_see_the_same_images_times_and_noise(both: Any, alone: Any) -> None:
    whole = [torch.from_numpy(part) for part in alone["whole"]["drawn"]]
    sliced = [torch.from_numpy(part) for part in alone["sliced"]["drawn"]]
    halves = [[torch.from_numpy(part).unflatten(0, (STEPS, 64)) for part in each["uniform"]["drawn"]] for each in both]
    for kind, one in enumerate(whole):
        assert torch.equal(one, sliced[kind])
        assert torch.equal(one, torch.cat([halves[0][kind], halves[1][kind]], dim=1).flatten(0, 1))


@pytest.mark.parametrize("density", ["uniform", "importance"])
def test_two_processes_learn_what_one_does_to_rounding_and_the_same_bits_in_both(both: Any, alone: Any, density: str) -> None:
    one = alone["whole" if density == "uniform" else density]
    for each in both:
        for ours, theirs in zip(each[density]["rows"], one["rows"], strict=True):
            assert ours == pytest.approx(theirs, rel=1e-5)
        for part in ("weights", "average"):
            torch.testing.assert_close(torch.from_numpy(each[density][part]), torch.from_numpy(one[part]), rtol=1e-3, atol=2e-5)
        for name, part in one["density"].items():
            torch.testing.assert_close(torch.from_numpy(each[density]["density"][name]), torch.from_numpy(part), rtol=1e-4, atol=0)
    assert both[0][density]["rows"] == both[1][density]["rows"]
    for part in ("weights", "average"):
        assert (both[0][density][part] == both[1][density][part]).all()


def test_evaluation_shared_by_two_processes_is_that_of_one(both: Any, alone: Any) -> None:
    first, one = both[0]["evaluated"], alone["evaluated"]
    assert first["values"] == pytest.approx(one["values"], rel=1e-5)
    for part in ("pictures", "drawn"):
        assert first[part].shape == one[part].shape
        torch.testing.assert_close(torch.from_numpy(first[part]), torch.from_numpy(one[part]), rtol=1e-3, atol=1e-4)
    assert len(both[1]["evaluated"]["drawn"]) < 21, "the second process has drawn its share alone"


def test_distances_whose_features_two_processes_extract_are_those_of_one(both: Any, alone: Any) -> None:
    assert both[0]["distances"] == pytest.approx(alone["distances"], rel=1e-5, abs=1e-6)
    assert len(alone["distances"]) == 6 and both[1]["distances"] is None


def test_a_recorded_run_is_evaluated_by_two_processes_as_by_one(both: Any, alone: Any) -> None:
    assert len(alone["later"]) == 2 and both[1]["later"] is None
    for ours, theirs in zip(both[0]["later"], alone["later"], strict=True):
        assert ours == pytest.approx(theirs, rel=1e-4, abs=1e-5)


def test_all_processes_leave_an_evaluation_when_one_is_asked_to_stop(both: Any) -> None:
    assert [each["evaluated"]["stopped"] for each in both] == [True, True]


def test_shares_cover_everything_once_in_order_and_are_equally_many_in_every_process(both: Any) -> None:
    for count, first, second in zip((1, 2, 5, 6, 7), both[0]["shares"], both[1]["shares"], strict=True):
        assert first[0] == second[0]
        assert first[1] == list(range(count))
        assert first[2] == sum(range(count))


def test_all_processes_stop_after_the_same_step_when_one_wishes_to(both: Any) -> None:
    steps = [each["stops"] for each in both]
    assert steps[0] == steps[1]
    assert 20 <= steps[0] < 10_000


def test_what_the_first_process_says_is_what_every_process_hears(both: Any) -> None:
    assert both[0]["said"] == both[1]["said"] == [0.0, 1.0, 2.0, 3.0]


def test_a_network_spread_over_two_processes_learns_what_one_does_and_each_holds_about_half(both: Any, alone: Any) -> None:
    for each in both:
        for ours, theirs in zip(each["spread"]["rows"], alone["whole"]["rows"], strict=True):
            assert ours == pytest.approx(theirs, rel=1e-5)
        learnt = torch.from_numpy(each["spread"]["straight"])
        torch.testing.assert_close(learnt, torch.from_numpy(alone["whole"]["weights"]), rtol=1e-3, atol=2e-5)
        assert both[0]["spread"]["judged"] == pytest.approx(alone["whole"]["judged"], rel=1e-5), "as whole, after each evaluation"
        assert each["spread"]["held"] < 0.6 * len(learnt)


def test_a_spread_training_resumed_is_bit_for_bit_the_one_that_was_not_interrupted(both: Any) -> None:
    for each in both:
        assert each["spread"]["restored"]
        assert each["spread"]["seen"] == 128
        assert (each["spread"]["straight"] == each["spread"]["resumed"]).all()


def test_what_two_processes_wrote_one_reads_and_goes_on_from(both: Any, folder: Path, alone: Any) -> None:
    assert sorted(path.name for path in folder.iterdir()) == ["000000000128.dcp", "000000000384.dcp"]
    trainer = tiny_trainer(TOGETHER, micro_batch=128, total_images=128 * STEPS)
    restore(trainer, load(folder / "000000000128.dcp"))
    assert trainer.images_seen == 128
    for _ in range(STEPS - 1):
        trainer.step()
    for state, whole in ((trainer.network.state_dict(), "weights"), (trainer.ema.network.state_dict(), "average")):  # type: ignore[union-attr]
        ours = torch.cat([part.flatten() for part in state.values()])
        torch.testing.assert_close(ours, torch.from_numpy(alone["whole"][whole]), rtol=1e-3, atol=2e-5)


def test_a_damaged_part_of_a_folder_is_noticed_and_the_checkpoint_before_it_used(both: Any, folder: Path, tmp_path: Path) -> None:
    copied = tmp_path / "checkpoints"
    shutil.copytree(folder, copied)
    part = copied / "000000000384.dcp" / "__1_0.distcp"
    part.write_bytes(part.read_bytes()[:-1])
    broken: list[str] = []
    found = latest(copied, on_broken=lambda error: broken.append(str(error)))
    assert found is not None and found[1].images_seen == 128
    assert len(broken) == 1 and "__1_0.distcp is missing or damaged" in broken[0]


def test_a_folder_s_table_of_contents_runs_no_code(both: Any, folder: Path, tmp_path: Path) -> None:
    copied = tmp_path / "000000000128.dcp"
    shutil.copytree(folder / "000000000128.dcp", copied)
    table = copied / ".metadata"
    table.write_bytes(pickle.dumps(_Evil(str(tmp_path / "was here"))))
    whole = json.loads((copied / "whole.json").read_text())
    whole["sha256"][".metadata"] = hashlib.sha256(table.read_bytes()).hexdigest()
    (copied / "whole.json").write_text(json.dumps(whole))
    with pytest.raises(RunError, match="has no place in a checkpoint"):
        load(copied)
    assert not (tmp_path / "was here").exists()


class _Evil:
    def __init__(self, path: str) -> None:
        self._path = path

    def __reduce__(self) -> Any:
        return os.mkdir, (self._path,)
