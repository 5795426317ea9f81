"""The fused kernels compute what torch's operations compute, value and gradient."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

from ddpm_exp.models.blocks import ResidualBlock
from ddpm_exp.models.build import build_network
from ddpm_exp.models.dropout import KeyedDropout, kept, share_keys
from ddpm_exp.models.fused import tile_of
from ddpm_exp.models.group_norm import Norm, fuse
from ddpm_exp.spec.model import UNet

TESTS = Path(__file__).parents[1]


@pytest.mark.skipif(find_spec("triton") is None, reason="Triton is not installed (it comes with torch on Linux)")
def test_fused_norm_and_join_equal_torch_s_operations_value_and_gradient() -> None:
    # In a process of its own: the interpreter, which needs no GPU, is chosen when the kernels are imported.
    environment = os.environ | {"TRITON_INTERPRET": "1", "PYTHONPATH": os.pathsep.join([str(TESTS), str(TESTS.parent)])}
    command = [sys.executable, "-W", "ignore", str(TESTS / "support" / "fused_cases.py")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    errors = json.loads(done.stdout.strip().splitlines()[-1])
    assert len(errors) == 17
    assert max(errors.values()) < 5e-6, errors


def test_every_shape_has_a_tile_of_whole_groups_within_its_channels() -> None:
    for pixels in (1, 16, 64, 196, 256, 784, 1024, 4096, 16384):
        for per_group in (1, 2, 4, 8, 12, 24, 32, 100):
            for groups in (1, 8, 32):
                for backward in (False, True):
                    tile = tile_of(pixels, per_group, groups, backward=backward, pair=False)
                    assert 1 <= tile.groups <= groups
                    assert tile.groups * per_group <= max(64, per_group)
                    assert tile.rows & (tile.rows - 1) == 0 and tile.warps in (4, 8, 16)


def test_fuse_reaches_every_group_norm_of_the_network() -> None:
    network = build_network(
        UNet(base_channels=32, multipliers=(1, 2), attention_resolutions=(4,), time_embedding=32), (), (1, 8, 8)
    )
    norms = [module for module in network.modules() if isinstance(module, torch.nn.GroupNorm)]
    assert norms and all(isinstance(norm, Norm) for norm in norms)
    fuse(network, True)
    assert all(norm.fused for norm in norms)
    fuse(network, False)
    assert not any(norm.fused for norm in norms)


def test_dropout_of_an_image_does_not_depend_on_the_images_beside_it() -> None:
    torch.manual_seed(0)
    block = ResidualBlock(32, 32, 16, groups=8, dropout=0.5).train()
    keys = share_keys(block)
    x, told, words = torch.randn(6, 32, 4, 4), torch.randn(6, 16), torch.randint(0, 2**31, (6,)).int()
    keys.words = words
    together = block(x, told)
    parts = []
    for part in (slice(0, 2), slice(2, 6)):
        keys.words = words[part]
        parts.append(block(x[part], told[part]))
    assert torch.allclose(torch.cat(parts), together, atol=1e-5)
    keys.words = words.flip(0)
    assert not torch.allclose(block(x, told), together, atol=1e-2)


def test_dropout_keeps_its_share_and_its_mean_and_layers_differ() -> None:
    words = torch.arange(500).int()
    x = torch.ones(500, 16, 4, 4)
    masks = [kept(words, x, layer, 0.3) for layer in (0, 1)]
    for mask in masks:
        assert mask.float().mean() == pytest.approx(0.7, abs=0.005)
        # Between images, and between places, masks agree as often as independent ones: 0.7 ** 2 + 0.3 ** 2.
        assert (mask[:-1] == mask[1:]).float().mean() == pytest.approx(0.58, abs=0.006)
        assert (mask[..., :-1] == mask[..., 1:]).float().mean() == pytest.approx(0.58, abs=0.006)
    assert (masks[0] == masks[1]).float().mean() == pytest.approx(0.58, abs=0.006)
    dropout = KeyedDropout(0.3).train()
    dropout.keys.words = words
    assert dropout(x).mean() == pytest.approx(1.0, abs=0.01)
    assert torch.equal(dropout.eval()(x), x)


def test_dropouts_of_a_network_have_numbers_of_their_own() -> None:
    network = build_network(
        UNet(base_channels=32, multipliers=(1, 2), attention_resolutions=(4,), time_embedding=32), (), (1, 8, 8)
    )
    keys = share_keys(network)
    dropouts = [module for module in network.modules() if isinstance(module, KeyedDropout)]
    assert len(dropouts) > 4
    assert sorted(dropout.layer for dropout in dropouts) == list(range(len(dropouts)))
    assert all(dropout.keys is keys for dropout in dropouts)
