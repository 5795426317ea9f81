"""Which of our U-Nets is which `UNet2DModel` of Hugging Face's diffusers, by its config. Knows no weights and no diffusers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from ddpm_exp.models.blocks import NORM_EPS
from ddpm_exp.spec.errors import UserError
from ddpm_exp.spec.model import UNet


class Described(NamedTuple):
    """A U-Net with all that its weights' shapes depend on."""

    model: UNet
    shape: tuple[int, ...]
    """Channels, height and width of the image."""

    outputs: int = 1
    timesteps: int = 0
    """Rows of a learnt table of times; 0 where there is none."""

    classes: int = 0
    """Classes, without the null label; 0 where there are none."""


_FIXED: dict[str, tuple[Any, ...]] = {
    "center_input_sample": (False,),
    "time_embedding_type": ("positional", "learned"),
    "freq_shift": (1,),
    "flip_sin_to_cos": (False,),
    "mid_block_type": ("UNetMidBlock2D",),
    "mid_block_scale_factor": (1,),
    "downsample_padding": (0,),
    "downsample_type": ("conv",),
    "upsample_type": ("conv",),
    "act_fn": ("silu", "swish"),
    "norm_eps": (NORM_EPS,),
    "resnet_time_scale_shift": ("default", "scale_shift"),
    "add_attention": (True,),
    "class_embed_type": (None,),
}
"""Values that our U-Net can compute."""

_DEFAULTS: dict[str, Any] = {
    "sample_size": None,
    "in_channels": 3,
    "out_channels": 3,
    "center_input_sample": False,
    "time_embedding_type": "positional",
    "time_embedding_dim": None,
    "freq_shift": 0,
    "flip_sin_to_cos": True,
    "down_block_types": ("DownBlock2D", "AttnDownBlock2D", "AttnDownBlock2D", "AttnDownBlock2D"),
    "mid_block_type": "UNetMidBlock2D",
    "up_block_types": ("AttnUpBlock2D", "AttnUpBlock2D", "AttnUpBlock2D", "UpBlock2D"),
    "block_out_channels": (224, 448, 672, 896),
    "layers_per_block": 2,
    "mid_block_scale_factor": 1,
    "downsample_padding": 1,
    "downsample_type": "conv",
    "upsample_type": "conv",
    "dropout": 0.0,
    "act_fn": "silu",
    "attention_head_dim": 8,
    "norm_num_groups": 32,
    "attn_norm_num_groups": None,
    "norm_eps": 1e-5,
    "resnet_time_scale_shift": "default",
    "add_attention": True,
    "class_embed_type": None,
    "num_class_embeds": None,
    "num_train_timesteps": None,
}
"""What `UNet2DModel` takes where its config is silent."""


def config_of(described: Described) -> dict[str, Any]:
    """The config of the `UNet2DModel` that computes what the described network does.

    Raises UserError, naming the field, if there is none.
    """
    spec, (colours, height, width) = described.model, described.shape
    widths = [spec.base_channels * multiplier for multiplier in spec.multipliers]
    attends = [height // 2**level in spec.attention_resolutions for level in range(len(widths))]
    for field, taken in (("time_conditioning", ("additive", "adagn")), ("resample", ("conv",)), ("skip_scaling", (False,))):
        value = getattr(spec, field)
        if value not in taken:
            raise _refused(f"model.{field}", value, f"only {' or '.join(map(repr, taken))} is there too")
    if spec.time_features == "fourier":
        raise _refused("model.time_features", "fourier", "its Fourier features are of the logarithm of its time")
    attending = {width for width, attend in zip(widths, attends, strict=True) if attend} | {widths[-1]}
    if spec.heads > 1 and len(attending) > 1:
        raise _refused("model.heads", spec.heads, "it fixes the channels of a head, so the levels would differ in their heads")
    learned = spec.time_features == "learned"
    return {
        **_DEFAULTS,
        "sample_size": height if height == width else (height, width),
        "in_channels": colours,
        "out_channels": described.outputs * colours,
        "time_embedding_type": "learned" if learned else "positional",
        "time_embedding_dim": spec.time_embedding,
        "freq_shift": 1,
        "flip_sin_to_cos": False,
        "down_block_types": tuple("AttnDownBlock2D" if attend else "DownBlock2D" for attend in attends),
        "up_block_types": tuple("AttnUpBlock2D" if attend else "UpBlock2D" for attend in reversed(attends)),
        "block_out_channels": tuple(widths),
        "layers_per_block": spec.blocks_per_level,
        "downsample_padding": 0,
        "dropout": spec.dropout,
        "attention_head_dim": None if spec.heads == 1 else widths[-1] // spec.heads,
        "norm_num_groups": spec.groups,
        "attn_norm_num_groups": spec.groups,
        "norm_eps": NORM_EPS,
        "resnet_time_scale_shift": "scale_shift" if spec.time_conditioning == "adagn" else "default",
        "num_class_embeds": described.classes + 1 if described.classes else None,
        "num_train_timesteps": described.timesteps if learned else None,
    }


def describe(config: Mapping[str, Any]) -> Described:
    """Our network that computes what a `UNet2DModel` of this config does; private keys (`_class_name`) are ignored.

    The last of `num_class_embeds` is taken for "no class said".

    Raises UserError, naming the entry, if our U-Net cannot compute the same.
    """
    given = {name: value for name, value in config.items() if not name.startswith("_")}
    for name in sorted(given.keys() - _DEFAULTS.keys()):
        raise _unknown(name, given[name], "UNet2DModel has no such entry that we know")
    full = {**_DEFAULTS, **given}
    learned = full["time_embedding_type"] == "learned"
    for name, taken in _FIXED.items():
        if full[name] not in taken and not (learned and name in ("freq_shift", "flip_sin_to_cos")):
            raise _unknown(name, full[name], f"our U-Net computes {' or '.join(map(repr, taken))} alone")
    adagn = full["resnet_time_scale_shift"] == "scale_shift"
    groups = full["norm_num_groups"]
    if full["attn_norm_num_groups"] not in ((groups,) if adagn else (groups, None)):
        raise _unknown("attn_norm_num_groups", full["attn_norm_num_groups"], f"our middle attends after a norm of {groups} groups")
    widths = [int(width) for width in full["block_out_channels"]]
    if any(width % widths[0] for width in widths):
        raise _unknown("block_out_channels", tuple(widths), "our levels have whole multiples of the first level's channels")
    attends = _attending(full, len(widths))
    shape = _shape(full)
    if len(shape) != 3 or full["out_channels"] % shape[0] or full["out_channels"] // shape[0] > 2:
        raise _unknown("out_channels", full["out_channels"], "our U-Net returns as many channels as it takes, or twice as many")
    model = UNet(
        base_channels=widths[0],
        multipliers=tuple(width // widths[0] for width in widths),
        blocks_per_level=full["layers_per_block"],
        attention_resolutions=tuple(shape[1] // 2**level for level, attend in enumerate(attends) if attend),
        heads=_heads(full["attention_head_dim"], {w for w, attend in zip(widths, attends, strict=True) if attend} | {widths[-1]}),
        dropout=float(full["dropout"]),
        time_embedding=full["time_embedding_dim"] or 4 * widths[0],
        time_conditioning="adagn" if adagn else "additive",
        time_features="learned" if learned else "sinusoidal",
        groups=groups,
    )
    return Described(
        model,
        shape,
        outputs=full["out_channels"] // shape[0],
        timesteps=full["num_train_timesteps"] if learned else 0,
        classes=(full["num_class_embeds"] or 1) - 1,
    )


def _attending(full: Mapping[str, Any], levels: int) -> list[bool]:
    """Which levels attend; the way up must mirror the way down."""
    ways = {"down": list(full["down_block_types"]), "up": list(full["up_block_types"])[::-1]}
    for way, kinds in ways.items():
        name = way.capitalize()
        if len(kinds) != levels or any(kind not in (f"{name}Block2D", f"Attn{name}Block2D") for kind in kinds):
            known = f"our levels are a {name}Block2D or an Attn{name}Block2D each"
            raise _unknown(f"{way}_block_types", tuple(full[f"{way}_block_types"]), known)
    down, up = ([kind.startswith("Attn") for kind in kinds] for kinds in ways.values())
    if down != up:
        raise _unknown("up_block_types", tuple(full["up_block_types"]), "our way up attends where the way down does")
    return down


def _shape(full: Mapping[str, Any]) -> tuple[int, int, int]:
    size = full["sample_size"]
    if size is None:
        raise _unknown("sample_size", None, "our U-Net is for images of one size; write it into the config")
    height, width = (size, size) if isinstance(size, int) else size
    return int(full["in_channels"]), int(height), int(width)


def _heads(of_one: int | None, widths: set[int]) -> int:
    """Heads, from the channels of each (None: one head) and those of all that attend."""
    heads = {1 if of_one is None else width // of_one for width in widths}
    if len(heads) > 1 or (of_one is not None and any(width % of_one for width in widths)):
        raise _unknown("attention_head_dim", of_one, "our levels have the same number of heads")
    return heads.pop()


def _refused(field: str, value: object, why: str) -> UserError:
    return UserError(f"no UNet2DModel computes this network: {why}", field=field, value=value, fix="export it in our own form")


def _unknown(name: str, value: object, why: str) -> UserError:
    return UserError(
        f"our U-Net does not compute this UNet2DModel: {why}",
        field=f"config.{name}",
        value=value,
        fix="load it with diffusers, or choose another file",
    )
