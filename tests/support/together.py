"""What tests ask of several processes at once; in a module of its own, which fresh processes can import."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from support.tiny_training import CPU, TRAINING, Inputs, digits, lively_network, tiny_artist, tiny_trainer
from torch import Tensor

from ddpm_exp.data.examples import Splits
from ddpm_exp.evaluation.drawing import Stopped
from ddpm_exp.evaluation.image_measures import Comparison, of_fd
from ddpm_exp.evaluation.likelihood import likelihood
from ddpm_exp.evaluation.validation import validate
from ddpm_exp.ranks.ranks import Ranks
from ddpm_exp.ranks.shares import Shares
from ddpm_exp.ranks.together import StopTogether
from ddpm_exp.spec.diffusion import Diffusion
from ddpm_exp.spec.evaluation import FD, Evaluation
from ddpm_exp.training.trainer import Trainer
from ddpm_exp.workflow.evaluate import evaluate
from ddpm_exp.workflow.evaluate_settings import Wanted
from ddpm_exp.workflow.spread_state import restore_together, save_together

TOGETHER = TRAINING.but(images_per_step=128, gradient_clip=1.0, ema_half_life="128 images")
STEPS = 3


def train_some(ranks: Ranks, micro_batch: int, density: str = "uniform") -> dict[str, Any]:
    diffusion = Diffusion(time_density=density, timesteps=8) if density == "importance" else Diffusion()
    trainer = tiny_trainer(TOGETHER, micro_batch=micro_batch, ranks=ranks, total_images=128 * STEPS, diffusion=diffusion)
    inputs, rows = Inputs(trainer.network), []
    for _ in range(STEPS):
        trainer.step()
        rows.append(trainer.statistics.read()[0])
    assert trainer.ema is not None
    return {
        "judged": _judged(trainer),
        "rows": rows,
        "drawn": [part.numpy() for part in inputs.together()],
        "weights": _flat(trainer.network.state_dict()),
        "average": _flat(trainer.ema.network.state_dict()),
        "density": {name: part.numpy() for name, part in trainer.objective.state().items()},
    }


def _judged(trainer: Trainer) -> float:
    """An error of the averaged network."""
    assert trainer.ema is not None
    spec, artist = Evaluation(log_snr=(2.0,), reconstruction_log_snr=(2.0,)), tiny_artist(ranks=trainer.ranks)
    held_out = digits().held_out.batch(slice(0, 16))
    return validate(trainer.ema.network, held_out, artist, spec).values["val/denoising"]


def _flat(state: dict[str, Tensor]) -> Any:
    return torch.cat([part.flatten() for part in state.values()]).numpy()


def asked_of_each(ranks: Ranks, folder: str) -> dict[str, Any]:
    """Everything that this file asks of two processes, in one start of them."""
    return {
        "uniform": train_some(ranks, 64),
        "importance": train_some(ranks, 64, "importance"),
        "spread": _spread(ranks, Path(folder)),
        "evaluated": evaluate_some(ranks),
        "distances": measure_some(ranks),
        "later": evaluate_later(ranks, Path(folder).parent / "runs"),
        "shares": _shares(ranks),
        "stops": _stops(ranks),
        "said": ranks.share({"plan": 3, "weights": torch.arange(4.0)} if ranks.leads else None)["weights"].tolist(),
    }


def _spread(ranks: Ranks, folder: Path) -> dict[str, Any]:
    """A training spread over the processes: straight, and with a checkpoint after its first step from which another goes on."""
    straight = tiny_trainer(TOGETHER, micro_batch=32, ranks=ranks, total_images=128 * STEPS, shard=True)
    rows = []
    for step in range(STEPS):
        straight.step()
        rows.append(straight.statistics.read()[0])
        judged = _judged(straight)
        if step == 0:
            save_together(straight, folder if ranks.leads else None, {"seed": 0})
    resumed = tiny_trainer(TOGETHER, micro_batch=32, ranks=ranks, total_images=128 * STEPS, shard=True)
    restored = restore_together(resumed, folder if ranks.leads else None)
    seen = resumed.images_seen
    for _ in range(STEPS - 1):
        resumed.step()
    save_together(straight, folder if ranks.leads else None, {"seed": 0})
    return {
        "rows": rows,
        "judged": judged,
        "held": sum(part.to_local().numel() for part in straight.network.parameters()),
        "restored": restored,
        "seen": seen,
        "straight": _whole(straight),
        "resumed": _whole(resumed),
    }


def evaluate_some(ranks: Ranks) -> dict[str, Any]:
    """Validation errors, bits per dimension and samples of a network, in batches that do not come out even."""
    network, spec = lively_network(), Evaluation(log_snr=(-1.0, 2.0), reconstruction_log_snr=(0.0,))
    artist = tiny_artist(ranks=ranks, batch=8, diffusion=Diffusion(schedule="cosine", timesteps=20))
    held_out = digits().held_out.batch(slice(0, 21))
    found = validate(network, held_out, artist, spec)
    bits = likelihood(network, held_out, artist, 3)
    drawn = artist.draw(network, held_out, torch.arange(21), held_out=True)
    stopping = replace(artist, should_stop=lambda: ranks.rank == ranks.size - 1)
    try:
        validate(network, held_out, stopping, spec)
        stopped = False
    except Stopped:
        stopped = True
    return {"values": found.values | bits, "pictures": found.reconstructions.numpy(), "drawn": drawn.numpy(), "stopped": stopped}


def measure_some(ranks: Ranks) -> dict[str, float] | None:
    """Distances of some digits to others in features, extracted in batches that do not come out even; None but in the first."""
    both = digits()
    splits = Splits(both.train.take(torch.arange(10)), both.held_out.take(torch.arange(9)), "5" * 16)
    asked = of_fd(FD(images=7, metrics=("kid_effnet", "precision", "recall")))
    drawn = both.train.x[20:27] if ranks.leads else None
    found = Comparison(asked, splits, 7, CPU, ranks, together=2).of(drawn)
    return None if found is None else found.values


def evaluate_later(ranks: Ranks, runs: Path) -> list[dict[str, float]] | None:
    """Values of the one run under `runs`, measured after its training for two numbers of steps; None but in the first process."""
    (run,) = runs.glob("*/*/*")
    found = evaluate(run, Wanted(n=9, steps=(1, 2), metrics=("kid_effnet", "recall")), ranks=ranks)
    return None if found is None else [row.values for row in found.rows]


def _whole(trainer: Trainer) -> Any:
    return _flat({name: part.full_tensor() for name, part in trainer.network.state_dict().items()})


def _shares(ranks: Ranks) -> list[Any]:
    """For several counts, whether the first process has every item once and in order; and how many batches each went through."""
    found = []
    for count in (1, 2, 5, 6, 7):
        shares = Shares.of(count, 2, ranks)
        parts = [torch.arange(count)[part, None].double() for part in shares]
        whole, rows = shares.collect(parts), shares.collect_rows([part.sum() for part in parts])
        found.append((len(parts), whole.flatten().tolist(), float(rows.sum())))
    return found


def _stops(ranks: Ranks) -> int:
    """The step after which both stop, where the second process alone wishes to after its 20th."""
    steps = 0
    stop = StopTogether(ranks, lambda: ranks.rank == 1 and steps >= 20)
    while steps < 10_000:
        steps += 1
        if stop():
            break
    return steps
