"""A loopback W&B server for tests: what the real client asks of one for runs, files, artifacts, sweeps and agents.

Everything that arrives is kept in memory for assertions. It decides nothing that a real server decides about users.
"""

from __future__ import annotations

import base64
import gzip
import json
import re
import secrets
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import quote, unquote, urlparse

from support.wandb_sweeps import Sweep


def global_id(*parts: str) -> str:
    """An opaque id as the server's API makes them."""
    return base64.b64encode(":".join(parts).encode()).decode()


@dataclass
class ServedRun:
    """One run as the server knows it."""

    name: str
    entity: str
    project: str
    state: str = "running"
    config: dict[str, Any] = field(default_factory=dict)
    summary: dict[str, Any] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)
    said: dict[str, Any] = field(default_factory=dict)
    """groupName, jobType, tags, displayName and sweep, as last sent."""
    exit_code: int | None = None
    stop: bool = False
    """Set by a test: the next heartbeat of the run's agent tells it to stop."""

    @property
    def id(self) -> str:
        """The id that mutations refer to."""
        return global_id("Run", "v1", self.name, self.project, self.entity)

    def project_fields(self) -> dict[str, Any]:
        """The run's project in the API's form."""
        return {"id": global_id("Project", self.project), "name": self.project, "entity": {"id": "RTox", "name": self.entity}}

    def bucket(self) -> dict[str, Any]:
        """The run in the API's form."""
        return {
            "id": self.id,
            "name": self.name,
            "displayName": self.said.get("displayName") or self.name,
            "description": None,
            "config": json.dumps({key: {"value": value} for key, value in self.config.items()}),
            "summaryMetrics": json.dumps(self.summary),
            "sweepName": self.said.get("sweep"),
            "historyLineCount": len(self.history),
            "eventsLineCount": 0,
            "logLineCount": 0,
            "historyTail": json.dumps([json.dumps(row) for row in self.history[-1:]]),
            "eventsTail": "[]",
            "tags": self.said.get("tags") or [],
            "group": self.said.get("groupName"),
            "jobType": self.said.get("jobType"),
            "notes": None,
            "wandbConfig": json.dumps({"t": 1}),
            "project": self.project_fields(),
        }


class WandbServer:
    """The server's state and its answers; `url` is what WANDB_BASE_URL must say."""

    def __init__(self) -> None:
        self.url = ""
        self.lock = threading.RLock()
        self.runs: dict[str, ServedRun] = {}
        self.sweeps: dict[str, Sweep] = {}
        self.agents: dict[str, str] = {}
        self.files: dict[str, bytes] = {}
        self.artifacts: dict[str, dict[str, Any]] = {}
        self.unknown: list[str] = []
        """Operations that nobody answers here; a test may assert that there were none that matter."""

    def run_named(self, name: str, entity: str | None = None, project: str | None = None) -> ServedRun:
        """The run, made if it is new."""
        return self.runs.setdefault(name, ServedRun(name, entity or "team", project or "project"))

    def answer(self, operation: str, given: dict[str, Any]) -> Any:
        """The data of a GraphQL operation. Raises LookupError for one that is not known."""
        snake = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", operation).lower()
        found = getattr(self, f"_on_{snake}", None)
        if found is None:
            self.unknown.append(operation)
            raise LookupError(operation)
        return found(given)

    def stream(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """History, summary and the end of a run, as the client's file stream sends them."""
        entity, project, name = path.split("/")[2:5]
        run = self.run_named(name, entity, project)
        for file, part in (body.get("files") or {}).items():
            if file == "wandb-history.jsonl":
                at = part.get("offset", len(run.history))
                run.history[at:] = [json.loads(line) for line in part["content"]]
            elif file == "wandb-summary.json":
                run.summary = json.loads(part["content"][-1])
        if body.get("complete"):
            run.exit_code = body.get("exitcode")
            run.state = "failed" if run.exit_code else "finished"
        return {"exitcode": None, "limits": {"rate_limit_seconds": 0.1}}

    def _storage(self, path: str) -> str:
        return f"{self.url}/storage/{quote(path)}"

    def _on_viewer(self, given: dict[str, Any]) -> Any:
        return {"viewer": {"id": "VTox", "entity": "team", "username": "somebody", "flags": "{}", "teams": {"edges": []}}}

    _on_get_viewer = _on_get_default_entity = _on_viewer

    def _on_server_features_query(self, given: dict[str, Any]) -> Any:
        return {"serverInfo": {"features": []}}

    def _on_organization_core_weave_organization_id(self, given: dict[str, Any]) -> Any:
        return {"entity": {"organization": {"coreWeaveOrganizationId": None}}}

    def _on_upsert_bucket(self, given: dict[str, Any]) -> Any:
        known = next((run for run in self.runs.values() if run.id == given.get("id")), None)
        inserted = known is None and given.get("name") not in self.runs
        run = known or self.run_named(given["name"], given.get("entity"), given.get("project"))
        for key, value in json.loads(given.get("config") or "{}").items():
            run.config[key] = value["value"] if isinstance(value, dict) and "value" in value else value
        wanted = ("groupName", "jobType", "tags", "displayName", "sweep")
        run.said.update({key: given[key] for key in wanted if given.get(key)})
        run.state = "running"
        return {"upsertBucket": {"bucket": run.bucket(), "inserted": inserted}}

    def _on_run_resume_status(self, given: dict[str, Any]) -> Any:
        run = self.runs.get(given["name"])
        return {"model": run and {**run.project_fields(), "internalId": "1", "bucket": run.bucket()}}

    def _on_run_stopped_status(self, given: dict[str, Any]) -> Any:
        return {"project": {"run": {"stopped": False}}}

    def _on_create_run_files(self, given: dict[str, Any]) -> Any:
        run = self.run_named(given["run"])
        files = [{"name": name, "uploadUrl": self._storage(f"{run.name}/{name}")} for name in given["files"]]
        return {"createRunFiles": {"runID": run.id, "uploadHeaders": [], "files": files}}

    def _on_create_artifact(self, given: dict[str, Any]) -> Any:
        asked = given["input"]
        id = global_id("Artifact", str(len(self.artifacts) + 1))
        self.artifacts[id] = {"name": asked["artifactCollectionName"], "type": asked["artifactTypeName"], "files": [], "state": ""}
        return {
            "createArtifact": {
                "artifact": {"id": id, "state": "PENDING", "artifactSequence": {"id": "Uzox", "latestArtifact": None}}
            }
        }

    def _on_create_artifact_manifest(self, given: dict[str, Any]) -> Any:
        upload = {
            "id": "Rjox",
            "name": "m",
            "displayName": "m",
            "uploadUrl": self._storage("artifact-manifest"),
            "uploadHeaders": [],
        }
        return {"createArtifactManifest": {"artifactManifest": {"id": "TTox", "file": upload}}}

    def _on_create_artifact_files(self, given: dict[str, Any]) -> Any:
        edges = []
        for file in given["input"]["artifactFiles"]:
            self.artifacts[file["artifactID"]]["files"].append(file["name"])
            node = {"id": secrets.token_hex(4), "name": file["name"], "displayName": file["name"], "uploadHeaders": []}
            where = {
                "uploadUrl": self._storage(f"artifact/{file['name']}"),
                "storagePath": file["name"],
                "uploadMultipartUrls": None,
            }
            edges.append({"node": {**node, **where, "artifact": {"id": file["artifactID"]}}})
        return {"createArtifactFiles": {"files": {"edges": edges}}}

    def _on_commit_artifact(self, given: dict[str, Any]) -> Any:
        self.artifacts[given["artifactID"]]["state"] = "COMMITTED"
        return {"commitArtifact": {"artifact": {"id": given["artifactID"], "digest": ""}}}

    def _on_upsert_sweep(self, given: dict[str, Any]) -> Any:
        sweep = next((sweep for sweep in self.sweeps.values() if sweep.id == given.get("id")), None)
        if sweep is None:
            sweep = Sweep(given["config"], given.get("entityName") or "team", given.get("projectName") or "project")
            self.sweeps[sweep.name] = sweep
        sweep.state = given.get("state") or sweep.state
        project = {"id": "UDox", "name": sweep.project, "entity": {"id": "RTox", "name": sweep.entity}}
        return {"upsertSweep": {"sweep": {"name": sweep.name, "project": project}, "configValidationWarnings": []}}

    def _on_create_agent(self, given: dict[str, Any]) -> Any:
        agent = secrets.token_hex(4)
        self.agents[agent] = given["sweep"]
        self.sweeps[given["sweep"]].state = "RUNNING"
        return {"createAgent": {"agent": {"id": agent}}}

    def _on_heartbeat(self, given: dict[str, Any]) -> Any:
        sweep = self.sweeps[self.agents[given["id"]]]
        active = list(json.loads(given.get("runState") or "{}"))
        stopping = [name for name in active if self.runs[name].stop]
        command = {"type": "stop", "run_id": stopping[0]} if stopping else sweep.next_command(busy=bool(active))
        if command and command["type"] == "run":
            run = self.run_named(command["run_id"], sweep.entity, sweep.project)
            run.state, run.said["sweep"] = "pending", sweep.name
        return {"agentHeartbeat": {"agent": {"id": given["id"]}, "commands": json.dumps([command] if command else [])}}

    def _on_sweep_with_runs(self, given: dict[str, Any]) -> Any:
        sweep = self.sweeps.get(given["sweep"])
        return {"project": {"sweep": sweep and sweep.fields()}}

    def _on_get_sweep_state(self, given: dict[str, Any]) -> Any:
        return {"project": {"sweep": {"state": self.sweeps[given["sweep"]].state}}}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_state: WandbServer

    def _handle(self) -> None:
        body, path, state = self._body(), unquote(urlparse(self.path).path), self.server_state
        with state.lock:
            if path == "/graphql":
                asked = json.loads(body)
                name = asked.get("operationName") or re.findall(r"(?:query|mutation)\s+(\w+)", asked["query"])[0]
                try:
                    self._reply({"data": state.answer(name, asked.get("variables") or {})})
                except LookupError as error:
                    self._reply({"errors": [{"message": f"not known here: {error}"}]})
            elif path.endswith("/file_stream"):
                self._reply(state.stream(path, json.loads(body)))
            elif path.startswith("/storage/") and self.command == "PUT":
                state.files[path.removeprefix("/storage/")] = body
                self._reply({})
            else:
                self._reply({})

    do_GET = do_POST = do_PUT = do_HEAD = _handle  # noqa: N815  the names that http.server calls

    def _body(self) -> bytes:
        if "chunked" in (self.headers.get("Transfer-Encoding") or ""):
            data = b""
            while size := int(self.rfile.readline().split(b";")[0], 16):
                data += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        else:
            data = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        return gzip.decompress(data) if self.headers.get("Content-Encoding") == "gzip" else data

    def _reply(self, answer: Any) -> None:
        data = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def log_message(self, *words: Any) -> None:
        """Quiet."""


class _Http(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that ends, or is killed, may leave its connections open: nothing to report."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


@contextmanager
def serving() -> Iterator[WandbServer]:
    """A server on a free loopback port while the block lasts."""
    state = WandbServer()
    handler = type("Handler", (_Handler,), {"server_state": state})
    http = _Http(("127.0.0.1", 0), handler)
    state.url = f"http://127.0.0.1:{http.server_address[1]}"
    thread = threading.Thread(target=http.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield state
    finally:
        http.shutdown()
        http.server_close()
        thread.join()
