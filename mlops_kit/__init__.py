"""Write it in a notebook, run it anywhere, and prove it: reproducible experiments from notebooks

Modules:

- `mlops_kit.again`: Execute a recorded step once more, out of nothing but its record
- `mlops_kit.batches`: Rows that fit into memory, a whole batch at a time
- `mlops_kit.bisect`: Which of several changes did it, and how much each of them
- `mlops_kit.causes`: Why a result comes out differently: the usual suspects in a piece of code
- `mlops_kit.cells`: The cells of one notebook in this very process, with the outputs that a Jupyter kernel would give
- `mlops_kit.cli`: `mlops`: the command table
- `mlops_kit.closure`: All the code that the result of a step may depend on
- `mlops_kit.cluster`: Steps on other machines: each is told to a worker of Dask, and what becomes of it comes back
- `mlops_kit.compare`: Where two results differ
- `mlops_kit.config`: Find the project and compose its configuration: the same for the command line, a notebook and the library
- `mlops_kit.digits`: The digits example: handwritten digits, and a small network that reads them
- `mlops_kit.disturbance`: Change what must not matter: time zone, home, user, order of folders, number of processors, clock, memory
- `mlops_kit.edge`: A trained network as a file that runs without Python: ONNX, and ONNX with eight bits
- `mlops_kit.engine`: Execute one notebook in a process of its own, watch it, and say truly how it ended
- `mlops_kit.environment`: Everything besides code and data that may influence a result: how it is fixed, and how it is told
- `mlops_kit.errors`: What can go wrong, said so that a person can act on it
- `mlops_kit.execution`: One step: its folder, its process, its result
- `mlops_kit.executors`: Where steps are carried out
- `mlops_kit.federated`: Learning from rows that stay where they are: each client trains, only weights and counts travel
- `mlops_kit.files`: Every write, rename, lock and sync that the kit makes on disk, in one place
- `mlops_kit.fingerprint`: What every variable of a notebook is worth after each cell, as digests
- `mlops_kit.flights`: The flights example: what is known about a flight before departure
- `mlops_kit.frozen`: What Python objects hold, as plain values and tensors that can be put back
- `mlops_kit.jupyter`: JupyterLab with a kernel that starts at once, because torch and lightning are already there
- `mlops_kit.kernel`: The cells of one notebook in a real Jupyter kernel, through papermill: the reference engine
- `mlops_kit.lab`: The same steps, plans and runs in JupyterLab
- `mlops_kit.lineage`: From any file back to what made it, and forward to what used it
- `mlops_kit.masking`: What is secret stays out of everything that is kept or shown
- `mlops_kit.mirror`: What Weights & Biases is to show of a run: all of it from the ledger
- `mlops_kit.moment`: All that a training is between two batches
- `mlops_kit.notebook`: A notebook as a step: its cells, and what it can be given
- `mlops_kit.observation`: What a step looked at without having declared it: noted, digested, and part of its key from then on
- `mlops_kit.order`: The order of a loader's batches, so that it can be taken up again in the middle
- `mlops_kit.page`: Pictures and a page that need nothing but a browser, the same bytes every time
- `mlops_kit.parcel`: What a step needs and what it made, sent through a bucket
- `mlops_kit.pipeline`: From the configuration to steps that know what they need from each other
- `mlops_kit.planning`: What would run, what is reused, and why
- `mlops_kit.progress`: How a run is watched while it goes on, in a terminal and in a log file
- `mlops_kit.ranks`: Several processes that do one thing together: started by torchrun, watched from a notebook, and ended with it
- `mlops_kit.reasons`: Why two results differ
- `mlops_kit.recall`: What was found the last time, when nothing that it was made from has changed
- `mlops_kit.records`: What a run was, written down while it happens
- `mlops_kit.remote`: Send results elsewhere and fetch them, verified both ways
- `mlops_kit.resumption`: A training that was interrupted goes on as if nothing had happened
- `mlops_kit.runner`: Carry out a plan: in parallel, once per key, and with a true account of every end
- `mlops_kit.search`: Let an optimiser choose what is tried next
- `mlops_kit.sending`: Bring Weights & Biases what it lacks, in a process that may die at any moment
- `mlops_kit.series`: The course of a training, point by point, in the ledger
- `mlops_kit.snapshots`: The last good states of something that takes long, in a folder that survives it
- `mlops_kit.sources`: What steps read from outside: looked at before a run, kept while it goes on
- `mlops_kit.stillness`: When processes do nothing, and where they stand
- `mlops_kit.store`: Keep bytes, files and folders under the digest of their content
- `mlops_kit.sweep`: Many runs of one pipeline that share what they share
- `mlops_kit.tracking`: Weights & Biases as a guest: offline by default, inside the run's folder, never in the way
- `mlops_kit.training`: Lightning from config: seeded, quiet, with the best weights and a history at the end
- `mlops_kit.upkeep`: Check a store, clear it, and never get in the way of work
- `mlops_kit.verification`: Execute recorded steps again and compare every byte: a proof, or the place where they differ and why
- `mlops_kit.warm`: A parent process with the heavy packages imported, that forks a child for each notebook
- `mlops_kit.witness`: Sits in the process of a step and notes what the step looks at besides its inputs
- `mlops_kit.worker`: A step that is carried out on another machine"""

__version__ = "0.1.0"

_HOME = {
    "run": "runner", "plan": "runner", "runs": "runner", "show": "runner", "verify": "verification", "why": "reasons",
    "Run": "records", "Plan": "planning", "Store": "store", "digest": "store", "compose": "config", "MlopsError": "errors",
}
__all__ = list(_HOME)


def __getattr__(name):
    "Import what is offered when it is used: `import mlops_kit` stays light"
    if name not in _HOME:
        raise AttributeError(f"module 'mlops_kit' has no attribute {name!r}")
    from importlib import import_module
    return getattr(import_module(f"mlops_kit.{_HOME[name]}"), name)


def load_ipython_extension(shell):
    "`%load_ext mlops_kit` in a notebook"
    from mlops_kit.lab import load_ipython_extension
    load_ipython_extension(shell)
