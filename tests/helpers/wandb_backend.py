"""A W&B server on the loopback: as much of one as wandb-core 0.31 talks to in these tests.

What it keeps follows wandb-core's own source: a part of a streamed file comes with the number of its first line, a resumed run asks how
many lines there are (RunResumeStatus), an artifact of a known digest is not uploaded again. It is strict where the real one may be
lenient: a line that is sent again with another content, or behind a gap, is a fault that a test can see.
"""

import gzip
import json
import re
from base64 import b64decode
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Lock, Thread

KEY = "k" * 40


class Backend(ThreadingHTTPServer):
    """Answers everything on a free port, and keeps what it was told; a context manager."""

    daemon_threads = True
    request_queue_size = 50

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.bodies: list[str] = []            # of every request, in order
        self.runs: dict[str, dict] = {}        # by their ids
        self.artifacts: dict[str, dict] = {}   # by their ids
        self.uploads: dict[str, bytes] = {}    # by the path that was given out for them
        self.used: set[tuple[str, str]] = set() # run, artifact
        self.faults: list[str] = []            # what no client may do
        self.hang_up = False                   # answer nothing any more, and close every connection
        self.trouble: int | str | None = None  # an HTTP status that everything is answered with; "hang": never an answer
        self.left: int | None = None           # so many requests are answered, then the trouble begins, or it hangs up
        self.lock, self.closing = Lock(), Event()
        Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()

    def server_close(self) -> None:
        """Let go of those who wait."""
        self.closing.set()
        super().server_close()

    def handle_error(self, *_) -> None:
        """A client that went away is no news."""

    def streamed(self, file: str) -> list[dict]:
        """The lines that all runs wrote to a file such as wandb-history.jsonl, as often as they were sent."""
        parts = [json.loads(body)["files"] for body in self.bodies if body.startswith("{") and "files" in json.loads(body)]
        return [json.loads(line) for part in parts if isinstance(part, dict) and file in part for line in part[file]["content"]]

    def history(self, run: str) -> list[dict]:
        """The rows that are there for a run."""
        return [json.loads(line) for line in self.runs[run]["lines"].get("wandb-history.jsonl", [])]

    def summary(self, run: str) -> dict:
        """The summary that is there for a run."""
        return json.loads(self.runs[run]["lines"]["wandb-summary.json"][-1])

    def config(self, run: str) -> dict:
        """The config that is there for a run."""
        return {name: one["value"] for name, one in json.loads(self.runs[run]["config"]).items() if name != "_wandb"}

    def stream(self, run: dict, told: dict) -> None:
        """A part of the files of a run."""
        for file, part in (told.get("files") or {}).items():
            lines, at = run["lines"].setdefault(file, []), part["offset"]
            if at > len(lines):
                self.faults.append(f"{file}: a gap before line {at}, there are {len(lines)}")
            again = min(len(lines) - at, len(part["content"]))
            if file == "wandb-history.jsonl" and lines[at:at + again] != part["content"][:again]:
                self.faults.append(f"{file}: other content from line {at} on")
            lines[at:at + len(part["content"])] = part["content"]
        if told.get("complete"):
            run["exit"] = told["exitcode"]

    def answer(self, query: str, told: dict) -> dict:
        """The data of a GraphQL answer."""
        name = (re.search(r"(?:query|mutation)\s+(\w+)", query) or [""])[1]
        project = {"id": "p", "name": told.get("project") or "p", "entity": {"id": "e", "name": "me"}}
        if name == "UpsertBucket":
            run = self.runs.setdefault(told["name"], {"lines": {}, "config": "{}", "upserts": 0})
            run |= {one: told[one] for one in ("config", "groupName", "displayName", "jobType", "tags", "project") if told.get(one) is not None}
            run["upserts"] += 1
            bucket = {"id": "r" + told["name"], "name": told["name"], "displayName": told.get("displayName"), "description": "", "config": run["config"],
                      "historyLineCount": len(run["lines"].get("wandb-history.jsonl", [])), "sweepName": None, "project": project}
            return {"upsertBucket": {"bucket": bucket, "inserted": run["upserts"] == 1}}
        if name == "RunResumeStatus":
            return {"model": project | {"bucket": self.resumed(told["name"])}}
        if name == "CreateRunFiles":
            files = [{"name": file, "uploadUrl": f"{self.url}/upload/{told['run']}/{file}"} for file in told["files"]]
            return {"createRunFiles": {"runID": "r", "uploadHeaders": [], "files": files}}
        viewer = {"id": "u", "entity": "me", "username": "me", "flags": "{}", "email": "", "name": "", "admin": False,
                  "apiKeys": {"edges": []}, "teams": {"edges": []}}
        known = {"Viewer": {"viewer": viewer, "serverInfo": {}}, "ServerFeaturesQuery": {"serverInfo": {"features": []}}}
        return known.get(name) or self.artifact_answer(name, told) or {"entity": None}

    def resumed(self, name: str) -> dict | None:
        """What a client that goes on with a run is told."""
        if (run := self.runs.get(name)) is None:
            return None
        lines = {kind: run["lines"].get(file, []) for kind, file in (("history", "wandb-history.jsonl"), ("events", "wandb-events.jsonl"), ("log", "output.log"))}
        summary = run["lines"].get("wandb-summary.json", ["{}"])[-1]
        started = {"t": json.loads(run["config"]).get("_wandb", {}).get("value", {}).get("t")}
        return {"id": "r" + name, "name": name, "summaryMetrics": summary, "displayName": run.get("displayName"), "config": run["config"], "tags": run.get("tags") or [],
                "notes": None, "wandbConfig": json.dumps({one: value for one, value in started.items() if value}), "eventsTail": json.dumps(lines["events"][-1:]),
                "historyTail": json.dumps(lines["history"][-1:])} | {f"{kind}LineCount": len(found) for kind, found in lines.items()}

    def artifact_answer(self, name: str, told: dict) -> dict | None:
        """The data of an answer about artifacts."""
        asked = told.get("input", told)
        if name == "CreateArtifact":
            same = [one for one, it in self.artifacts.items() if (it["artifactCollectionName"], it["digest"]) == (asked["artifactCollectionName"], asked["digest"])]
            found = (same or [f"A{len(self.artifacts)}"])[0]
            one = self.artifacts.setdefault(found, asked | {"state": "PENDING", "files": {}, "by": set(), "metadata": json.loads(asked.get("metadata") or "{}")})
            one["by"].add(asked["runName"])
            return {"createArtifact": {"artifact": {"id": found, "state": one["state"], "artifactSequence": {"id": "s", "latestArtifact": None}}}}
        if name == "CreateArtifactManifest":
            file = {"id": "f", "name": "m", "displayName": "m", "uploadUrl": f"{self.url}/upload/{told['artifactID']}/manifest", "uploadHeaders": []}
            return {"createArtifactManifest": {"artifactManifest": {"id": "man", "file": file}}}
        if name == "CreateArtifactFiles":
            files = [(one["artifactID"], one["name"]) for one in asked["artifactFiles"]]
            for one, file in files:
                self.artifacts[one]["files"][file] = f"/upload/{one}/files/{file}"
            nodes = [{"id": "f", "name": file, "displayName": file, "uploadUrl": f"{self.url}/upload/{one}/files/{file}", "uploadHeaders": [], "storagePath": "x",
                      "artifact": {"id": one}, "uploadMultipartUrls": None} for one, file in files]
            return {"createArtifactFiles": {"files": {"edges": [{"node": node} for node in nodes]}}}
        if name == "CommitArtifact":
            self.artifacts[told["artifactID"]]["state"] = "COMMITTED"
            return {"commitArtifact": {"artifact": {"id": told["artifactID"], "digest": self.artifacts[told["artifactID"]]["digest"]}}}
        if name == "UseArtifact":
            self.used.add((asked["runName"], self.artifacts[asked["artifactID"]]["artifactCollectionName"]))
            return {"useArtifact": {"artifact": {"id": asked["artifactID"]}}}
        if name == "ArtifactByID":
            return {"artifact": self.whole(told["id"])}
        return {"project": {"artifact": None}} if name == "ArtifactType" else None

    def whole(self, name: str) -> dict:
        """All that wandb wants to know about an artifact."""
        one = self.artifacts[name]
        project = {"id": "p", "internalId": "1", "name": one["projectName"], "entity": {"name": "me"}}
        collection = {"__typename": "ArtifactSequence", "name": one["artifactCollectionName"], "project": project}
        aliases = [{"__typename": "ArtifactAlias", "id": "a", "alias": "v0", "artifactCollection": collection}]
        return {"__typename": "Artifact", "id": name, "artifactSequence": collection, "versionIndex": 0, "artifactType": {"name": one["artifactTypeName"]}, "description": None,
                "metadata": json.dumps(one["metadata"]), "ttlDurationSeconds": -1, "ttlIsInherited": True, "tags": [], "historyStep": None, "state": one["state"], "size": 1,
                "digest": one["digest"], "digestAlgorithm": "MANIFEST_MD5", "commitHash": "c", "fileCount": len(one["files"]), "createdAt": "2026-01-01T00:00:00Z",
                "updatedAt": None, "aliases": aliases}


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *_) -> None:
        """Stay quiet."""

    def send(self, content: dict, code: int = 200) -> None:
        """Answer with JSON."""
        body = json.dumps(content).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        if code == 429:
            self.send_header("Retry-After", "1")
        self.end_headers()
        self.wfile.write(body)

    def body(self) -> bytes:
        """What was sent."""
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        body = b""
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def troubled(self) -> bool:
        """Is this request not answered as it should be?"""
        server = self.server
        if server.left is not None:
            server.left -= 1
            server.hang_up = server.hang_up or (server.left < 0 and not server.trouble)
            if server.left >= 0:
                return False
        if server.trouble == "hang":
            server.closing.wait(300)
        elif server.trouble and not server.hang_up:
            self.send({"errors": [{"message": "trouble"}]}, server.trouble)
            return True
        self.close_connection = server.hang_up or server.trouble == "hang"
        return self.close_connection

    def do_POST(self) -> None:
        """GraphQL, the stream of a run, an upload."""
        body = self.body()
        if self.troubled():
            return
        body = gzip.decompress(body) if self.headers.get("Content-Encoding") == "gzip" else body
        text = body.decode(errors="replace")
        with self.server.lock:
            self.server.bodies.append(text)
            if self.path != "/graphql":
                if self.path.endswith("/file_stream"):
                    run = self.server.runs.setdefault(self.path.split("/")[-2], {"lines": {}, "config": "{}", "upserts": 0})
                    self.server.stream(run, json.loads(text))
                elif self.path.startswith("/upload/"):
                    self.server.uploads[self.path] = body
                self.send({})
            elif KEY not in b64decode(self.headers["Authorization"].split()[1]).decode():
                self.send({"errors": [{"message": "who are you?"}]}, 401)
            else:
                asked = json.loads(text)
                self.send({"data": self.server.answer(asked["query"], asked.get("variables") or {})})

    do_PUT = do_GET = do_POST
