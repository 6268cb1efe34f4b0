"""What is secret is in nothing that a run leaves behind or shows: one canary for each place where it could get out.

The same project runs twice: once as users run it, and once with all canaries declared harmless (`unmask`). There they must all be found, or the search could not find them here either.
"""
import base64
import gzip
import json
import os
import re
import signal
import subprocess
import time
import zipfile
from contextlib import suppress
from io import BytesIO
from pathlib import Path
from urllib.parse import quote

import pytest

from helpers.project import PARAMETERS, Project

# place -> what a cell does with the canary in `value`
SAID = {
    "printed": "print('it is', value)",
    "base64": "import base64\nprint('Basic', base64.b64encode(b'anna:' + value.encode()).decode())",
    "hexed": "print(value.encode().hex().upper())",
    "quoted": "from urllib.parse import quote\nprint('https://a.org/?q=' + quote(value, safe=''))",
    "json": "import json\nprint(json.dumps({'text': json.dumps({'value': value})}))",
    "split": "print(value[:7], end='', flush=True)\ntime.sleep(0.4)\nprint(value[7:], flush=True)",
    "displayed": "from IPython.display import HTML, display\ndisplay(HTML(f'<b>{value}</b>'))\ndisplay({'application/json': [value]}, raw=True)",
    "child": "import subprocess\nsubprocess.run(['sh', '-c', f'echo \"{value}\"; echo \"{value}\" >&2'])",
    "updated": "from IPython.display import display\nshown = display('before', display_id=True)\nshown.update(value)",
    "url": "print('connecting to', value)",
    "lines": "print('\\n'.join('    ' + line for line in value.splitlines()))",
    "caught": "try:\n    raise ValueError(value)\nexcept ValueError:\n    import traceback\n    traceback.print_exc()",
    "stderr": "sys.stderr.write(value)\nos.write(2, value.encode())",
    "result": "value",
}
TRACKED = {
    "tracked": "from mlops_kit import tracking\nwith tracking.logger({'word': value}) as log:\n    log.log_metrics({'loss': 0.5}, step=1)",
    "init": "import wandb\nwith wandb.init(config={'word': value}) as run:\n    run.log({'loss': 1})",
}
ENDS = {
    "environ": "print(repr(os.environ))\nresult.write_text('{}')",
    "raises": "raise RuntimeError('can not log in with ' + value)",
    "long_error": "raise RuntimeError('x' * 488 + value)",
    "killed": "print(value, flush=True)\ntime.sleep(0.5)\nos.kill(os.getpid(), 9)",
}
GIVEN = ("param", "named", "short", "override", "changes", "outputs")  # canaries that come by other ways than the environment
PLACES = [*SAID, *TRACKED, *ENDS, *GIVEN]


UNTRACKED = [word for step in ("says", "raises", "killed") for word in ("--until", step)]  # W&B and Lightning take seconds


def canary(place: str) -> str:
    "A value that stands nowhere else"
    value = f"{place}-k\"7/ä{PLACES.index(place):02}x{place[::-1]}+Q9"
    if place == "url":
        return "postgres://anna:Kn3url%2F99zX@db.example.org/flights"
    return {"lines": "\n".join(f"{place}abcdefghijklmnop{one}" for one in range(3)), "short": "zq9", "override": "override-k7Q9", "named": "named-k7Q9", "child": "child-k7/Q9x"}.get(place, value)


def seen(place: str) -> list[bytes]:
    "What must not be found"
    value = {"url": "Kn3url", "lines": "lines" + "abcdefghijklmnop1", "short": "'zq9'"}.get(place, canary(place))
    plain = [value, json.dumps(value)[1:-1], json.dumps(json.dumps(value))[2:-2], json.dumps(value, ensure_ascii=False)[1:-1], repr(value)[1:-1], quote(value, safe="")]
    inside = base64.b64encode(b"anna:" + value.encode()).decode()[8:-4]  # without the letters that others have a part in
    found = [*plain, value.encode().hex(), value.encode().hex().upper(), inside] if len(value) > 5 else plain
    return [one.encode() for one in found] + ([b'zq9"'] if place == "short" else [])


def contents(folder: Path) -> dict[str, bytes]:
    "All that lies below a folder: unpacked where it is packed, and the streams of notebooks as one reads them"
    found = {}
    for path in sorted(one for one in folder.rglob("*") if one.is_file()):
        data = path.read_bytes()
        if data[:2] == b"\x1f\x8b":
            data += gzip.decompress(data)
        if data[:4] == b"PK\x03\x04":
            with zipfile.ZipFile(BytesIO(data)) as packed:
                data += b"".join(packed.read(name) for name in packed.namelist())
        with suppress(ValueError, KeyError, TypeError):
            for cell in json.loads(data)["cells"]:
                data += "".join("".join(one.get("text", [])) for one in cell.get("outputs", [])).encode()
        found[str(path.relative_to(folder))] = data + str(path.relative_to(folder)).encode()
    return found


def leaks(found: dict[str, bytes]) -> dict[str, list[str]]:
    "The canaries that are found, and where"
    there = {place: [name for name, data in found.items() if any(one in data for one in seen(place))] for place in PLACES}
    return {place: names for place, names in there.items() if names}


def make(project: Project, *config: str) -> dict[str, str]:
    "A project that tells all its secrets; the environment that has them"
    start = "import os, sys, time\nvalue = os.environ['{}']"
    told = {place: f"{place.upper()}_TOKEN" for place in [*SAID, *TRACKED, *ENDS, "changes", "outputs"]} | {"url": "DATABASE_URL"}
    cells = [f"{start.format(told[place])}\n{code}" for place, code in SAID.items()]
    project.notebook("says", *cells, "print(word, api_key)", "result.write_text('{}')", parameters=PARAMETERS + "\nword: str = ''\napi_key: str = ''\nports: dict = {}")
    project.notebook("tracks", *(f"{start.format(told[place])}\n{code}" for place, code in TRACKED.items()), "result.write_text('{}')")
    steps = ["says: {notebook: notebooks/says.ipynb, params: {word: '${oc.env:MY_WORD}', api_key: none, ports: {password: zq9, port: 80}}, outs: {result: result.json}}", "tracks: {notebook: notebooks/tracks.ipynb, outs: {result: result.json}}"]
    for place, code in ENDS.items():
        project.notebook(place, f"{start.format(told[place])}\n{code}")
        steps.append(f"{place}: {{notebook: notebooks/{place}.ipynb, outs: {{result: result.json}}}}")
    project.pipeline("\n".join(steps))
    old = project.root / "notebooks/says.ipynb"
    book = json.loads(old.read_text())
    book["cells"][0]["outputs"] = [{"output_type": "stream", "name": "stdout", "text": canary("outputs")}]
    old.write_text(json.dumps(book))
    (project.root / "conf/config.yaml").write_text("\n".join(["defaults: [mlops_kit, _self_]", f"pass_env: [{', '.join(told.values())}]", "db: {password: none}", *config]))
    (project.root / ".gitignore").write_text(".mlops\n")
    (project.root / "conf/other.txt").write_text("before")
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@a"]
    for words in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "x"]):
        subprocess.run([*git, *words], cwd=project.root, check=True)
    (project.root / "conf/other.txt").write_text(canary("changes"))
    (project.root / ".env").write_text("NOT_LOADED=7/Q9-not-loaded")
    return {name: canary(place) for place, name in told.items()} | {"MY_WORD": canary("param")}


def carry_out(project: Project, environment: dict[str, str], *words: str) -> dict[str, bytes]:
    "Run the project; all that is left of it in the store, and all that commands show of it"
    run = ["run", "pipeline=demo", f"pipeline.steps.says.params.api_key={canary('named')}", f"db.password={canary('override')}", *words]
    shown = {}
    for name, command in {"run": run, "plan": ["plan", *run[1:]], "runs": ["runs"], "show": ["show", "last"], "step": ["show", "last", "says"], "failed": ["show", "last", "raises"]}.items():
        for how in ([], ["--json"]) if name != "run" else ([],):
            process = project.start(*command, *how, **environment)
            out, err = process.communicate(timeout=300)
            shown[f"mlops {name} {how}"] = (out + err).encode()
    return contents(project.root / ".mlops") | shown


@pytest.fixture(scope="module", params=["mlops", pytest.param("kernel", marks=pytest.mark.long)])
def masked(request, tmp_path_factory) -> tuple[Project, dict[str, bytes]]:
    "The project as users run it, and what is left of it"
    project = Project(tmp_path_factory.mktemp("masked") / "project")
    return project, carry_out(project, make(project), f"engine={request.param}", *([] if request.param == "mlops" else UNTRACKED))


@pytest.fixture(scope="module")
def unmasked(tmp_path_factory) -> dict[str, list[str]]:
    "The canaries of the same project when they are declared harmless, and where they are found"
    project = Project(tmp_path_factory.mktemp("unmasked") / "project")
    names = ["password", "api_key", "MY_WORD", "DATABASE_URL", *(f"{place.upper()}_TOKEN" for place in PLACES)]
    found = carry_out(project, make(project, f"unmask: [{', '.join(names)}, part of a URL]"))
    return leaks({name: data for name, data in found.items() if "environ." not in name}) | {place: names for place, names in leaks(found).items() if place == "environ"}


@pytest.mark.long
@pytest.mark.parametrize("place", PLACES)
def test_the_canary_is_found_where_nothing_is_masked(unmasked: dict[str, list[str]], place: str):
    by_name = {"short", "override"}  # these are masked by their names alone
    assert place in unmasked or place in by_name


@pytest.mark.parametrize("place", PLACES)
def test_the_canary_is_found_nowhere(masked: tuple[Project, dict[str, bytes]], place: str):
    assert place not in leaks(masked[1])


def test_the_story_is_told_all_the_same(masked: tuple[Project, dict[str, bytes]]):
    pytest.importorskip("wandb")
    project, found = masked
    (run,) = [json.loads(data[:data.rindex(b"}") + 1]) for name, data in found.items() if name.endswith("run.json")]
    assert all(step["status"] == ("failed" if name in ("raises", "long_error", "killed") else "ran") for name, step in run["steps"].items())
    assert run["steps"]["raises"]["error"].endswith("raised RuntimeError: can not log in with ***")
    assert "db.password=***" in run["overrides"] and run["config"]["pipeline"]["steps"]["says"]["params"]["word"] == "${oc.env:MY_WORD}"
    folder = project.root / ".mlops/runs" / run["run"]
    printed = [output for cell in json.loads((folder / "says.ipynb").read_text())["cells"] for output in cell.get("outputs", [])]
    assert sum("***" in json.dumps(one) for one in printed) >= len(SAID)
    assert "it is ***" in (folder / "says.log").read_text()
    killed = json.loads((folder / "killed.ipynb").read_text())["cells"][-1]["outputs"]
    assert "".join(killed[0]["text"]) == "***\n" and "SIGKILL" in killed[-1]["evalue"]
    record = json.loads((project.root / f".mlops/records/{run['steps']['says']['key']}.json").read_text())
    assert record["masked"] == ["api_key", "ports", "word"] and record["parts"]["params"]["ports"] == {"password": "***", "port": 80}
    assert b"NOT_LOADED" not in b"".join(found.values())


def test_the_ledger_keeps_what_wandb_can_not(masked: tuple[Project, dict[str, bytes]]):
    pytest.importorskip("wandb")
    project, found = masked
    assert not [name for name in found if name.endswith(".wandb")], "what a notebook tells W&B itself goes, as there is a secret in it"
    (run,) = [json.loads(data[:data.rindex(b"}") + 1]) for name, data in found.items() if name.endswith("run.json")]
    for step in [run["steps"][name] for name in run["steps"] if name == "tracks"]:
        points = (project.root / ".mlops/objects" / step["series"][:2] / step["series"][2:]).read_text().splitlines()
        assert [json.loads(one)["metrics"] for one in points] == [{"loss": 0.5}], "what it tells `tracking.logger` stays"


SECRET_STEP = "says: {{notebook: notebooks/says.ipynb, params: {{api_key: {}, n: {}}}, outs: {{result: result.json}}}}"


def keyed(project: Project, value: str, number: int = 1) -> dict:
    "The plan for the step `says` with this secret"
    project.pipeline(SECRET_STEP.format(value, number))
    return project.json("plan", "pipeline=demo")["says"]


def test_a_key_follows_a_secret_without_telling_it(project: Project):
    project.notebook("says", "result.write_text('{}')", parameters=PARAMETERS + "\napi_key: str = ''\nn: int = 0")
    first = keyed(project, "first-k7Q9")
    assert project.statuses() == {"says": "ran"} and project.statuses() == {"says": "hit"}
    second = keyed(project, "second-k7Q9")
    assert second["key"] != first["key"] and second["reason"] == "secret parameter api_key changed"
    assert keyed(project, "second-k7Q9", 2)["reason"] == "parameter n: 1 -> 2"
    assert keyed(project, "first-k7Q9")["action"] == "hit"


def test_an_out_with_a_secret_fails_the_step_and_is_not_kept(project: Project):
    project.notebook("says", "import os\nresult.write_text('{}')\n(result.parent / 'many').mkdir()\n(result.parent / 'many/a.bin').write_bytes(bytes(3 << 20) + os.environ['MY_TOKEN'].encode())")
    project.pipeline("says: {notebook: notebooks/says.ipynb, outs: {result: result.json, many: many}}")
    (project.root / "conf/config.yaml").write_text("defaults: [mlops_kit, _self_]\npass_env: [MY_TOKEN]")
    step = project.json("run", "pipeline=demo", code=1, MY_TOKEN="canary-k7Q9")["steps"]["says"]
    assert step["status"] == "failed" and step["error"].startswith("out/many/a.bin holds the value of the secret MY_TOKEN")
    assert not [name for name, data in contents(project.root / ".mlops").items() if b"canary-k7Q9" in data]
    assert project.json("run", "pipeline=demo", "unmask=[MY_TOKEN]", MY_TOKEN="canary-k7Q9")["status"] == "done"


def test_a_secret_in_the_code_is_refused(project: Project):
    project.notebook("says", "import helper\nresult.write_text('{}')\nkey = 'canary-k7Q9'")
    (project.root / "helper.py").write_text("KEY = 'canary-k7Q9'\n")
    project.pipeline("says: {notebook: notebooks/says.ipynb, outs: {result: result.json}}")
    said = project.mlops("run", "pipeline=demo", code=2, MY_TOKEN="canary-k7Q9")
    assert "says.ipynb, cell 2: the value of the secret MY_TOKEN appears in code" in said and "helper.py: the value" in said
    assert not (project.root / ".mlops/runs").exists()


def test_errors_of_the_command_line_tell_no_secrets(project: Project):
    project.pipeline("says: {notebook: notebooks/says.ipynb, params: {n: canary-k7Q9}, outs: {result: result.json}}")
    project.notebook("says", "pass", parameters=PARAMETERS + "\nn: int = 0")
    for words in (["run", "pipeline=demo"], ["plan", "pipeline=demo", "seed=[canary-k7Q9"], ["run", "pipeline=demo", "++db.password=sh0rt", "seed=[1"], ["plan", "pipeline=demo", "++x.token=sh0rt", "nonsense=1"]):
        for how in ([], ["--json"]):
            process = project.start(*words, *how, MY_TOKEN="canary-k7Q9")
            said = "".join(process.communicate(timeout=60))
            assert process.returncode == 2 and "canary-k7Q9" not in said and "sh0rt" not in said


@pytest.mark.parametrize("engine", ["mlops", pytest.param("kernel", marks=pytest.mark.long)])
def test_nothing_is_left_when_the_runner_is_killed(project: Project, engine: str):
    project.notebook("says", "import os, sys, time\nprint(os.environ['MY_TOKEN'], flush=True)\nos.write(2, os.environ['MY_TOKEN'].encode() + b'\\n')\nprint(os.environ)", "open(str(here), 'w').close()\ntime.sleep(60)",
                     parameters=PARAMETERS + "\nhere: str = ''\nword: str = ''")
    project.pipeline(f"says: {{notebook: notebooks/says.ipynb, params: {{here: '{project.root / 'here'}', word: '${{oc.env:MY_TOKEN}}'}}, outs: {{result: result.json}}}}")
    (project.root / "conf/config.yaml").write_text("defaults: [mlops_kit, _self_]\npass_env: [MY_TOKEN]")
    process = project.start("run", "pipeline=demo", f"engine={engine}", MY_TOKEN="canary-k7Q9")
    deadline = time.monotonic() + 60
    while not (project.root / "here").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(0.5)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    found = contents(project.root / ".mlops")
    (journal,) = [data for name, data in found.items() if name.endswith(".journal")]
    assert b"***" in journal, "what the step has said until then is there"
    assert b"***" in next(data for name, data in found.items() if name.endswith("says.log"))
    assert not [name for name, data in found.items() if b"canary-k7Q9" in data]


def test_no_secret_stands_on_a_command_line(project: Project):
    project.notebook("says", "import subprocess\nfrom pathlib import Path\nfound = [p.read_bytes() for p in Path('/proc').glob('[0-9]*/cmdline') if p.exists()]\nassert not [one for one in found if word.encode() in one and b'mlops_kit' in one]\nresult.write_text('{}')",
                     parameters=PARAMETERS + "\nword: str = ''")
    project.pipeline("says: {notebook: notebooks/says.ipynb, params: {word: '${oc.env:MY_TOKEN}'}, outs: {result: result.json}}")
    assert project.json("run", "pipeline=demo", MY_TOKEN="canary-k7Q9")["status"] == "done"


def test_plain_names_stay_readable(project: Project):
    project.notebook("says", "import os\nprint(os.environ['EOS_TOKEN'], os.environ['STAGE_SECRET'], os.environ['KEY_CREDENTIALS'])\nresult.write_text('{}')")
    project.pipeline("says: {notebook: notebooks/says.ipynb, outs: {result: result.json}}")
    (project.root / "conf/config.yaml").write_text("defaults: [mlops_kit, _self_]\npass_env: [EOS_TOKEN, STAGE_SECRET, KEY_CREDENTIALS]")
    run = project.json("run", "pipeline=demo", EOS_TOKEN="<|endoftext|>", STAGE_SECRET="production", KEY_CREDENTIALS=str(project.root))
    log = (project.root / ".mlops/runs" / run["run"] / "says.log").read_text()
    assert re.search(rf"<\|endoftext\|> production {re.escape(str(project.root))}", log)


def test_a_configuration_with_a_secret_is_not_remembered(project: Project):
    project.notebook("says", "result.write_text('{}')", parameters=PARAMETERS + "\nword: str = ''")
    project.pipeline("says: {notebook: notebooks/says.ipynb, params: {word: canary-k7Q9}, outs: {result: result.json}}")
    for told, kept in (({"MY_TOKEN": "canary-k7Q9"}, 0), ({}, 1)):
        project.mlops("run", "pipeline=demo", **told)
        project.mlops("plan", "pipeline=demo", **told)
        assert len([data for name, data in contents(project.root / ".mlops").items() if name.startswith("composed") and b"canary-k7Q9" in data]) == kept
