"""What the shell offers after Tab: experiment files, run directories, override paths, GPU names. Never fails, never prints."""

from __future__ import annotations

from pathlib import Path


def _paths(incomplete: str, suffix: str) -> list[str]:
    """Files ending in `suffix`, and folders, that start like `incomplete`; folders end in a slash."""
    folder, _, start = incomplete.rpartition("/")
    try:
        inside = sorted(Path(folder or ("/" if incomplete.startswith("/") else ".")).iterdir())
    except OSError:
        return []
    prefix = f"{folder}/" if "/" in incomplete else ""
    named = [entry for entry in inside if entry.name.startswith(start) and not entry.name.startswith((".", "__"))]
    return [f"{prefix}{entry.name}{'/' if entry.is_dir() else ''}" for entry in named if entry.is_dir() or entry.suffix == suffix]


def experiments(incomplete: str) -> list[str]:
    """Experiment files: those under `experiments/` first, then the paths that start like `incomplete`."""
    known = sorted(str(path) for path in Path("experiments").glob("*.py"))
    stems = [Path(path).stem for path in known]
    offered = [word for word in (*known, *stems) if word.startswith(incomplete)]
    return offered or _paths(incomplete, ".py")


def run_directories(incomplete: str) -> list[str]:
    """Run directories under `runs/` that start like `incomplete`."""
    found = sorted(str(path.parent) for path in Path("runs").glob("*/*/*/manifest.json"))
    return [path for path in found if path.startswith(incomplete)]


def experiments_or_runs(incomplete: str) -> list[str]:
    """Experiment files and run directories."""
    return [*experiments(incomplete), *run_directories(incomplete)]


def bases(incomplete: str) -> list[str]:
    """Experiment files and presets: what a new experiment can build on."""
    from ddpm_exp.spec.presets.catalogue import PRESETS

    return [*experiments(incomplete), *(preset.__name__ for preset in PRESETS if preset.__name__.startswith(incomplete))]


def overrides(incomplete: str) -> list[str]:
    """Dotted paths of an experiment's fields, ready for their value: `training.learning_rate=`."""
    from ddpm_exp.spec.experiment import Experiment
    from ddpm_exp.spec.identity import flat

    return [f"{path}=" for path in flat(Experiment()) if path.startswith(incomplete)]


def gpus(incomplete: str) -> list[str]:
    """Names of the GPU catalogue."""
    from ddpm_exp.spec.hardware import gpu_names

    return [name for name in gpu_names() if name.lower().startswith(incomplete.lower())]
