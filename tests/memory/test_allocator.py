"""The model of torch's caching allocator keeps the rules by which memory is reserved; the replay, a run's order."""

from __future__ import annotations

from ddpm_exp.memory.allocator import MIB, Allocator, Order
from ddpm_exp.memory.workspaces import Convolution, workspace


def test_small_medium_and_large_requests_reserve_as_torch_does() -> None:
    memory = Allocator()
    memory.allocate("small", 1000)
    assert (memory.reserved, memory.allocated) == (2 * MIB, 1024)
    memory.allocate("medium", 3 * MIB)
    memory.allocate("beside it", 9 * MIB)
    assert memory.reserved == 22 * MIB
    memory.allocate("large", 30 * MIB + 1)
    assert memory.reserved == 54 * MIB


def test_the_smallest_block_that_fits_is_taken_and_the_rest_of_it_used() -> None:
    memory = Allocator()
    for name, size in (("a", 64), ("b", 40), ("c", 20)):
        memory.allocate(name, size * MIB)
    memory.free("a")
    memory.free("b")
    memory.allocate("d", 38 * MIB)
    memory.allocate("e", 64 * MIB)
    assert memory.reserved == 124 * MIB, "d lies where b was, e where a was"


def test_of_equal_blocks_the_one_of_the_newest_segment_is_taken() -> None:
    """The driver puts segments below each other, and the lowest address comes first."""
    memory = Allocator()
    memory.allocate("older", 12 * MIB)
    memory.allocate("newer", 12 * MIB)
    memory.free("older")
    memory.free("newer")
    memory.allocate("again", 12 * MIB)
    memory.release()
    memory.allocate("large", 24 * MIB)
    assert memory.reserved == 36 * MIB
    memory.free("again")
    memory.allocate("lower", 11 * MIB)
    assert memory.reserved == 36 * MIB


def test_at_worst_a_part_of_a_segment_is_taken_where_a_whole_one_would_do() -> None:
    def reserved(order: Order) -> int:
        memory = Allocator(order)
        memory.allocate("pair", 24 * MIB)
        memory.free("pair")
        memory.allocate("half", 12 * MIB)
        memory.allocate("other half", 12 * MIB)
        memory.allocate("alone", 12 * MIB)
        memory.free("half")
        memory.free("alone")
        memory.allocate("again", 12 * MIB)
        memory.free("other half")
        memory.allocate("pair", 24 * MIB)
        return memory.reserved

    assert reserved("parts first") == 60 * MIB, "the pair's segment is not whole again"
    assert reserved("below") == 36 * MIB and reserved("above") == 60 * MIB, "by the addresses of both segments"


def test_freed_neighbours_become_one_block() -> None:
    memory = Allocator()
    for name in "abc":
        memory.allocate(name, 6 * MIB)
    for name in "acb":
        memory.free(name)
    memory.allocate("whole", 9 * MIB)
    assert memory.reserved == 20 * MIB and memory.allocated == 9 * MIB


def test_a_segment_that_holds_anything_is_not_given_back_and_a_graph_keeps_its_own() -> None:
    memory = Allocator()
    memory.allocate("big", 100 * MIB)
    memory.free("big")
    memory.allocate("kept", 32 * MIB)
    memory.allocate("captured", 50 * MIB, "graph")
    memory.free("captured")
    memory.release(keep=("graph",))
    assert memory.reserved == 150 * MIB, "one workspace holds all of the segment that it was cut from"
    memory.free("kept")
    memory.release()
    assert memory.reserved == 0 and memory.highest_reserved == 150 * MIB


def test_streams_do_not_take_each_other_s_blocks() -> None:
    memory = Allocator()
    memory.allocate("a", 50 * MIB, "side")
    memory.free("a")
    memory.allocate("b", 50 * MIB)
    assert memory.reserved == 100 * MIB


def test_a_copy_goes_its_own_way_from_the_same_state() -> None:
    def busy() -> Allocator:
        memory = Allocator()
        for name, size in (("a", 6), ("b", 6), ("a", 5), ("c", 30), ("d", 1)):  # "a" twice: the first stays where it is
            memory.allocate(name, size * MIB, "graph" if name == "c" else "")
        memory.free("b")
        return memory

    def go_on(memory: Allocator) -> list[int]:
        found = []
        for name, size in (("e", 3), ("c", 0), ("f", 12), ("a", 0), ("d", 0), ("g", 9), ("e", 0), ("g", 0), ("h", 20)):
            memory.allocate(name, size * MIB) if size else memory.free(name)
            memory.release(keep=("graph",))
            found += [memory.allocated, memory.reserved, memory.highest_reserved]
        return found

    memory, alone = busy(), go_on(busy())
    one, other = memory.copy(), memory.copy()
    assert go_on(one) == go_on(other) == alone
    assert go_on(other.copy()) == go_on(one)
    assert go_on(memory) == alone, "what its copies did is not known to it"


def test_workspaces_are_those_measured_at_most_both_neighbours_between_and_in_proportion_for_others() -> None:
    measured = Convolution("weight", "float32", 128, 128, (3, 3), 1, (1, 1), 32)
    at = {images: workspace(measured, images) for images in (64, 96, 128)}
    assert at[64] == 215872 * 1024
    each = max(at[64] / 64, at[128] / 128)
    assert at[96] == int(min(max(at[64], at[128]), 96 * each)), "whichever of both choices cuDNN takes between them"
    assert workspace(measured._replace(dtype="bfloat16"), 64) < at[64] / 10
    unmeasured = measured._replace(side=30)
    assert 0.8 < workspace(unmeasured, 64) / (at[64] * (30 / 32) ** 2) < 1.2


def test_convolutions_are_told_apart_by_the_shape_of_their_kernels_and_by_layout() -> None:
    """FID's network has kernels of 1x7, and runs channels-first, where cuDNN takes something else."""
    names = ("float32 448 384 3 1 1 8 channels-first", "float32 128 192 1x7 1 0x3 17 channels-first", "bfloat16 3 64 3 1 1 32")
    assert [Convolution.named(name).name for name in names] == list(names)
    first = Convolution.named(names[0])._replace(part="forward")
    assert workspace(first, 64) == 457632 * 1024, "measured"
    assert workspace(first._replace(channels_last=True), 64) != workspace(first, 64)
    wide = Convolution.named(names[1])._replace(part="forward")
    assert wide.kernel == (1, 7) and wide.padding == (0, 3) and workspace(wide, 64) == 0


def test_the_highest_can_be_counted_anew() -> None:
    memory = Allocator()
    memory.allocate("a", 30 * MIB)
    memory.free("a")
    memory.release()
    memory.forget_highest()
    assert (memory.highest_reserved, memory.highest_allocated) == (0, 0)
