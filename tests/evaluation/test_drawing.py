"""Drawn images depend on the weights, the noise number and what was asked for; not on batches or earlier random numbers."""

from __future__ import annotations

import pytest
import torch
from support.tiny_training import TINY, digit_conditions, lively_network, tiny_artist

from ddpm_exp.data.examples import Batch
from ddpm_exp.evaluation.drawing import Stopped
from ddpm_exp.spec.condition import Prompts
from ddpm_exp.spec.sampling import Sampling

LABELS = torch.arange(70) % 10


def asked_for(labels: torch.Tensor) -> Batch:
    """Examples of these classes, as far as a condition on classes looks at them."""
    return Batch(torch.zeros(len(labels), 1, 8, 8), labels, None)


SAMPLERS = [
    Sampling(steps=3),
    Sampling(steps=3, guidance_scale=2.0),
    Sampling(steps=3, sampler="ddpm"),
    Sampling(sampler="ddim", steps=3, eta=1.0),
]


@pytest.mark.parametrize("sampling", SAMPLERS)
def test_images_do_not_depend_on_how_many_are_drawn_together(sampling: Sampling) -> None:
    network = lively_network()
    few, many = (
        tiny_artist(batch=batch, sampling=sampling).draw(network, asked_for(LABELS), torch.arange(70), held_out=False)
        for batch in (3, 64)
    )
    assert few.shape == (70, 1, 8, 8)
    assert few.dtype == torch.float32
    torch.testing.assert_close(few, many, atol=1e-4, rtol=0)
    assert float(few.std()) > 0.1


@pytest.mark.parametrize("sampling", SAMPLERS)
def test_equal_noise_numbers_give_equal_images_and_others_give_others(sampling: Sampling) -> None:
    network, artist = lively_network(), tiny_artist(sampling=sampling)
    labels, noises = torch.zeros(4, dtype=torch.long), torch.tensor([7, 8, 7, 10**10])
    drawn = artist.draw(network, asked_for(labels), noises, held_out=False)
    torch.testing.assert_close(drawn[0], drawn[2], atol=1e-5, rtol=0)
    for other in (1, 3):
        assert float((drawn[0] - drawn[other]).abs().mean()) > 0.1
    torch.manual_seed(5)
    assert torch.equal(artist.draw(network, asked_for(labels), noises, held_out=False), drawn)


def test_images_stay_in_range_when_predictions_are_clipped() -> None:
    drawn = tiny_artist().draw(lively_network(), asked_for(LABELS), torch.arange(70), held_out=False)
    assert float(drawn.abs().max()) <= 1.0


def test_it_draws_without_dropout_and_without_gradients() -> None:
    network, artist = lively_network(TINY.but(dropout=0.5)), tiny_artist()
    network.train()
    first, second = (artist.draw(network, asked_for(LABELS[:4]), torch.arange(4), held_out=False) for _ in range(2))
    assert torch.equal(first, second)
    assert not first.requires_grad


def test_equal_noise_means_equal_wording_and_held_out_wording_is_another() -> None:
    conditions = digit_conditions(Prompts())
    artist, network = tiny_artist(conditions=conditions), lively_network(conditions=conditions)
    asked: list[torch.Tensor] = []
    network.register_forward_pre_hook(lambda module, given: asked.append(given[2]["prompt"]))
    labels, noises = torch.zeros(3, dtype=torch.long), torch.tensor([1, 2, 1])
    for held_out in (False, True):
        artist.draw(network, asked_for(labels), noises, held_out=held_out)
    seen, unseen = asked[0], asked[-1]
    assert torch.equal(seen[0], seen[2])
    assert not torch.equal(seen[0], seen[1])
    assert not torch.equal(seen, unseen)


@pytest.mark.parametrize("batches", [0, 2])
def test_drawing_stops_between_batches_when_asked(batches: int) -> None:
    passes: list[int] = []
    network = lively_network()
    network.register_forward_hook(lambda module, given, out: passes.append(len(out)))
    artist = tiny_artist(batch=10, should_stop=lambda: sum(passes) >= batches * 2 * 10)
    with pytest.raises(Stopped):
        artist.draw(network, asked_for(LABELS), torch.arange(70), held_out=False)
    assert passes == [10] * batches * 2
