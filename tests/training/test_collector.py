"""The cycle collector passes over what was there before a training, and over nothing else."""

from __future__ import annotations

import gc
import weakref

import pytest

from ddpm_exp.training.collector import passed_over


class Ring:
    """A cycle of one."""

    def __init__(self) -> None:
        self.me = self


def test_on_cuda_old_objects_are_passed_over_and_new_garbage_goes() -> None:
    ring = Ring()
    before = weakref.ref(ring)
    del ring
    with pytest.raises(ValueError, match="ends it"), passed_over("cuda"):
        assert before() is None, "garbage from before is not kept"
        assert gc.get_freeze_count() > 10_000
        ring = Ring()
        during = weakref.ref(ring)
        del ring
        gc.collect()
        assert during() is None
        raise ValueError("whatever ends it")
    assert gc.get_freeze_count() == 0


def test_elsewhere_nothing_changes() -> None:
    frozen = gc.get_freeze_count()
    with passed_over("cpu"):
        assert gc.get_freeze_count() == frozen
