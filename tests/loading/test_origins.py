"""Every value knows the line, the override or the default that set it."""

from __future__ import annotations

import pytest

from ddpm_exp.loading.loaded import load_experiment
from ddpm_exp.spec.identity import flat

CHILD = """
    from adr_0001 import Conservative
    from ddpm_exp import FID, Digits, Evaluation, Sampling, Training
    from shared import HALF, slow

    base = Conservative()
    changed = base.training.but(weight_decay=0.01)
    changed = changed.but(
        gradient_clip=0.5,
    )


    class Variant(Conservative):
        data = Digits(image_size=16)
        training = changed.but(
            learning_rate=HALF,
            images_per_step=8,
        )
        sampling = Sampling(
            **{"steps": 10},
        )
        evaluation = base.evaluation.but(fid=FID(
            images=1000,
        ))
        model = slow(base.model)
"""

SHARED = """
    HALF = 5e-5


    def slow(model):
        return model.but(dropout=0.2)
"""


@pytest.fixture
def origins(write, parent):
    write("shared.py", SHARED)
    overrides = ["hardware.gpu=T4", "condition.kind=class", "evaluation.fid.weights=/w.pth"]
    return load_experiment(write("adr_0002.py", CHILD), overrides).origins


@pytest.mark.parametrize(
    ("path", "origin"),
    [
        ("training.learning_rate", "experiments/adr_0002.py:15"),
        ("training.images_per_step", "experiments/adr_0002.py:16"),
        ("training.gradient_clip", "experiments/adr_0002.py:8"),
        ("training.weight_decay", "experiments/adr_0002.py:6"),
        ("training.betas", "default"),
        ("diffusion.schedule", "experiments/adr_0001.py:5"),
        ("diffusion.beta_end", "default"),
        ("data.image_size", "experiments/adr_0002.py:13"),
        ("data.kind", "experiments/adr_0002.py:13"),
        ("data.subset", "default"),
        ("sampling.steps", "experiments/adr_0002.py:18"),
        ("evaluation.fid.images", "experiments/adr_0002.py:22"),
        ("evaluation.fid.weights", "override evaluation.fid.weights=/w.pth"),
        ("evaluation.every", "default"),
        ("model.dropout", "experiments/adr_0002.py:24"),
        ("hardware.gpu", "override hardware.gpu=T4"),
        ("condition.kind", "override condition.kind=class"),
        ("condition.dropout", "default"),
    ],
)
def test_origin(origins, path, origin):
    assert origins[path] == origin


def test_a_value_set_by_the_parent_points_into_the_parents_file(write, parent):
    loaded = load_experiment(write("adr_0002.py", "from adr_0001 import Conservative\n\nclass Variant(Conservative):\n    pass\n"))
    assert loaded.origins["training.learning_rate"] == "experiments/adr_0001.py:8"


def test_a_decision_is_not_traced_to_a_parent_that_it_does_not_come_from(write, parent):
    decided = parent.read_text() + "    baseline = 'ADR-0000'\n"
    write("adr_0001.py", decided)
    write("adr_0000.py", "from ddpm_exp import Experiment\n\nclass Zero(Experiment):\n    pass\n")
    loaded = load_experiment(write("adr_0002.py", "from adr_0001 import Conservative\n\nclass Variant(Conservative):\n    pass\n"))
    assert loaded.origins["baseline"] == "default"
    assert loaded.baseline is not None and loaded.baseline.origins["baseline"].endswith("adr_0001.py:10")


def test_every_resolved_value_has_an_origin(write, parent):
    loaded = load_experiment(parent, ["data.kind=fashion-mnist"])
    assert set(loaded.origins) == set(flat(loaded.experiment))
