"""A smaller card on a larger one: what is held back, and on a GPU that allocations beyond it really fail."""

from __future__ import annotations

import pytest
import torch

from ddpm_exp.memory.limit import CONTEXT_BYTES, held_to, share_of
from ddpm_exp.spec.hardware import GIB, find_gpu


@pytest.mark.parametrize("card", ["T4", "V100-16", "V100-32", "A100-40"])
def test_torch_gets_what_the_context_leaves_of_the_emulated_card(card: str) -> None:
    total, usable = 85 * 10**9, find_gpu(card).usable_bytes
    held = share_of(usable, total) * total
    assert held + CONTEXT_BYTES == pytest.approx(usable, abs=1024)


def test_a_limit_above_the_card_or_below_the_context_is_no_share_outside_of_0_to_1() -> None:
    assert share_of(90 * GIB, 80 * GIB) == 1.0
    assert share_of(1, 80 * GIB) == 0.0


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_beyond_the_limit_an_allocation_fails_and_afterwards_it_does_not() -> None:
    device, before = torch.device("cuda"), torch.cuda.get_per_process_memory_fraction()

    def take(size: int) -> None:
        torch.empty(size, dtype=torch.uint8, device=device)
        torch.cuda.empty_cache()

    with held_to(4 * GIB, find_gpu("T4"), device):
        room = 4 * GIB - CONTEXT_BYTES - torch.cuda.memory_reserved()
        take(room - (64 << 20))
        with pytest.raises(torch.OutOfMemoryError):
            take(room + (64 << 20))
        assert not torch.backends.cuda.flash_sdp_enabled()
    take(5 * GIB)
    assert torch.cuda.get_per_process_memory_fraction() == before
    assert torch.backends.cuda.flash_sdp_enabled()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_the_limit_ends_with_the_error_that_it_caused() -> None:
    device = torch.device("cuda")
    with pytest.raises(torch.OutOfMemoryError), held_to(2 * GIB, find_gpu("T4"), device):
        torch.empty(3 * GIB, dtype=torch.uint8, device=device)
    torch.empty(3 * GIB, dtype=torch.uint8, device=device)
    torch.cuda.empty_cache()
