"""The order of images is a function of seed and ordinal: complete in every epoch, the same after a resume."""

import torch

from ddpm_exp.data.order import index_of, order


def test_every_epoch_shows_every_image_once() -> None:
    indices = index_of(3, torch.arange(5 * 97), 97).reshape(5, 97)
    for row in indices:
        assert torch.equal(row.sort().values, torch.arange(97))


def test_epochs_and_seeds_have_orders_of_their_own() -> None:
    orders = [order(seed, epoch, 50).tolist() for seed in (0, 1) for epoch in (0, 1, 2)]
    assert len({tuple(one) for one in orders}) == 6


def test_any_slicing_of_the_ordinals_gives_the_same_images() -> None:
    whole = index_of(0, torch.arange(100), 37)
    parts = [index_of(0, torch.arange(first, min(first + 7, 100)), 37) for first in range(0, 100, 7)]
    assert torch.equal(torch.cat(parts), whole)
    assert torch.equal(index_of(0, torch.arange(100).flip(0), 37), whole.flip(0))


def test_order_is_the_permutation_that_index_of_follows() -> None:
    assert torch.equal(index_of(5, torch.arange(40, 60), 20), order(5, 2, 20))


def test_order_survives_a_change_of_its_result() -> None:
    order(0, 0, 10).zero_()
    assert order(0, 0, 10).sort().values.tolist() == list(range(10))


def test_order_ignores_torchs_global_seed() -> None:
    torch.manual_seed(1)
    before = order(0, 7, 30)
    torch.manual_seed(2)
    assert torch.equal(order(0, 7, 30), before)


def test_every_machine_and_process_sees_the_same_order() -> None:
    assert order(0, 0, 8).tolist() == [5, 2, 1, 6, 7, 4, 3, 0]
    assert order(11, 4, 8).tolist() == [6, 1, 7, 4, 0, 3, 2, 5]
