"""Probes of a real GPU, and the plans of smaller cards trained under those cards' memory.

    python benchmarks/probing.py --out probing.json                          # a GPU: both parts, one process at a time
    python benchmarks/probing.py --out cards.json --part cards --at-once 4   # memory alone is measured: several at a time
    python benchmarks/probing.py --out dry.json --dry-run --limit 2          # anywhere: small networks on the processor

Part "probes": for some experiments the search for the micro-batch, in a process of its own: seconds, every attempt, the bytes that
each left behind, what was chosen, and what the kept answer takes the second time. Part "cards": for each experiment and each
card, the plan that `check` prints for it trains three steps and draws a batch in a process held to that card's memory; where
memory is what binds, one and a half times its micro-batch has to fail, where the divisors of a step bind, the next larger one has
to. Images are random ones of the experiment's shape and number ("data": "random"), which need as much memory as real ones; numbers
and tables are the experiment's own. Kernels are those of the GPU that is there, but for what is said in memory/limit.py and for
fused kernels, which are left out where the card has none. Processes at a time are fewer where the cards would not fit together.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch
from probing_cases import CARDS, PLANNED, PROBES, ROOT, SHIPPED, Case, binding, prepared

from ddpm_exp.memory.fitting import micro_batches
from ddpm_exp.memory.limit import CONTEXT_BYTES
from ddpm_exp.memory.probe import allowed, seconds_of
from ddpm_exp.memory.search import Attempt, Caps, search
from ddpm_exp.ranks.full_device import is_out_of_memory
from ddpm_exp.spec.errors import UserError
from ddpm_exp.spec.hardware import find_gpu
from ddpm_exp.workflow.display import Quiet
from ddpm_exp.workflow.prepare import Prepared
from ddpm_exp.workflow.probing import measure, own_share, trials_of

STEPS = 3
_SHOWN = ("experiment", "overrides", "gpu", "over", "chosen", "micro_batch", "ran", "why", "binding", "refused", "error")


def probe_case(case: Case, dry: bool) -> dict[str, Any]:
    """The search in this process, and once more from what was kept."""
    os.environ["DDPM_EXP_CACHE"] = tempfile.mkdtemp()
    ready = prepared(case, dry)
    if dry:
        return _dry_probe(ready)
    with ready.machine.held_to_limit():
        began = time.perf_counter()
        found = measure(ready, Quiet())
        seconds = time.perf_counter() - began
        assert found is not None
        began = time.perf_counter()
        again = measure(ready, Quiet())
        kept_seconds = time.perf_counter() - began
    assert again is not None and again.before and again.plan == found.plan
    probed = found.probed
    return {
        "precision": probed.plan.precision,
        "images_per_step": probed.plan.images_per_step,
        "estimated": {"micro_batch": ready.plan.micro_batch, "peak_bytes": ready.plan.peak_bytes},
        "chosen": probed.plan.micro_batch,
        "why": probed.found.why,
        "limit_bytes": probed.limit_bytes,
        "seconds": seconds,
        "seconds_but_for_compiling_and_starting": probed.found.seconds,
        "seconds_from_what_was_kept": kept_seconds,
        "images_per_second": found.images_per_second,
        "attempts": [
            one.to_json()
            | {
                "verdict": one.verdict(probed.limit_bytes),
                "left_allocated": one.left_bytes,
                "left_reserved": one.reserved_bytes[1] - one.reserved_bytes[0],
            }
            for one in probed.found.attempts
        ],
        "fraction_afterwards": torch.cuda.get_per_process_memory_fraction(),
    }


def _dry_probe(ready: Prepared) -> dict[str, Any]:
    """The same search where no memory can be measured."""
    factory = trials_of(ready)

    def attempt(micro: int) -> Attempt:
        began = time.perf_counter()
        trial = factory(micro)
        trial.draw()
        rate = ready.plan.images_per_step / seconds_of(trial.step, lambda: None)
        return Attempt(micro, 0, rate, time.perf_counter() - began)

    found = search(micro_batches(ready.experiment), ready.plan.micro_batch, 1, attempt, Caps(attempts=2))
    return {"why": found.why, "attempts": [one.to_json() for one in found.attempts], "note": "dry run: no memory was measured"}


def card_case(case: Case, dry: bool) -> dict[str, Any]:
    """Three steps and a batch of sampling under the card's memory."""
    try:
        ready = prepared(case, dry)
    except UserError as error:
        return {"refused": error.rule, "fix": error.fix}
    plan, limit = ready.plan, allowed(ready.experiment, ready.plan)
    facts = {"precision": plan.precision, "images_per_step": plan.images_per_step, "micro_batch": plan.micro_batch}
    facts |= {"accumulation": plan.accumulation, "usable_bytes": plan.usable_bytes, "limit_bytes": limit}
    if not case.over and not dry:
        facts |= {"predicted_bytes": plan.peak_bytes, "binding": binding(ready.loaded, ready.machine, plan)}
    with ready.machine.held_to_limit():
        said = _train(ready)
        fits = said is None
        facts |= {"said": said}
        if dry:
            return facts | {"ran": fits, "note": "dry run: no memory was measured"}
        reserved = torch.cuda.max_memory_reserved()
        facts |= {"ran": fits, "reserved_bytes": reserved, "allocated_bytes": torch.cuda.max_memory_allocated()}
        free, total = torch.cuda.mem_get_info()
        outside = total - free - torch.cuda.memory_reserved()
    # Where other processes use the GPU too, `device_outside_bytes` is theirs as well.
    facts |= {"peak_bytes": reserved + CONTEXT_BYTES if fits else None, "device_outside_bytes": outside}
    return facts | {"within_headroom": fits and reserved + CONTEXT_BYTES <= limit}


def _train(ready: Prepared) -> str | None:
    """None, or what the device said when memory ran out."""
    try:
        trial = trials_of(ready)(own_share(ready.plan).micro_batch)
        for _ in range(STEPS - 1):
            trial.step()
        trial.draw()
        trial.step()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
    except RuntimeError as error:
        if is_out_of_memory(error):
            return str(error).splitlines()[0]
        raise
    return None


def in_a_process(part: str, case: Case, dry: bool, log: Path | None) -> dict[str, Any]:
    """The case's record, which is added to `log` at once: what comes after it may not end. One that is there is taken from it."""
    for line in log.read_text().splitlines() if log is not None and log.exists() else ():
        before: dict[str, Any] = json.loads(line)
        if _case_of(before) == case and (part == "cards") == ("limit_bytes" in before and "attempts" not in before):
            return before
    command = [sys.executable, __file__, "--case", json.dumps([part, *case])] + (["--dry-run"] if dry else [])
    began = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    found = {"experiment": case.file, "overrides": list(case.overrides), "gpu": case.card, "memory_limit": case.memory_limit}
    found |= {"over": case.over, "process_seconds": round(time.perf_counter() - began, 1)}
    try:
        found |= json.loads(done.stdout.splitlines()[-1])
    except (IndexError, ValueError):
        found["error"] = done.stderr[-2000:]
    print(json.dumps({name: found[name] for name in _SHOWN if found.get(name)}), flush=True)
    if log is not None:
        with log.open("a") as lines:
            lines.write(json.dumps(found) + "\n")
    return found


def _case_of(found: dict[str, Any]) -> Case:
    return Case(found["experiment"], tuple(found["overrides"]), found["gpu"], found["memory_limit"], found["over"])


def cards(names: list[str], at_once: int, dry: bool, most: int | None, log: Path | None) -> list[dict[str, Any]]:
    """Every plan under its card's memory, then more than those where memory or divisors bind. What `log` has is not done again."""
    cases = [Case(file, overrides, card) for file, overrides in PLANNED for card in names][:most]
    plans = together(cases, at_once, dry, log)
    bound = [case for case, found in zip(cases, plans, strict=True) if found.get("binding") in ("memory", "divisors")]
    return plans + together([case._replace(over=True) for case in bound], at_once, dry, log)


def together(cases: list[Case], at_once: int, dry: bool, log: Path | None) -> list[dict[str, Any]]:
    """The cases' records, in order. As many at a time as the GPU holds cards; shipped experiments need no more than 13 GiB."""
    total = 0 if dry else torch.cuda.get_device_properties(0).total_memory
    done: dict[Case, dict[str, Any]] = {}
    for card in (None, *CARDS):
        these = [case for case in cases if (case.card if _is_large(case) else None) == card]
        room = at_once if card is None or dry else max(1, int(0.95 * total / find_gpu(card).usable_bytes))
        with ThreadPoolExecutor(min(at_once, room)) as pool:
            done |= zip(these, pool.map(lambda case: in_a_process("cards", case, dry, log), these), strict=True)
    return [done[case] for case in cases]


def _is_large(case: Case) -> bool:
    return case.file not in SHIPPED or bool(case.overrides)


def summary(probes: list[dict[str, Any]], planned: list[dict[str, Any]]) -> dict[str, Any]:
    """What a reader wants to know first."""
    ran = [one for one in planned if not one["over"] and "ran" in one]
    over = [one for one in planned if one["over"] and "ran" in one]
    name = lambda one: f"{one['experiment']} {' '.join(one['overrides'])} on {one['gpu']}"  # noqa: E731
    return {
        "longest_probe_seconds": max(
            (one["seconds_but_for_compiling_and_starting"] for one in probes if "seconds" in one), default=None
        ),
        "most_left_allocated": max(
            (a["left_allocated"] for p in probes for a in p.get("attempts", []) if "left_allocated" in a), default=None
        ),
        "plans": len(ran),
        "plans_out_of_memory": [name(one) for one in ran if not one["ran"]],
        "plans_beyond_headroom": [name(one) for one in ran if one.get("within_headroom") is False],
        "larger_tried": len(over),
        "larger_that_fit_all_the_same": [name(one) for one in over if one.get("within_headroom")],
        "refused": [name(one) for one in planned if "refused" in one],
        "errors": [name(one) for one in probes + planned if "error" in one],
    }


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--part", choices=("probes", "cards", "both"), default="both")
    parser.add_argument("--at-once", type=int, default=1, help="processes of the part 'cards' at a time; probes are always alone")
    parser.add_argument("--cards", default=",".join(CARDS), help="for the part 'cards'")
    parser.add_argument("--limit", type=int, help="cases of each part")
    parser.add_argument("--dry-run", action="store_true", help="small networks on the processor: does everything work?")
    parser.add_argument("--case", help="one case, in this process: its record on standard output")
    given = parser.parse_args()
    if given.case is not None:
        part, file, overrides, *rest = json.loads(given.case)
        found = (probe_case if part == "probes" else card_case)(Case(file, tuple(overrides), *rest), given.dry_run)
        print(json.dumps(found))
        return
    dry, most = given.dry_run, given.limit
    log = given.out.with_suffix(".jsonl") if given.out else None
    probes = [in_a_process("probes", case, dry, log) for case in PROBES[:most]] if given.part != "cards" else []
    planned = cards(given.cards.split(","), given.at_once, dry, most, log) if given.part != "probes" else []
    device = "cpu" if dry or not torch.cuda.is_available() else torch.cuda.get_device_name()
    document = {"device": device, "torch": torch.__version__, "cuda": torch.version.cuda, "summary": summary(probes, planned)}
    text = json.dumps(document | {"probes": probes, "cards": planned}, indent=1)
    print(json.dumps(document["summary"], indent=1))
    if given.out is not None:
        given.out.write_text(text + "\n")


if __name__ == "__main__":
    main()
