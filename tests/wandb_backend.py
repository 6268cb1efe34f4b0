"""A W&B server on the loopback: as much of one as wandb-core 0.31 talks to in these tests."""

import gzip
import json
import re
from base64 import b64decode
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

KEY = "k" * 40


class Backend(ThreadingHTTPServer):
    """Answers everything on a free port, and keeps what it was told; a context manager."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.bodies: list[str] = []  # of every request, in order
        self.hang_up = False         # answer nothing any more
        Thread(target=self.serve_forever, daemon=True).start()

    def handle_error(self, *_) -> None:
        """A client that went away is no news."""

    def streamed(self, file: str) -> list[dict]:
        """The lines that all runs wrote to a file such as wandb-history.jsonl."""
        parts = [json.loads(body)["files"] for body in self.bodies if body.startswith("{") and "files" in json.loads(body)]
        return [json.loads(line) for part in parts if isinstance(part, dict) and file in part for line in part[file]["content"]]

    def answer(self, query: str, told: dict) -> dict:
        """The data of a GraphQL answer."""
        name = (re.search(r"(?:query|mutation)\s+(\w+)", query) or [""])[1]
        project = {"id": "p", "name": told.get("project") or "p", "entity": {"id": "e", "name": "me"}}
        run = {"id": "r", "name": told.get("name"), "displayName": told.get("name"), "description": "", "config": "{}",
               "historyLineCount": 0, "sweepName": None, "project": project}
        files = [{"name": file, "uploadUrl": f"{self.url}/upload/{file}"} for file in told.get("files") or []]
        viewer = {"id": "u", "entity": "me", "username": "me", "flags": "{}", "email": "", "name": "", "admin": False,
                  "apiKeys": {"edges": []}, "teams": {"edges": []}}
        return {"Viewer": {"viewer": viewer, "serverInfo": {}}, "ServerFeaturesQuery": {"serverInfo": {"features": []}},
                "UpsertBucket": {"upsertBucket": {"bucket": run, "inserted": True}},
                "RunResumeStatus": {"model": project | {"bucket": None}},
                "CreateRunFiles": {"createRunFiles": {"runID": "r", "uploadHeaders": [], "files": files}}}.get(name, {"entity": None})


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
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self) -> None:
        """GraphQL, the stream of a run, an upload."""
        if self.headers.get("Transfer-Encoding") == "chunked":
            body = b""
            while size := int(self.rfile.readline(), 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        else:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.server.hang_up:
            self.close_connection = True
            return
        text = (gzip.decompress(body) if self.headers.get("Content-Encoding") == "gzip" else body).decode(errors="replace")
        self.server.bodies.append(text)
        if self.path != "/graphql":
            self.send({})
        elif KEY not in b64decode(self.headers["Authorization"].split()[1]).decode():
            self.send({"errors": [{"message": "who are you?"}]}, 401)
        else:
            asked = json.loads(text)
            self.send({"data": self.server.answer(asked["query"], asked.get("variables") or {})})

    do_PUT = do_GET = do_POST
