"""Private names of other packages that the engine relies on: an upgrade that removes one fails here with a sentence."""
import inspect

import pytest
from helpers.private_names import PYTHON, find, missing, name_problem, version_problem

IPYTHON, IPYKERNEL = ("ipython", ">=9,<10"), ("ipykernel", ">=7.4,<8")
NBCLIENT, PAPERMILL = ("nbclient", ">=0.11,<0.12"), ("papermill", ">=2.7,<3")
JUPYTER_CLIENT = ("jupyter_client", ">=8.10,<9")
PACKAGES = [IPYTHON, IPYKERNEL, NBCLIENT, PAPERMILL, JUPYTER_CLIENT, PYTHON]

KERNEL, STREAM = "ipykernel.ipkernel:IPythonKernel", "ipykernel.iostream:OutStream"
SHELL, CLIENT = "ipykernel.zmqshell:ZMQInteractiveShell", "nbclient.client:NotebookClient"
MANAGER = "papermill.engines:NotebookExecutionManager"

# (package, versions in which the name is known to exist), module:name, who uses it
NAMES = [
    (IPYTHON, f"{SHELL}.builtin_trap", "engine.forkserver"),
    (IPYTHON, f"{SHELL}.history_manager", "engine.inprocess"),
    (IPYTHON, f"{SHELL}.init_environment", "engine.inprocess"),
    (IPYTHON, f"{SHELL}.run_cell_async", "engine.inprocess"),
    (IPYTHON, f"{SHELL}.set_custom_exc", "engine.inprocess"),
    (IPYTHON, "IPython.core.history:HistoryManager.dir_hist", "engine.inprocess"),
    (IPYKERNEL, "ipykernel.debugger:_is_debugpy_available", "engine.inprocess"),
    (IPYKERNEL, f"{KERNEL}._abort_queues", "engine.inprocess"),
    (IPYKERNEL, f"{KERNEL}._execute_sleep", "engine.inprocess"),
    (IPYKERNEL, f"{KERNEL}._publish_status", "engine.inprocess"),
    (IPYKERNEL, f"{KERNEL}.execute_request", "engine.inprocess"),
    (IPYKERNEL, f"{KERNEL}.set_parent", "engine.inprocess"),
    (IPYKERNEL, f"{STREAM}._flush", "engine.inprocess"),
    (IPYKERNEL, f"{STREAM}._is_master_process", "engine.inprocess"),
    (IPYKERNEL, f"{STREAM}._schedule_flush", "engine.inprocess"),
    (IPYKERNEL, "ipykernel.iostream:IOPubThread.schedule", "engine.inprocess"),
    (NBCLIENT, f"{CLIENT}._display_id_map", "engine.kernel"),
    (NBCLIENT, f"{CLIENT}.async_start_new_kernel_client", "engine.kernel"),
    (NBCLIENT, f"{CLIENT}.clear_display_id_mapping", "engine.kernel"),
    (NBCLIENT, f"{CLIENT}.output", "engine.kernel"),
    (NBCLIENT, f"{CLIENT}.process_message", "engine.kernel"),
    (NBCLIENT, f"{CLIENT}.reset_execution_trackers", "engine.kernel"),
    (NBCLIENT, f"{CLIENT}.set_widgets_metadata", "engine.kernel"),
    (NBCLIENT, f"{CLIENT}.wait_for_reply", "engine.kernel"),
    (NBCLIENT, "nbclient.client:CellExecutionComplete", "engine.kernel"),
    (NBCLIENT, "nbclient.client:timestamp", "engine.kernel"),
    (PAPERMILL, "papermill.clientwrap:PapermillNotebookClient.papermill_execute_cells", "engine.kernel"),
    (PAPERMILL, f"{MANAGER}.cleanup_pbar", "engine.papermill_engine"),
    (PAPERMILL, f"{MANAGER}.now", "engine.papermill_engine"),
    (PAPERMILL, "papermill.iorw:papermill_io.register", "engine.papermill_engine"),
    (JUPYTER_CLIENT, "jupyter_client.manager:KernelManager._kernel_spec", "engine.kernel"),
    (PYTHON, "atexit:_run_exitfuncs", "engine.process"),
    (PYTHON, "threading:_shutdown", "engine.process"),
    (PYTHON, "_thread:start_new_thread", "engine.process"),
]
# names that a class's own methods read or set, so that they exist on its instances only: class, name, who uses it
INSTANCE_NAMES = [
    (IPYKERNEL, STREAM, "_buffer_lock", "engine.inprocess"),
    (IPYKERNEL, STREAM, "_flush_pending", "engine.inprocess"),
    (IPYKERNEL, STREAM, "_original_stdstream_copy", "engine.inprocess"),
    (IPYKERNEL, STREAM, "pub_thread", "engine.inprocess"),
    (IPYKERNEL, "ipykernel.kernelbase:Kernel", "shell_channel_thread", "engine.inprocess"),
    (NBCLIENT, CLIENT, "clear_before_next_output", "engine.kernel"),
    (NBCLIENT, CLIENT, "code_cells_executed", "engine.kernel"),
    (NBCLIENT, CLIENT, "output_hook_stack", "engine.kernel"),
    (PAPERMILL, MANAGER, "end_time", "engine.papermill_engine"),
    (PAPERMILL, MANAGER, "last_save_time", "engine.papermill_engine"),
    (PAPERMILL, MANAGER, "pbar", "engine.papermill_engine"),
]


@pytest.mark.parametrize("package, name, user", NAMES, ids=[name.rpartition(":")[2] for _, name, _ in NAMES])
def test_a_private_name_exists(package: tuple[str, str], name: str, user: str):
    assert not name_problem(package, name, user)


@pytest.mark.parametrize("package, owner, name, user", INSTANCE_NAMES, ids=[name for _, _, name, _ in INSTANCE_NAMES])
def test_a_class_uses_a_private_attribute(package: tuple[str, str], owner: str, name: str, user: str):
    assert f"self.{name}" in inspect.getsource(find(owner)), missing(package, f"{owner}.{name}", user)


@pytest.mark.parametrize("package", PACKAGES, ids=[name for name, _ in PACKAGES])
def test_the_version_is_one_in_which_these_names_were_checked(package: tuple[str, str]):
    assert not version_problem(package)


def test_a_missing_name_and_an_unknown_version_are_reported():
    assert "mend engine.process" in name_problem(PYTHON, "threading:_no_such_name", "engine.process")
    assert "widen the range" in version_problem(("nbclient", ">=99"))
