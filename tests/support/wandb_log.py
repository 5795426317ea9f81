"""Reads a W&B transaction log back with the client's own reader, `wandb leet inspect`."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class TransactionLog:
    """The records of one `.wandb` file, in order."""

    records: list[dict[str, Any]]

    def of(self, kind: str) -> list[dict[str, Any]]:
        """The records of one kind: run, history, summary, metric, artifact, exit, ..."""
        return [record[kind] for record in self.records if record["type"] == kind]

    @property
    def run(self) -> dict[str, Any]:
        """The run's own record."""
        return self.of("run")[0]

    @property
    def history(self) -> list[dict[str, Any]]:
        """What was logged, one dictionary per call; nested keys are joined with dots."""
        return [record["item"] for record in self.of("history")]

    @property
    def summary(self) -> dict[str, Any]:
        """The summary after all updates."""
        merged: dict[str, Any] = {}
        for record in self.of("summary"):
            merged.update(record.get("update", {}))
        return merged


def read_log(folder: Path) -> TransactionLog:
    """The only transaction log under `folder`."""
    (file,) = folder.rglob("*.wandb")
    words = [str(Path(sys.executable).with_name("wandb")), "leet", "inspect", "--json", str(file)]
    done = subprocess.run(words, check=True, capture_output=True, text=True)
    return TransactionLog([json.loads(line) for line in done.stdout.splitlines()])
