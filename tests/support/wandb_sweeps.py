"""A sweep as the test server keeps it: draws trials from the file's parameters and tells agents what to do."""

from __future__ import annotations

import base64
import math
import random
import secrets
from typing import Any

import yaml


class Sweep:
    """One sweep: `method: random` only, which is what the shipped files use."""

    def __init__(self, config: str, entity: str, project: str) -> None:
        self.name = secrets.token_hex(4)
        self.text, self.config = config, yaml.safe_load(config)
        self.entity, self.project = entity, project
        self.state = "PENDING"
        self.trials: dict[str, dict[str, Any]] = {}
        self._random = random.Random(0)
        if self.config["method"] != "random":
            raise ValueError(f"the test server draws at random only, not {self.config['method']}")

    @property
    def id(self) -> str:
        """The id that mutations refer to."""
        return base64.b64encode(f"Sweep:{self.name}".encode()).decode()

    def next_command(self, *, busy: bool) -> dict[str, Any] | None:
        """What an agent should do now: run a trial, wait for the one it has, or leave when the cap is reached."""
        if busy:
            return None
        if self.state != "RUNNING" or len(self.trials) >= self.config["run_cap"]:
            self.state = "FINISHED"
            return {"type": "exit"}
        values = {path: self._draw(rule) for path, rule in self.config["parameters"].items()}
        run = secrets.token_hex(4)
        self.trials[run] = values
        return {
            "type": "run",
            "run_id": run,
            "program": self.config.get("program"),
            "args": {path: {"value": value} for path, value in values.items()},
        }

    def _draw(self, rule: dict[str, Any]) -> Any:
        if "value" in rule:
            return rule["value"]
        if "values" in rule:
            return self._random.choice(rule["values"])
        if rule.get("distribution") == "log_uniform_values":
            return math.exp(self._random.uniform(math.log(rule["min"]), math.log(rule["max"])))
        whole = isinstance(rule["min"], int) and isinstance(rule["max"], int)
        return self._random.randint(rule["min"], rule["max"]) if whole else self._random.uniform(rule["min"], rule["max"])

    def fields(self) -> dict[str, Any]:
        """The sweep in the API's form."""
        empty = ("description", "heartbeatAt", "updatedAt", "bestLoss", "controller", "scheduler")
        return {
            "id": self.id,
            "name": self.name,
            "method": self.config["method"],
            "state": self.state,
            "config": self.text,
            "createdAt": "2026-01-01T00:00:00",
            "earlyStopJobRunning": False,
            "runs": {"edges": []},
            **dict.fromkeys(empty),
        }
