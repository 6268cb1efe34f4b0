"""A loopback S3 that can misbehave."""
import threading
import time
from collections.abc import Callable, Iterator
import pytest
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import WSGIRequestHandler, make_server
from mlops_kit.ledger import remote

class Quiet(WSGIRequestHandler):
    def log(self, *_): pass


class Bucket:
    "A server of S3 with one bucket"

    def __init__(self):
        self.app, self.requests, self.fault = DomainDispatcherApplication(create_backend_app), 0, None
        self.server = make_server("127.0.0.1", 0, self, threaded=True, request_handler=Quiet)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.environment = {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{self.server.port}", "AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "AWS_DEFAULT_REGION": "us-east-1", "AWS_EC2_METADATA_DISABLED": "true"}

    def __call__(self, environ: dict, start: Callable):
        self.requests += 1
        if self.fault and (answer := self.fault(self.requests)):
            start(answer, [("Content-Length", "0")])
            return []
        return self.app(environ, start)


@pytest.fixture(scope="module")
def bucket() -> Iterator[Bucket]:
    one = Bucket()
    yield one
    one.server.shutdown()


@pytest.fixture
def s3(bucket: Bucket, monkeypatch) -> Iterator[str]:
    "The url of a fresh bucket"
    bucket.fault, bucket.requests = None, 0
    for name, value in bucket.environment.items():
        monkeypatch.setenv(name, value)
    name = f"b{time.monotonic_ns()}"
    remote.open_remote("s3://x").fs.mkdir(name)
    yield f"s3://{name}/folder"
    bucket.fault = None
