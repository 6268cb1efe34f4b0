"""A store as a step fills it, and whether it is whole."""
import json
import random
from pathlib import Path

from mlops_kit.store.files import append_json_line, canonical_json, read_json_lines, write_file
from mlops_kit.store.objects import Store, digest, is_complete, put_path, set_ref

BIG = 3 << 19  # bytes: too large to go through memory


def user_files(folder: Path) -> Path:
    "A folder as a step leaves it: small files, a large one, an empty one"
    (folder / "deep").mkdir(parents=True)
    for number in range(3):
        (folder / f"deep/{number}.csv").write_text(f"{number}\n" * 50)
    (folder / "empty").touch()
    (folder / "large.bin").write_bytes(random.Random(1).randbytes(BIG))
    return folder


def keep_all(store: Store, folder: Path) -> str:
    "What the end of a step does: content, then a record, then a name for it, then a line in a journal"
    tree = put_path(store, folder)
    write_file(store.files, "records/key.json", canonical_json({"key": "key", "outs": tree}))
    set_ref(store, "steps/demo/one", "key")
    append_json_line(store.root / "events.jsonl", {"outs": tree}, sync=store.durable)
    return tree


def check_store(store: Store) -> None:
    "Nothing in the making is left, every object is what its name says, what a record names is there, and each line of the journal is whole"
    if (store.root / "tmp").exists():
        assert list((store.root / "tmp").iterdir()) == []
    for path in (store.root / "objects").glob("*/*"):
        assert digest(path) == (path.parent.name + path.name).removesuffix(".tree")
    if (journal := store.root / "events.jsonl").exists():
        assert len(read_json_lines(journal)) == journal.read_bytes().count(b"\n") and journal.read_bytes()[-1:] in (b"", b"\n")
    if (record := store.root / "records/key.json").exists():
        assert is_complete(store, json.loads(record.read_bytes())["outs"])
