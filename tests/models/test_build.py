"""The one door: every kind of network behind it, with the same way in and out."""

from __future__ import annotations

from dataclasses import fields

import pytest
import torch
from support.network_inputs import CLASSES, NONE, conditions

from ddpm_exp.models.build import build_network
from ddpm_exp.models.inputs import ConditionInput
from ddpm_exp.spec.data import Family
from ddpm_exp.spec.model import MLP, DiT, EncoderDecoder, Model, UNet

UNET = UNet(base_channels=16, multipliers=(1, 2), attention_resolutions=(), groups=8, time_embedding=32)
DIT = DiT(width=32, depth=1, heads=2, patch=4)
NETWORKS: dict[str, tuple[Model, tuple[int, ...], Family]] = {
    "unet": (UNET, (3, 8, 8), "image"),
    "encoder-decoder": (EncoderDecoder(hidden_dim=32, time_emb_dim=16), (3, 8, 8), "image"),
    "mlp": (MLP(hidden_dim=32, layers=1, time_embedding=16), (5,), "vector"),
    "dit of images": (DIT, (3, 8, 8), "image"),
    "dit of sequences": (DIT, (2, 16), "sequence"),
    "dit of points": (DIT, (3, 11), "points"),
}
every_network = pytest.mark.parametrize(("model", "shape", "family"), NETWORKS.values(), ids=NETWORKS)


@every_network
@pytest.mark.parametrize("outputs", [1, 2])
@pytest.mark.parametrize("inputs", [NONE, CLASSES], ids=["none", "class"])
def test_every_network_takes_and_returns_the_same(
    model: Model, shape: tuple[int, ...], family: Family, inputs: tuple[ConditionInput, ...], outputs: int
) -> None:
    network = build_network(model.but(time_features="learned"), inputs, shape, outputs=outputs, timesteps=10, family=family)
    output = network(torch.randn(3, *shape), torch.tensor([0.0, 2.5, 9.0]), conditions(inputs))
    assert output.shape == (3, outputs * shape[0], *shape[1:])
    assert output.isfinite().all()


@every_network
def test_a_table_of_times_needs_times(model: Model, shape: tuple[int, ...], family: Family) -> None:
    with pytest.raises(ValueError, match="whole times"):
        build_network(model.but(time_features="learned"), NONE, shape, family=family)


@every_network
def test_a_network_is_for_its_own_family(model: Model, shape: tuple[int, ...], family: Family) -> None:
    with pytest.raises(ValueError, match="shape"):
        build_network(model, NONE, (3, 8, 8) if family == "vector" else (1, 2, 3, 4), family=family)


def test_sizes_that_a_kind_does_not_use_are_zero() -> None:
    plain = ConditionInput("class", "embedding")
    assert [getattr(plain, field.name) for field in fields(plain)][2:] == [0] * 7
