"""Writes docs/advice.md from the code: every rule with its guides, the presets, and what the guides say that is not advice.

Run it after any change to `ddpm_exp/spec/advice` or `ddpm_exp/spec/presets`: `python docs/make_advice.py`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ddpm_exp.spec.advice.rule import Rule, cite
from ddpm_exp.spec.advice.table import CHANGE_RULES, RULES
from ddpm_exp.spec.presets.catalogue import PRESETS
from ddpm_exp.spec.presets.registry import origin_of

NOT_ADVICE: tuple[tuple[str, str, str], ...] = (
    ("sampling with fewer steps than timesteps (002, 003)", "error", "more sampling steps than timesteps are refused"),
    ("bf16 and fp16 (002)", "error", "a precision that the named GPU lacks is refused; `auto` takes the best it has"),
    ("images in [-1, 1] (003)", "built in", "the data room's type; no setting can change it"),
    ("integer timesteps that include the first (003)", "built in", "every time of the schedule is drawn, none can be left out"),
    ("save optimizer and EMA with the model (003)", "built in", "every checkpoint holds them, and resuming is exact"),
    ("no stored losses with graphs (003)", "built in", "losses are read as numbers, once per log interval"),
    ("batch sizes per GPU, half of the batch when memory runs out, 50 to 75 % of the largest (000, 001)", "built in",
     "the plan slices images per step into micro-batches that fit with headroom; `check` prints it for each GPU"),
    ("memory per width, batch and resolution (000, 001, 003)", "built in", "the plan estimates it for the network at hand"),
    ("typical losses, time to quality, symptoms (000, 001, 002, 003)", "not a setting", "they speak of a run, not of its file"),
    ("timesteps beyond 1000 (000 ends there; 001 and 003 take 2000 to 4000)", "no advice", "two guides recommend it for quality"),
    ("more than 256 images per step (002 ends there; 003 at 512)", "no advice up to 512", "002 itself finds larger more stable"),
    ("time embedding above 256 (000)", "no advice up to 4 x base_channels", "that is DDPM's own, on a U-Net"),
    ("U-Net for images, MLP for tables, DiT for sequences (002)", "error",
     "a network that does not take the data is refused, with those that do"),
    ("AdaGN or AdaLN for images, concatenation for tables, cross-attention for text (002)", "a choice",
     "`model.time_conditioning` and each condition's `by`; guide 002's presets choose as it says"),
    ("progressive training, learning-rate finder, search (000, 003)", "waits", "they are procedures, not settings"),
)  # fmt: skip
"""(what the guides say, what it is here, why)."""


def main() -> None:
    (Path(__file__).parent / "advice.md").write_text(page(), encoding="utf-8")


def page() -> str:
    """The whole document."""
    return "\n".join(
        [
            "# Advice",
            "",
            "What `ddpm-exp check` advises, and where it comes from. It never stops a run: what cannot work is an error instead.",
            "Where guides disagree, one piece of advice names both sides. Guides are cited by number, papers by name; *arithmetic*",
            "means that it follows from the numbers of the experiment alone. Written by `docs/make_advice.py` from the code.",
            "",
            "## About one experiment",
            "",
            *_rules(RULES),
            "",
            "## About the step from the baseline",
            "",
            *_rules(CHANGE_RULES),
            "",
            "## Presets",
            "",
            "A preset, and an experiment that builds on it, gets no advice on values that the preset's own source states, until",
            "they change. Start from one by subclassing it: `from ddpm_exp.spec.presets.guide_003 import Defaults`.",
            "",
            *_presets(),
            "",
            "## What the guides say that is not advice",
            "",
            *_table(("guides say", "here it is", "because"), NOT_ADVICE),
            "",
        ]
    )


def _rules(rules: tuple[Rule[Any], ...]) -> list[str]:
    rows = [(f"`{rule.name}`", rule.when, ", ".join(f"`{path}`" for path in rule.reads), cite(rule.guides)) for rule in rules]
    return _table(("rule", "speaks when", "reads", "cites"), rows)


def _presets() -> list[str]:
    rows = []
    for preset in PRESETS:
        found = origin_of(preset)
        assert found is not None
        summary = " ".join((preset.__doc__ or "").split("\n\n")[0].split())
        rows.append((f"`{preset.__module__}.{preset.__name__}`", cite((found[1].source,)), summary))
    return _table(("preset", "from", "what it is"), rows)


def _table(head: tuple[str, ...], rows: Any) -> list[str]:
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return lines + ["| " + " | ".join(row) + " |" for row in rows]


if __name__ == "__main__":
    main()
