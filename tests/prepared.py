"""`mlops` many times: a process with the imports done forks a child for each command. As true as a fresh start, and five times as fast."""
import json
import os
import subprocess
import sys
from pathlib import Path


class Prepared:
    "Calls `mlops` in forks of one prepared process"

    def __init__(self, root: Path):
        self.root = root
        self.process = subprocess.Popen([sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=root)

    def start(self, *words: str, **environment: str) -> int:
        "Start a command; its process id"
        return self._ask({"words": words, "environment": environment})["pid"]

    def wait(self) -> dict:
        "How the oldest command ended: code, negative for a signal; changes (of the disk); output; error"
        return self._ask({"wait": True})

    def __call__(self, *words: str, **environment: str) -> dict:
        "Start a command and wait for its end"
        self.start(*words, **environment)
        return self.wait()

    def _ask(self, question: dict) -> dict:
        self.process.stdin.write(json.dumps(question) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def close(self) -> None:
        self.process.communicate()


def become_mlops(words: list[str], environment: dict[str, str], folder: str) -> None:
    "In the child: what `mlops` does, with its output in files"
    from mlops_kit import cli, files

    os.setsid()
    os.environ.update(environment)
    for number, name in ((1, "output"), (2, "error")):
        os.dup2(os.open(f"{folder}/{name}", os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
    sys.stdin, sys.stdout, sys.stderr = open(os.devnull), open(1, "w", closefd=False), open(2, "w", closefd=False)
    sys.argv = ["mlops", *words]
    code = 70
    try:
        code = cli.main(words)
        Path(folder, "changes").write_text(str(next(files._changes) - 1))
    finally:
        sys.stdout.flush(), sys.stderr.flush()
        os._exit(code)


def serve() -> None:
    "Fork a child for each line on standard input"
    import tempfile

    import psutil  # noqa: F401
    from mlops_kit import cli, progress, runner, terminal, upkeep  # noqa: F401; not hydra, which would compose again each time

    children = []
    for line in sys.stdin:
        asked = json.loads(line)
        if "words" in asked:
            folder = tempfile.mkdtemp()
            if (pid := os.fork()) == 0:
                become_mlops(asked["words"], asked["environment"], folder)
            children.append((pid, Path(folder)))
            answer = {"pid": pid}
        else:
            pid, folder = children.pop(0)
            code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
            read = lambda name: (folder / name).read_text() if (folder / name).exists() else ""
            answer = {"code": code, "changes": int(read("changes") or 0), "output": read("output"), "error": read("error")}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    serve()
