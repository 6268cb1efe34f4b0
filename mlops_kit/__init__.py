"""Write it in a notebook, run it anywhere, and prove it: reproducible experiments from notebooks

Modules:

- `mlops_kit.capture.audit_hooks`: Sits in the process of a step and notes what the step looks at besides its inputs
- `mlops_kit.capture.code_observer`: Sits in the process of a step and notes which modules it loads, which functions run, and where names are looked for
- `mlops_kit.capture.distributions`: Which installed distribution a file belongs to, and in what state that distribution is
- `mlops_kit.capture.environment`: What may influence a result besides code and data: how it is fixed, and recorded
- `mlops_kit.capture.held_files`: Without the access log: which files compiled code has open, looked at after each cell
- `mlops_kit.capture.import_search`: Where a name would be imported from, found without importing anything
- `mlops_kit.capture.instruments`: The code that makes a process observe itself
- `mlops_kit.capture.mentions`: Which names a piece of code uses, and whether it could find names that it does not use
- `mlops_kit.capture.native_accesses`: What native readers and other programs asked for, in the terms of Python's own hooks
- `mlops_kit.capture.observations`: What a step was seen to use, beyond what it declares: collected, remembered, and part of its key
- `mlops_kit.capture.questions`: What was observed, as questions that can be asked again, and their answers now
- `mlops_kit.capture.source_units`: A module as a step sees it: what ran of it, and everything else but the bodies of functions that didn't run
- `mlops_kit.cli.commands`: The commands of `mlops` and their options
- `mlops_kit.cli.parser`: How commands are declared, parsed and run
- `mlops_kit.cli.progress`: How a run is watched while it goes on, in a terminal and in a log file
- `mlops_kit.cli.reports`: How answers of verify, lineage, fsck, gc, show --history and sync look in a terminal
- `mlops_kit.cli.terminal`: How plans, runs and steps look in a terminal
- `mlops_kit.cluster.batch_queues`: Workers of Dask as jobs of Slurm, PBS, SGE, LSF and other batch systems
- `mlops_kit.cluster.bundle`: What a step needs and what it made, sent through a bucket
- `mlops_kit.cluster.connection`: The scheduler of Dask, the cluster behind it, and what is known about its workers
- `mlops_kit.cluster.dask_cluster`: An executor that sends steps to workers of Dask
- `mlops_kit.cluster.worker`: A step that runs on another machine
- `mlops_kit.compare.arrays`: The tensor and the element in which two files of arrays differ
- `mlops_kit.compare.difference`: One place where two results differ; how bytes, text, pages and JSON are compared
- `mlops_kit.compare.files`: Where two files, folders or stored results differ
- `mlops_kit.compare.images`: The pixels in which two images differ
- `mlops_kit.compare.notebooks`: The cell in which two executions of a notebook differ
- `mlops_kit.compare.tables`: The column and row in which two tables differ
- `mlops_kit.config`: Find the project and compose its configuration, the same way for command line, notebook and library
- `mlops_kit.demo`: Small projects for lessons and tests: notebooks and a pipeline from a few strings
- `mlops_kit.display`: Pictures and a page that need nothing but a browser, the same bytes every time
- `mlops_kit.engine.access_log`: Logs what native readers and other programs ask the file system for, where Python's own hooks hear nothing
- `mlops_kit.engine.execute`: Execute one notebook in a process of its own, follow it, and report how it ended
- `mlops_kit.engine.forkserver`: A server process that has heavy packages imported and forks a child for each notebook
- `mlops_kit.engine.import_graph`: Notes which modules import which, and hides what was imported in advance until somebody asks for it
- `mlops_kit.engine.inprocess`: Execute a notebook's cells in this process, with the outputs of a Jupyter kernel
- `mlops_kit.engine.kernel`: Execute a notebook's cells in a real Jupyter kernel, through papermill: the reference engine
- `mlops_kit.engine.papermill_engine`: Run papermill in a child process: save less often, keep secrets out, say how it ended
- `mlops_kit.engine.preloader`: Imports packages before a notebook needs them, and notes what they look at meanwhile
- `mlops_kit.engine.process`: A child process that can be killed together with everything it started
- `mlops_kit.errors`: The errors that the kit raises on purpose, each with what happened, where, and what to do
- `mlops_kit.examples.digits`: The digits example: handwritten digits, and a small network that reads them
- `mlops_kit.examples.federated`: Train on rows that stay where they are: only weights and counts travel
- `mlops_kit.examples.flights.data`: The flights example: what is known about a flight before departure
- `mlops_kit.examples.flights.network`: The flights example: a small network that predicts the chance of a late flight
- `mlops_kit.examples.flights.report`: The flights example: scores, pictures, and what a page says about them
- `mlops_kit.explanation.bisect`: Execute mixtures of two runs, to find which of several changes made the difference
- `mlops_kit.explanation.bisect_report`: The result of a bisection as lines, HTML and JSON
- `mlops_kit.explanation.causes`: Which changes can have caused the differences between two results
- `mlops_kit.explanation.changes`: What changed between two records of a step: values, data, environment
- `mlops_kit.explanation.code_changes`: What changed in the code of a step: cells, and functions of the project
- `mlops_kit.explanation.distance`: How near a piece of code is to an output, by the names that connect them
- `mlops_kit.explanation.exchange`: A record with one part exchanged: a parameter, cells, a file, a source, the seed
- `mlops_kit.explanation.report`: The answer of `why`: a conclusion, and the same content as lines, HTML and JSON
- `mlops_kit.explanation.step_changes`: What is known about a step in two runs, and everything that changed between them
- `mlops_kit.explanation.why`: Why the results of two runs differ
- `mlops_kit.jupyter.kernelspec`: JupyterLab with a kernel that starts at once, because heavy packages are imported already
- `mlops_kit.jupyter.magics`: The same steps, plans and runs in JupyterLab
- `mlops_kit.ledger.history`: The metric history of a training run, in the ledger
- `mlops_kit.ledger.lineage`: Trace any file back to what made it, and forward to what used it
- `mlops_kit.ledger.maintenance`: Check a store for damage, and remove what it no longer needs
- `mlops_kit.ledger.records`: Write down what a run does while it does it, and find it again
- `mlops_kit.ledger.remote`: Share records, runs and all that they name: push and pull
- `mlops_kit.ledger.schema`: The JSON files of the ledger: what they contain, and the one reader that checks them
- `mlops_kit.ledger.transport`: Move files between a store and a remote, verified on the way
- `mlops_kit.notebook.dependencies`: What the cells of a notebook say, and which modules they mention
- `mlops_kit.notebook.nondeterminism`: Why a result comes out differently: the usual suspects in a piece of code
- `mlops_kit.notebook.parameters`: A notebook as a step: its cells, and what it can be given
- `mlops_kit.pipeline.api`: What users call: plan, run, resume, runs, show
- `mlops_kit.pipeline.compose_cache`: Reuse a composed configuration while nothing has changed
- `mlops_kit.pipeline.executors`: Where steps run: in this process' threads, or on a cluster
- `mlops_kit.pipeline.graph`: Read a pipeline from the configuration: steps and what they need from each other
- `mlops_kit.pipeline.interrupt`: Ctrl-C, SIGTERM and the end of the terminal, as requests to a run
- `mlops_kit.pipeline.keys`: The key of a step: the digest of everything that its result may depend on
- `mlops_kit.pipeline.plan`: What would run, what is reused, and why
- `mlops_kit.pipeline.prepare`: Check every notebook against its step
- `mlops_kit.pipeline.publishing`: Check what a step produced, and publish its record
- `mlops_kit.pipeline.replay`: Execute a recorded step again, from nothing but its record
- `mlops_kit.pipeline.scheduler`: Run the steps of a plan: in parallel, within the machine's resources, each key once
- `mlops_kit.pipeline.staging`: The request to run a step, and the folder it runs in
- `mlops_kit.pipeline.step`: Run one step: its scratch folder, its process, its outcome
- `mlops_kit.redaction`: What is secret stays out of everything that is kept or shown
- `mlops_kit.store.files`: Every write, rename, lock and sync that the kit makes on disk, in one place
- `mlops_kit.store.leases`: Which process holds what, so that nobody ever has to unlock anything by hand
- `mlops_kit.store.objects`: Keep bytes, files and folders under the digest of their content
- `mlops_kit.store.sources`: What steps read from outside: looked at before a run, kept while it goes on
- `mlops_kit.sweep.leaderboard`: The trials of a sweep and their results, best first
- `mlops_kit.sweep.plots`: Plots of a sweep: its progress, the values that do well, and the parameters that matter
- `mlops_kit.sweep.search`: Let an optimiser choose what to try next
- `mlops_kit.sweep.space`: What a sweep may try: distributions, samplers and pruners of Optuna
- `mlops_kit.sweep.trials`: Run one pipeline many times and compute what the runs share once
- `mlops_kit.tracking.mirror`: Describe what Weights & Biases shows of a run, from the ledger alone
- `mlops_kit.tracking.sync`: Upload to Weights & Biases what it lacks, in a process that may be killed at any moment
- `mlops_kit.tracking.wandb_client`: Keep Weights & Biases offline by default, and inside the run's folder
- `mlops_kit.training.batches`: Rows that fit into memory, a whole batch at a time
- `mlops_kit.training.build`: Objects from a Hydra config, made of allowed classes only
- `mlops_kit.training.loader_state`: Resume a loader in the middle of an epoch
- `mlops_kit.training.object_state`: Dump the state of Python objects as plain values and tensors, and load it again
- `mlops_kit.training.onnx_export`: A trained network as a file that runs without Python: ONNX, and ONNX with eight bits
- `mlops_kit.training.resume`: Resume an interrupted training run exactly where it stopped
- `mlops_kit.training.snapshots`: Save and load the latest states of a long computation
- `mlops_kit.training.torchrun`: Start several processes with torchrun, watch them, and end them together
- `mlops_kit.training.trainer`: Train a Lightning model from config: seeded, quiet, with the best weights and the history
- `mlops_kit.training.trainer_state`: Capture and restore everything a training run holds between two batches
- `mlops_kit.training.watchdog`: Detect processes that do nothing, and show where they are stuck
- `mlops_kit.training.weights`: Save and load the weights of a model as safetensors
- `mlops_kit.verification.case`: A recorded step under test: execute it again and compare with the record
- `mlops_kit.verification.diagnose`: Why a step does not repeat: the first diverging cell, and the hazard behind it
- `mlops_kit.verification.fingerprint`: Digests of all variables of a notebook after each cell
- `mlops_kit.verification.perturb`: Change what must not matter: time zone, home, user, folder order, clock, memory
- `mlops_kit.verification.verify`: Execute recorded steps again and compare every byte"""

__version__ = "0.1.0"

_HOME = {
    "run": "pipeline", "plan": "pipeline", "runs": "pipeline", "show": "pipeline", "verify": "verification",
    "why": "explanation", "Run": "ledger", "Plan": "pipeline", "Store": "store", "digest": "store", "compose": "config",
    "MlopsError": "errors",
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
    from mlops_kit.jupyter import load_ipython_extension
    load_ipython_extension(shell)
