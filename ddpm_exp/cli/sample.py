"""`ddpm-exp sample`: draws from the network of a recorded run. Trains nothing; needs neither its data nor a GPU."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ddpm_exp.cli.words import Force, Json, Raw, RunWord, SigmaRel

if TYPE_CHECKING:
    from ddpm_exp.workflow.asking import Asked
    from ddpm_exp.workflow.loaded_run import LoadedRun
    from ddpm_exp.workflow.samples import Samples


@dataclass(frozen=True)
class Drawn:
    """What was drawn, and where it is."""

    samples: Samples
    path: Path
    loaded: LoadedRun
    steps: int
    guidance_scale: float
    image: str | None = None
    mask: str | None = None
    resamples: int | None = None
    """Visits of each level by RePaint; None without it."""

    def to_json(self) -> dict[str, Any]:
        """The facts, without the samples themselves."""
        columns = self._columns()
        return {
            "run": self.loaded.directory,
            "out": self.path,
            "samples": len(self.samples),
            "shape": self.loaded.facts.shape,
            "said": list(dict.fromkeys(self.samples.captions)),
            "columns": columns,
            "weights": "ema" if self.loaded.averaged else "raw",
            "sigma_rel": self.loaded.sigma_rel,
            "images_seen": self.loaded.images_seen,
            "sampler": self.loaded.sampling.sampler,
            "steps": self.steps,
            "guidance_scale": self.guidance_scale,
            "image": self.image,
            "mask": self.mask,
            "resamples": self.resamples,
        }

    def _columns(self) -> dict[str, str] | None:
        """Name to type of a table's columns; None for images."""
        if self.samples.codec is None:
            return None
        return {str(name): str(kind) for name, kind in self.samples.codec.frame(self.samples.x[:1]).dtypes.items()}


def sample(
    run: str | Path,
    n: int = 16,
    condition: Asked = None,
    *,
    seed: int = 0,
    steps: int | None = None,
    guidance: float | None = None,
    raw: bool = False,
    best: bool = False,
    sigma_rel: float | None = None,
    out: str | Path | None = None,
    force: bool = False,
    each_class: bool = False,
    image: str | Path | None = None,
    mask: str | Path | None = None,
    resamples: int | None = None,
) -> Drawn:
    """Draw `n` samples (with `each_class`, of each class) from the run directory `run` and write them to `out`.

    With `image`, a file: each is that image again, as it is where the file `mask` is white and drawn where it is black; or,
    by a network for super-resolution, that image at full size. A network that was trained for neither is led by RePaint,
    which visits each level `resamples` times (10). Without `out`, samples.png or samples.csv in the working folder. Raises
    `UserError` for what the run does not have, for files that do not fit, and where `out` is there already without `force`.
    """
    from pydantic import ValidationError

    from ddpm_exp.loading.translate import to_user_error
    from ddpm_exp.spec.sampling import Sampling
    from ddpm_exp.workflow.given_image import draw_from_image
    from ddpm_exp.workflow.load import load
    from ddpm_exp.workflow.samples import require_place

    if image is None:
        _require_unused("--mask", None if mask is None else str(mask), "give the image too, with --image FILE")
        _require_unused("--resamples", resamples, "give an image and a mask, or leave --resamples out")
    loaded = load(run, weights="raw" if raw else None, checkpoint="best" if best else "last", sigma_rel=sigma_rel)
    asked = {"steps": steps, "guidance_scale": guidance}
    try:
        sampling = loaded.sampling.but(**{field: value for field, value in asked.items() if value is not None})
    except ValidationError as error:
        raise to_user_error(error, Sampling) from None
    if each_class:
        condition = _each_class(loaded, condition)
        n *= len(loaded.facts.class_names)
    target = out or ("samples.png" if loaded.codec is None else "samples.csv")
    require_place(target, are_images=loaded.codec is None, force=force)
    if image is None:
        samples = loaded.sample(n, condition, seed=seed, sampling=sampling)
        return Drawn(samples, samples.save(target, force=force), loaded, sampling.steps, sampling.guidance_scale)
    files = str(image), None if mask is None else str(mask)
    if loaded.image_task is not None:
        _require_unused("--resamples", resamples, "leave it out: it is for RePaint, and this network is told the image itself")
    elif resamples is None:
        resamples = 10
    samples = draw_from_image(loaded, n, *files, condition=condition, resamples=resamples, seed=seed, sampling=sampling)
    return Drawn(samples, samples.save(target, force=force), loaded, sampling.steps, sampling.guidance_scale, *files, resamples)


def _require_unused(field: str, value: object, fix: str) -> None:
    from ddpm_exp.spec.errors import UserError

    if value is not None:
        raise UserError("means nothing here", field=field, value=value, fix=fix)


def _each_class(loaded: LoadedRun, condition: Asked) -> Asked:
    """Every class in turn, by its label or by the first wording that training used, beside what else is said."""
    from collections.abc import Mapping

    from ddpm_exp.spec.condition import Prompts, parts_of
    from ddpm_exp.spec.errors import UserError

    names, more = list(loaded.facts.class_names), dict(condition) if isinstance(condition, Mapping) else {}
    words = [part.word for part in loaded.conditions.parts]
    if "label" in words:
        return more | {"label": names}
    for part in parts_of(loaded.experiment.condition):
        if isinstance(part, Prompts):
            return more | {"prompt": [part.templates[0].replace("{}", name.replace("_", " ")) for name in names]}
    raise UserError("this network is told no class", field="--each-class", fix="leave --each-class out")


def _values(words: Sequence[str]) -> dict[str, list[float]]:
    """`name=number` words as numbers by name; a name given several times has them in turn."""
    from ddpm_exp.spec.errors import UserError

    found: dict[str, list[float]] = {}
    for word in words:
        name, equals, number = word.rpartition("=")
        try:
            found.setdefault(name, []).append(float(number))
        except ValueError:
            equals = ""
        if not (equals and name):
            raise UserError(
                "a value is a name, an equals sign and a number", field="--value", value=word, fix="write --value brightness=0.5"
            )
    return found


def command(
    run: RunWord,
    n: Annotated[int, typer.Option("-n", min=1, metavar="N", help="How many.")] = 16,
    label: Annotated[
        list[str] | None, typer.Option("--label", metavar="CLASS", help="Class, by name or number (again for more, in turn).")
    ] = None,
    prompt: Annotated[list[str] | None, typer.Option("--prompt", metavar="TEXT", help="Prompt (again for more, in turn).")] = None,
    value: Annotated[
        list[str] | None,
        typer.Option("--value", metavar="NAME=NUMBER", help="Value in its own unit, for each name that the network is told."),
    ] = None,
    each_class: Annotated[bool, typer.Option("--each-class", help="N samples of each class.")] = False,
    image: Annotated[
        str | None,
        typer.Option("--image", metavar="FILE", help="Image to complete, with --mask; or to make large, by such a network."),
    ] = None,
    mask: Annotated[
        str | None,
        typer.Option("--mask", metavar="FILE", help="Image of the same size: white is kept, black is drawn."),
    ] = None,
    resamples: Annotated[
        int | None,
        typer.Option("--resamples", min=1, metavar="N", help="With a mask: visits of each level by RePaint. Default: 10."),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Same seed, same samples.")] = 0,
    steps: Annotated[int | None, typer.Option("--steps", help="Sampling steps. Default: the experiment's.")] = None,
    guidance: Annotated[
        float | None, typer.Option("--guidance", metavar="SCALE", help="Guidance scale. Default: the experiment's.")
    ] = None,
    raw: Raw = False,
    best: Annotated[
        bool, typer.Option("--best", help="The checkpoint with the lowest val/denoising, where training.keep_best kept it.")
    ] = False,
    sigma_rel: SigmaRel = None,
    out: Annotated[
        str | None,
        typer.Option(
            "--out",
            metavar="FILE",
            help=".png: a grid of images; FOLDER/: single PNGs; .csv: a table; .npy. Default: samples.png or samples.csv.",
            show_default=False,
        ),
    ] = None,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Draw samples from a recorded run: images as a PNG grid, all else as a CSV in the data's own units.

    Works from the run directory alone, on any machine. What is not said of a condition is hidden, as in training. From an image,
    any network of images draws what a mask hides: one that was trained for it is told both, any other is led by RePaint.

    \b
    ddpm-exp sample runs/adr_0001/20904344d7fc/0-ae37331b -n 64 --label 3 --guidance 2
    ddpm-exp sample runs/wine_table/1f3a9c5b7d20/0-6a2b1c3d -n 200 --each-class --out wines.csv
    ddpm-exp sample runs/adr_0001/20904344d7fc/0-ae37331b -n 4 --image seven.png --mask left_half.png
    """
    from ddpm_exp.cli.output import console, print_json, say

    said: dict[str, Any] = {"label": label or None, "prompt": prompt or None, "values": _values(value) if value else None}
    drawn = sample(
        run,
        n,
        said,
        seed=seed,
        steps=steps,
        guidance=guidance,
        raw=raw,
        best=best,
        sigma_rel=sigma_rel,
        out=out,
        force=force,
        each_class=each_class,
        image=image,
        mask=mask,
        resamples=resamples,
    )
    if as_json:
        print_json(drawn)
        return
    facts = drawn.to_json()
    asked = f", {drawn.loaded.sampling.sampler} in {drawn.steps} steps"
    if drawn.resamples is not None:
        asked += f", RePaint with {drawn.resamples} visits of each level"
    say(console(), f"{facts['samples']} samples from {facts['weights']} weights after {facts['images_seen']:,} images{asked}")
    say(console(), f"written to {drawn.path}")
