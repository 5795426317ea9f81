"""The text of every message about a wrong experiment file or override, as a snapshot.

UPDATE_SNAPSHOTS=1 rewrites error_messages.json; read its diff as you would read code.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from ddpm_exp.loading.loaded import load_experiment, resolve
from ddpm_exp.spec.errors import UserError

SNAPSHOTS = Path(__file__).with_name("error_messages.json")
HEAD = "from adr_0001 import Conservative\nfrom ddpm_exp import *\n\nbase = Conservative()\n\n\nclass Variant(Conservative):\n"


def body(*lines: str) -> str:
    """A file whose class Variant, on line 7, has these lines."""
    return HEAD + "".join(f"    {line}\n" for line in lines)


FILES: dict[str, str] = {
    "syntax error": "from ddpm_exp import Experiment\nclass Variant(Experiment)\n    pass\n",
    "syntax error in a sibling": "from broken import Base\n",
    "no experiment": "from adr_0001 import Conservative\n\nlearning_rate = 3e-4\n",
    "two experiments": "from ddpm_exp import Experiment\n\n\nclass A(Experiment):\n    pass\n\n\nclass B(Experiment):\n    pass\n",
    "missing module": "import xformerz.ops\n",
    "misspelt sibling": "from adr_001 import Conservative\n",
    "missing sibling": "from adr_0777 import Conservative\n",
    "misspelt class of a sibling": "from adr_0001 import Conservativ\n",
    "misspelt class of the package": "from ddpm_exp import Experimet\n",
    "files that import each other": "from circular import Other\n",
    "exception": "def width(levels):\n    return 128 / levels\n\n\nbase = width(0)\n",
    "exception inside a library": "import json\n\nsettings = json.loads('{')\n",
    "exit": "import sys\n\nsys.exit(3)\n",
    "forgotten import": "class Variant(Experiment):\n    pass\n",
    "misspelt piece": body("training = base.trainin.but(learning_rate=1e-4)"),
    "misspelt class field": body("sampling = Sampling(steps=10)", "diffuson = Diffusion()"),
    "misspelt annotated class field": body("diffuson: Diffusion = Diffusion()"),
    "field of a piece at the top": body("timesteps = 200"),
    "unknown field": body("training = base.training.but(", "    images_per_step=8,", "    learning_rat=3e-4,", ")"),
    "field of another piece": body("training = base.training.but(timesteps=200)"),
    "field of two other pieces": body("training = base.training.but(dropout=0.1)"),
    "near miss of another piece's field": body("training = Training(guidance_scal=2.0)"),
    "field of another kind": body("data = Digits(root='images')"),
    "field like no other": body("sampling = Sampling(colour='red')"),
    "top-level field in a piece": body("training = base.training.but(hardware=Hardware())"),
    "out of range": body("training = base.training.but(", "    images_per_step=8,", "    learning_rate=-1e-4,", ")"),
    "two values out of range": body("model = UNet(dropout=1.5, base_channels=4)"),
    "True for a whole number": body("training = base.training.but(images_per_step=True)"),
    "True for a number": body("training = base.training.but(learning_rate=True)"),
    "number in quotes": body("training = base.training.but(learning_rate='1e-4')"),
    "float for a whole number": body("training = base.training.but(images_per_step=8.0)"),
    "list for a tuple": body("model = base.model.but(multipliers=[1, 2])"),
    "wrong entry of a tuple": body("model = base.model.but(multipliers=(1, 'two'))"),
    "empty tuple": body("model = base.model.but(multipliers=())"),
    "misspelt choice": body("diffusion = base.diffusion.but(schedule='cosinus')"),
    "not a number": body("training = base.training.but(learning_rate=float('nan'))"),
    "wrong amount": body("training = base.training.but(duration='5 parsecs')"),
    "no training at all": body("training = base.training.but(duration='0 epochs')"),
    "kind switched by but": body("data = base.data.but(kind='cifar10')"),
    "unknown kind": body("training = base.but(data={'kind': 'mnist'}).training"),
    "wrong piece": body("data = Diffusion()"),
    "None for a piece": body("training = None"),
    "missing field": body("data = ImageFolder()"),
    "assignment": body("base.training.learning_rate = 3e-4"),
    "rule within a piece": body("diffusion = base.diffusion.but(zero_terminal_snr=True)"),
    "rule across pieces": body("sampling = base.sampling.but(", "    steps=600,", ")"),
    "rule across pieces, inherited": body("diffusion = base.diffusion.but(timesteps=20)"),
    "rule across pieces, while it runs": body("sampling = base.but(sampling=Sampling(steps=600)).sampling"),
    "unknown GPU": body("hardware = Hardware(gpu='T5')"),
    "precision that the GPU lacks": body("hardware = Hardware(gpu='T4')", "training = base.training.but(precision='bf16')"),
    "misspelt metric": body("decision = Decision(", "    title='', context='', chosen='',",
                            "    accept_when=(metric('val/denoisin').falls(),),", ")"),
    "margin without per cent": body("decision = Decision(title='', context='', chosen='',",
                                    "    accept_when=(metric('val/denoising').falls(by='5'),))"),
    "equal seeds": body("decision = Decision(title='', context='', chosen='', seeds=(1, 1))"),
    "baseline that is not there": body("baseline = 'ADR-0009'"),
    "baseline of itself": body("baseline = 'ADR-0002'"),
}  # fmt: skip

OVERRIDES: dict[str, tuple[str, ...]] = {
    "override without =": ("training.learning_rate",),
    "override without path": ("=3",),
    "override with hyphens": ("--training.learning_rate=3e-4",),
    "override of an unknown path": ("foo.bar=3",),
    "override of a misspelt path": ("training.learning_rat=3e-4",),
    "override of a misspelt piece": ("trainin.learning_rate=3e-4",),
    "override without the piece": ("learning_rate=3e-4",),
    "override in the wrong piece": ("training.timesteps=3",),
    "override of two possible pieces": ("dropout=0.1",),
    "override below a value": ("training.learning_rate.peak=3",),
    "override of a whole piece": ("training=fast",),
    "override of a whole union": ("data=cifar10",),
    "override of a whole union, as in a file": ("data=CIFAR10(subset=20)",),
    "override of one of several": ("condition.kind=several", "condition.of.0.dropout=0.2"),
    "override with the beginning of a word": ("diffusion.schedule=rect",),
    "override of a field of another kind": ("condition.templates=a {}",),
    "override with a misspelt kind": ("data.kind=fashionmnist",),
    "override of a kind that needs more": ("data.kind=folder",),
    "override with a word for a number": ("training.learning_rate=fast",),
    "override with True for a whole number": ("training.images_per_step=True",),
    "override with 1 for a switch": ("hardware.compile=1",),
    "override out of range": ("training.learning_rate=3",),
    "override with a wrong tuple": ("model.multipliers=1,two",),
    "override with a tuple of the wrong length": ("training.betas=(0.9,)",),
    "override with a misspelt choice": ("diffusion.schedule=cosin",),
    "override that breaks a rule elsewhere": ("diffusion.timesteps=20",),
    "override that breaks a rule within": ("diffusion.zero_terminal_snr=true",),
    "override of criteria": ("decision.accept_when=()",),
    "override given twice": ("sampling.steps=10", "sampling.steps=20"),
    "override of a value and below it": ("evaluation.fid=none", "evaluation.fid.images=1000"),
    "several wrong overrides": ("training.learning_rate=fast", "sampling.step=10", "model.heads=0"),
}

PATHS: dict[str, str] = {
    "no such file": "experiments/adr_0099.py",
    "no such folder": "nowhere/adr_0001.py",
    "folder": "experiments",
    "not Python": "experiments/notes.txt",
    "not text": "experiments/bytes.py",
}

WORDS: dict[str, str] = {"unknown number": "7", "unknown word": "adr_0002x", "word like nothing": "banana"}


def message(action: Callable[[], object]) -> str:
    """The text of the `UserError` that `action` raises, and nothing else."""
    with pytest.raises(UserError) as caught:
        action()
    assert caught.value.exit_code == 2
    text = str(caught.value)
    assert "Traceback" not in text and "pydantic" not in text and str(Path.cwd()) not in text
    return text


@pytest.fixture
def messages(write, parent) -> dict[str, str]:
    """Every case's message, by the case's name."""
    write("broken.py", "class Base(\n")
    write("circular.py", "from adr_0002 import Variant\n")
    write("notes.txt", "not an experiment")
    (Path("experiments") / "bytes.py").write_bytes(b"\xff\xfe")
    found = {name: message(lambda path=path: load_experiment(path)) for name, path in PATHS.items()}
    write("adr_0002.py", "")
    found |= {name: message(lambda word=word: resolve(word)) for name, word in WORDS.items()}
    for name, text in FILES.items():
        file = write("adr_0002.py", text)
        found[name] = message(lambda file=file: load_experiment(file))
    file = write("adr_0002.py", body("training = base.training.but(learning_rate=5e-5)"))
    found |= {name: message(lambda words=words: load_experiment(file, words)) for name, words in OVERRIDES.items()}
    return found


def test_every_message_is_the_one_that_was_read_and_approved(messages):
    if os.environ.get("UPDATE_SNAPSHOTS"):
        lines = {name: text.split("\n") for name, text in messages.items()}
        SNAPSHOTS.write_text(json.dumps(lines, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    approved = {name: "\n".join(lines) for name, lines in json.loads(SNAPSHOTS.read_text(encoding="utf-8")).items()}
    assert messages == approved


def test_every_message_says_what_to_do():
    approved = json.loads(SNAPSHOTS.read_text(encoding="utf-8"))
    assert [name for name, lines in approved.items() if not any(line.startswith("  fix: ") for line in lines)] == []
