"""Writes docs/speed.md from benchmarks/results: training and sampling beside diffusers, kernels, exactness, compilation, scaling.

python docs/make_speed.py             write the page
python docs/make_speed.py --check     only say whether it is current
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

DOCS = Path(__file__).parent
RESULTS = DOCS.parent / "benchmarks" / "results"
PAGE = DOCS / "speed.md"
TEMPLATE = DOCS / "speed.template.md"
NUMBER = re.compile(r"[\d,.]+( ?x|%|e-\d+| GiB| s)?")

KINDS = {
    "convolutions": ("fprop", "dgrad", "wgrad", "cutlass", "cask", "init_device_workspace", "ConvolutionELi"),
    "GroupNorm with SiLU, dropout and residual gradients (ours)": ("norm_forward", "norm_backward"),
    "attention": ("sdpa", "flash", "compute_dot_do", "convert_dq"),
    "matrix products": ("nvjet", "gemm", "splitK"),
    "sums over pixels and images, residual sums (ours)": ("sum_images", "sum_slice", "join"),
    "optimizer and EMA": ("FusedOpti", "multi_tensor_apply", "lerp"),
    "copies, casts, sums of gradients, upsampling, draws, the rest": ("",),
}
"""Kernels of a step by words in their names; the first that fits."""


def read(name: str) -> dict[str, Any]:
    """A recorded result."""
    found: dict[str, Any] = json.loads((RESULTS / name).read_text())
    return found


def table(head: list[str], rows: list[list[Any]]) -> str:
    """Markdown, columns of numbers to the right."""
    columns = list(zip(*rows, strict=True))
    marks = ["---:" if all(NUMBER.fullmatch(str(cell)) for cell in column) else "---" for column in columns]
    return "\n".join("| " + " | ".join(map(str, row)) + " |" for row in (head, marks, *rows))


def on(found: dict[str, Any]) -> str:
    """What it was measured on."""
    return f"{found['device']}, torch {found['torch']}."


def training() -> str:
    """Both trainers, with the ratio."""
    found = read("train_throughput.json")
    theirs = {case["batch"]: case["images_per_second"] for case in found["cases"] if case["trainer"] == "diffusers"}
    rows = []
    for case in sorted(found["cases"], key=lambda case: (case["batch"], -case["images_per_second"])):
        ratio = case["images_per_second"] / theirs[case["batch"]]
        row = [case["batch"], f"{case['trainer']}, {case['variant']}", f"{case['images_per_second']:,.0f}", f"{ratio:.1f} x"]
        rows.append([*row, f"{case['tflops']:.0f}", f"{case['mfu']:.1%}", f"{case['peak_bytes'] / 2**30:.1f} GiB"])
    head = ["images per step", "trainer", "images/s", "of diffusers", "TFLOP/s", "share", "peak memory"]
    return f"{on(found)}\n\n{table(head, rows)}"


def kernels() -> str:
    """Milliseconds per step by kind of kernel, at both batches."""
    found, totals = [], []
    for batch in (128, 512):
        lines = (RESULTS / f"kernels_batch_{batch}_h100.md").read_text().splitlines()
        total = float(lines[0].split(":")[1].split()[0])
        sums = dict.fromkeys(KINDS, 0.0)
        for line in lines[4:]:
            milliseconds, _, name = (cell.strip() for cell in line.strip("|").split("|", 2))
            kind = next(kind for kind, words in KINDS.items() if any(word in name for word in words))
            sums[kind] += float(milliseconds)
        sums[list(KINDS)[-1]] += total - sum(sums.values())
        found.append(sums)
        totals.append(total)
    rows = [[kind, *(f"{sums[kind]:.1f}" for sums in found)] for kind in KINDS]
    rows.append(["all", *(f"{total:.1f}" for total in totals)])
    return table(["ms of kernels per step", "128 images", "512 images"], rows)


def sampling() -> str:
    """Samples per second."""
    found = read("sampling_throughput.json")
    rows = []
    for case in sorted(found["cases"], key=lambda case: (case["batch"], -case["samples_per_second"])):
        row = [case["batch"], f"{case['trainer']}, {case['variant']}", case["precision"], f"{case['samples_per_second']:,.0f}"]
        rows.append([*row, f"{case['tflops']:.0f}", f"{case['share_of_peak']:.1%}"])
    return f"{on(found)}\n\n" + table(["samples at once", "sampler", "precision", "samples/s", "TFLOP/s", "share"], rows)


def exactness() -> str:
    """What is equal to what."""
    found = read("exactness_h100.json")
    slices, ways = found["slices"], found.get("kernels")
    rows = []
    for name, case in found["bits"].items():
        equal = case["equal_bits"] and case["losses_equal"]
        rows.append([name, "equal to the last bit" if equal else f"differ by {case['largest_difference']:.1e}"])
    drawn = "equal to the last bit" if all(slices["draws_equal_bits"].values()) else "differ"
    rows.append(["images, times and noise of one micro-batch of 128 against four of 32", drawn])
    rows.append(["losses of the two", f"within {slices['largest_relative_difference_of_losses']:.1e}, relative"])
    text = f"{on(found)} {found['steps']} steps.\n\n{table(['compared', 'found'], rows)}"
    if ways is not None:
        apart = ways["relative_difference_to_fp32"]
        rows = [[name, f"{d['mean']:.1e}", f"{d['largest']:.1e}"] for name, d in apart.items()]
        text += f"\n\nLosses over {found['kernel_steps']} steps against torch's kernels in fp32, relative:\n\n"
        text += table(["computed by", "mean", "largest"], rows)
    return text


def deterministic() -> str:
    """Trainings done twice, and what it costs."""
    found = read("exactness_h100.json")
    rows = [[name, _apart(ways["as it is"]), _apart(ways["only warned of"])] for name, ways in found["twice"].items()]
    text = table(["trained twice", "with `hardware.deterministic`", "if torch only warned"], rows) + "\n\n"
    costs = [[name, f"{cost['slower']:.1%}"] for name, cost in found["cost"].items()]
    return text + table(["128 images per step, bf16", "slower by"], costs)


def _apart(pair: dict[str, Any]) -> str:
    if pair["equal_bits"] and pair["losses_equal"]:
        return "equal to the last bit"
    return f"differ by up to {pair['largest_difference']:.1e}"


def scaling() -> str:
    """One GPU against two."""
    found = read("scaling_h100.json")
    rows = []
    for case in found["speed"]:
        share = "" if case["sum_share"] is None else f"{case['sum_milliseconds']:.2f} ms, {case['sum_share']:.1%} of the step"
        rows.append([case["devices"], f"{case['images_per_second']:,.0f}", f"{case['milliseconds_per_step']:.1f}", share])
    resumed = "equal to the last bit" if found["resumed"]["equal_bits"] and found["resumed"]["losses_equal"] else "not equal"
    text = f"{on(found)} Efficiency **{found['efficiency']:.1%}**. On two GPUs a run stopped half way and gone on with is "
    text += f"{resumed} with a straight one.\n\n"
    text += table(["GPUs", "images/s", "ms per step", "sum over GPUs"], rows)
    rows = []
    for precision, slices in found["slicing"].items():
        for name in ("sliced in four", f"on {found['devices']} devices"):
            drawn = "equal to the last bit" if slices[name]["draws_equal_bits"] else "differ"
            rows.append([precision, name, drawn, f"{slices[name]['largest_relative_difference_of_losses']:.0e}"])
    text += "\n\nOne micro-batch of 128 against other slicings of the same step, with dropout:\n\n"
    text += table(["precision", "slicing", "images, times and noise", "losses differ by"], rows)
    spread = found["spread"]
    read_by_one = "equal to the last bit" if spread["read_by_one"]["weights"]["equal_bits"] else "not equal"
    apart = max(abs(a / b - 1) for a, b in zip(spread["next_losses"], spread["read_by_one"]["next_losses"], strict=True))
    text += f"\n\nFSDP2 on two GPUs: losses within {spread['largest_relative_difference_of_losses']:.0e} of whole copies'; its "
    text += f"checkpoint read by one GPU: weights {read_by_one}, the next three losses within {apart:.0e}. A step of this "
    return text + f"small network takes {spread['speed']['milliseconds_per_step']:.0f} ms so: it is for networks that do not fit."


def compiling() -> str:
    """Compiled against captured alone."""
    found = read("compile_gain_h100.json")
    rows = []
    for case in found["cases"]:
        speeds = [f"{case[name + '_images_per_second']:,.0f}" for name in ("plain", "compiled")]
        rows.append([case["network"], *speeds, f"{case['gain']:.2f} x", f"{case['compile_seconds']:.0f} s"])
    return f"{on(found)}\n\n{table(['network', 'captured, images/s', 'and compiled', 'gain', 'to compile'], rows)}"


def page() -> str:
    """The whole page."""
    parts = {part.__name__: part() for part in (training, kernels, sampling, exactness, deterministic, scaling, compiling)}
    return TEMPLATE.read_text(encoding="utf-8").format(**parts)


def is_current() -> bool:
    """Whether the page is what the results say."""
    return PAGE.exists() and PAGE.read_text(encoding="utf-8") == page()


if __name__ == "__main__":
    if "--check" not in sys.argv:
        PAGE.write_text(page(), encoding="utf-8")
    elif not is_current():
        sys.exit("docs/speed.md is not current; run python docs/make_speed.py")
