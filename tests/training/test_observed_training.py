"""What only another process of a training step uses counts like what the notebook uses: ranks, and workers of a loader."""
import pytest
from helpers.project import PARAMETERS

SHARES = """
from pathlib import Path
from torch import distributed, tensor

def share(rank):
    return tail() if rank else 1

def tail():
    "Only rank 1 comes here"
    return int((Path(__file__).parent / "tail.txt").read_text())

def never():
    return 3

def total():
    mine = tensor(share(distributed.get_rank()))
    distributed.all_reduce(mine)
    return int(mine)

if __name__ == "__main__":
    from mlops_kit.training.torchrun import run_rank
    run_rank(total)
"""
ROWS = """
from torch.utils.data import Dataset

class Rows(Dataset):
    def __len__(self):
        return 4

    def __getitem__(self, index):
        return price(index)

def price(index):
    return 2 * index
"""


@pytest.fixture
def ranks(project):
    "A step whose result two ranks compute"
    (project.root / "shares.py").write_text(SHARES)
    (project.root / "tail.txt").write_text("20")
    project.notebook("shares", "from mlops_kit.training import launch", "result.write_text(str(launch('shares', {}, 2)))", parameters=PARAMETERS)
    project.pipeline("shares: {notebook: notebooks/shares.ipynb, outs: {result: result.json}}")
    return project


def reason(project) -> str:
    "Why the one step would run, or `hit`"
    decision, = project.json("plan", "pipeline=demo").values()
    return decision["action"] if decision["action"] == "hit" else decision["reason"]


@pytest.mark.long
def test_what_only_a_rank_uses_counts(ranks):
    assert ranks.statuses() == {"shares": "ran"} and reason(ranks) == "hit"
    ranks.edit("shares.py", "return 3", "return 4")
    assert reason(ranks) == "hit", "no rank ran that function"
    ranks.edit("shares.py", ".read_text())", ".read_text()) + 1")
    assert reason(ranks) == "shares.tail (shares.py) changed"
    assert ranks.statuses() == {"shares": "ran"}
    (ranks.root / "tail.txt").write_text("30")
    assert "tail.txt changed" in reason(ranks)
    (ranks.root / "tail.txt").write_text("20")
    (ranks.root / "torch.py").write_text("")
    assert "torch" in reason(ranks)


def test_what_only_a_worker_of_a_loader_uses_counts(project):
    (project.root / "rows.py").write_text(ROWS)
    cell = "from torch.utils.data import DataLoader\nfrom rows import Rows", "result.write_text(str(sum(int(part) for part in DataLoader(Rows(), batch_size=None, num_workers=2))))"
    project.notebook("loads", *cell, parameters=PARAMETERS)
    project.pipeline("loads: {notebook: notebooks/loads.ipynb, outs: {result: result.json}}")
    assert project.statuses() == {"loads": "ran"} and reason(project) == "hit"
    project.edit("rows.py", "2 * index", "3 * index")
    assert "rows" in reason(project)
    assert project.statuses() == {"loads": "ran"} and reason(project) == "hit"
