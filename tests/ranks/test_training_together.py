"""Two real processes train as one does: the same images, times and noise, losses and weights to rounding."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from support.processes import in_processes
from support.together import STEPS, asked_of_each, train_some

from ddpm_exp.ranks.ranks import SINGLE


@pytest.fixture(scope="module")
def both() -> list[dict[str, Any]]:
    return in_processes(2, asked_of_each)


@pytest.fixture(scope="module")
def alone() -> dict[str, Any]:
    return {
        "whole": train_some(SINGLE, 128),
        "sliced": train_some(SINGLE, 32),
        "importance": train_some(SINGLE, 128, "importance"),
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
