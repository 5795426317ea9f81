"""Draws from one network for sampling_quality.py: by our samplers, and by diffusers' schedulers that ask the same network."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import torch
from sampling_cases import Case
from torch import Tensor

from ddpm_exp.data.pixels import to_uint8
from ddpm_exp.diffusion import calibration, draws
from ddpm_exp.diffusion.grids import levels
from ddpm_exp.diffusion.levels import Level
from ddpm_exp.diffusion.samplers import sample
from ddpm_exp.diffusion.step import Estimate
from ddpm_exp.evaluation.drawing import Ready
from ddpm_exp.spec.sampling import Sampling
from ddpm_exp.workflow.loaded_run import LoadedRun


class Drawer:
    """Draws from one reference, in our way and in diffusers'."""

    def __init__(self, run: LoadedRun, n: int, batch: int) -> None:
        self.run, self.n, self.batch = run, n, batch
        self.network = run.artist(None, 0).fast(run.network)
        self.made_ready: dict[float | None, Ready] = {}
        self.asking = run.artist(None, 0).asking(self.network)

    @torch.no_grad()
    def draw(self, case: Case) -> Tensor:
        """uint8 [n, 3, 32, 32] on the CPU."""
        parts = [torch.arange(first, min(first + self.batch, self.n)) for first in range(0, self.n, self.batch)]
        before, calibration.LEAST_RATIO = calibration.LEAST_RATIO, case.least_ratio or calibration.LEAST_RATIO
        way = self._ours(case) if case.implementation == "ddpm-exp" else self._theirs(case)
        drawn = torch.cat([way(part).cpu() for part in parts])
        calibration.LEAST_RATIO = before
        return to_uint8(drawn.nan_to_num(0.0, 0.0, 0.0))

    def _ours(self, case: Case) -> Callable[[Tensor], Tensor]:
        sampling = Sampling(
            sampler=case.sampler,  # type: ignore[arg-type]
            steps=case.steps,
            grid=case.grid,  # type: ignore[arg-type]
            calibrate=case.least_ratio is not None,
            clip_x0=not case.eps_kept,
        )
        artist = self.run.artist(sampling, 0)
        if case.least_ratio not in self.made_ready:
            self.made_ready[case.least_ratio] = artist.ready(self.network)
        ready = self.made_ready[case.least_ratio]
        if not case.eps_kept:
            return lambda part: artist.draw_batch(ready, None, part, 0)

        def drawn(part: Tensor) -> Tensor:
            ordinals = part.to(self.run.device)
            denoise = artist.denoise(ready, None, len(part))

            def clipped(x: Tensor, level: Level) -> Estimate:
                found = denoise(x, level)
                return found._replace(x0=found.x0.clamp(-1.0, 1.0))

            def noise(step: int) -> Tensor:
                return draws.normal(0, f"sample/step {step}", ordinals, artist.shape)

            start = artist.path.prior_std * draws.normal(0, "sample/start", ordinals, artist.shape)
            return sample(sampling, levels(artist.path, sampling.steps, sampling.grid), clipped, start, noise)

        return drawn

    def _theirs(self, case: Case) -> Callable[[Tensor], Tensor]:
        import diffusers

        diffusion = self.run.experiment.diffusion
        scheduler = getattr(diffusers, f"{case.sampler}Scheduler")(
            num_train_timesteps=diffusion.timesteps,
            beta_start=diffusion.beta_start,
            beta_end=diffusion.beta_end,
            beta_schedule="linear" if diffusion.schedule == "linear" else "squaredcos_cap_v2",
            prediction_type={"eps": "epsilon", "v": "v_prediction"}[diffusion.prediction],
            timestep_spacing=case.grid,
        )

        def drawn(part: Tensor) -> Tensor:
            where = self.run.device
            scheduler.set_timesteps((case.calls + 1) // 2 if case.sampler == "HeunDiscrete" else case.calls, device=where)
            x = draws.normal(0, "sample/start", part.to(where), self.run.facts.shape) * scheduler.init_noise_sigma
            generator = torch.Generator(where).manual_seed(int(part[0]))
            noisy = {"generator": generator} if case.sampler in ("DDPM", "DDIM") else {}
            for t in scheduler.timesteps:
                seen = scheduler.scale_model_input(x, t)
                said = self.asking(seen, t.to(where, torch.float32).expand(len(seen)), None)
                x = scheduler.step(said, t, x, **noisy).prev_sample
            return x.float()

        return drawn


def exported_difference(run: LoadedRun, folder: Path) -> float:
    """Largest difference of diffusers' UNet2DModel with the exported weights from our network in fp32, relative to the largest
    output."""
    from diffusers import UNet2DModel

    subprocess.run(
        [sys.executable, "-m", "ddpm_exp.cli", "export", str(run.directory), "--to", "diffusers", str(folder)],
        check=True,
        capture_output=True,
    )
    theirs = UNet2DModel.from_pretrained(folder / "unet").to(run.device).eval()
    x = draws.normal(1, "compared", torch.arange(8, device=run.device), run.facts.shape)
    t = torch.linspace(0, 999, 8, device=run.device).round()
    with torch.no_grad():
        ours, others = run.network(x, t, None), theirs(x, t).sample
    return float((ours - others).abs().max() / others.abs().max())
