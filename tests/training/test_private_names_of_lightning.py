"""Private names of other packages that the kit relies on: an upgrade that removes one fails here with a sentence."""
import pytest
from helpers.private_names import name_problem, version_problem

LIGHTNING, TORCH = ("lightning", ">=2.6.6,<2.7"), ("torch", ">=2.13,<2.14")
LOOPS = "lightning.pytorch.loops"
RESULT = "lightning.pytorch.trainer.connectors.logger_connector.result"
CONNECTOR = "lightning.pytorch.trainer.connectors.checkpoint_connector:_CheckpointConnector"

# (package, versions in which the name is known to exist), module:name, who uses it
NAMES = [
    (LIGHTNING, f"{LOOPS}.fit_loop:_FitLoop.on_run_start", "training.resume"),
    (LIGHTNING, f"{LOOPS}.fit_loop:_FitLoop.on_advance_start", "training.resume"),
    (LIGHTNING, f"{LOOPS}.fit_loop:_FitLoop._load_combined_loader_states", "training.resume"),
    (LIGHTNING, f"{LOOPS}.training_epoch_loop:_TrainingEpochLoop.on_run_start", "training.resume"),
    (LIGHTNING, f"{LOOPS}.training_epoch_loop:_TrainingEpochLoop.on_advance_end", "training.resume"),
    (LIGHTNING, f"{LOOPS}.training_epoch_loop:_TrainingEpochLoop._should_check_val_fx", "training.resume"),
    (LIGHTNING, f"{LOOPS}.training_epoch_loop:_TrainingEpochLoop._should_accumulate", "training.trainer_state"),
    (LIGHTNING, f"{LOOPS}.evaluation_loop:_EvaluationLoop.setup_data", "training.resume"),
    (LIGHTNING, f"{LOOPS}.evaluation_loop:_EvaluationLoop.on_iteration_done", "training.resume"),
    (LIGHTNING, f"{RESULT}:_Metadata", "training.trainer_state"),
    (LIGHTNING, f"{RESULT}:_ResultMetric", "training.trainer_state"),
    (LIGHTNING, f"{RESULT}:_Sync", "training.trainer_state"),
    (LIGHTNING, f"{CONNECTOR}.dump_checkpoint", "training.trainer_state"),
    (LIGHTNING, f"{CONNECTOR}.restore_optimizers_and_schedulers", "training.trainer_state"),
    (LIGHTNING, "lightning.pytorch.trainer.call:_call_callbacks_load_state_dict", "training.trainer_state"),
    (TORCH, "torch.distributed:ProcessGroup._get_sequence_number_for_group", "training.torchrun"),
    (TORCH, "torch.utils.data:DataLoader._auto_collation", "training.loader_state"),
]
# attributes of objects, by the path from a trainer or a module: who uses them
TRAINER_ATTRIBUTES = {
    "_checkpoint_connector._loaded_checkpoint": "training.trainer_state",
    "_logger_connector._progress_bar_metrics": "training.trainer_state",
    "_logger_connector._logged_metrics": "training.trainer_state",
    "_logger_connector._callback_metrics": "training.trainer_state",
    "_logger_connector._current_fx": "training.trainer_state",
    "_logger_connector._first_loop_iter": "training.trainer_state",
    "fit_loop._combined_loader": "training.trainer_state",
    "fit_loop._data_fetcher": "training.resume",
    "fit_loop._last_train_dl_reload_epoch": "training.trainer_state",
    "fit_loop._restarting": "training.resume",
    "fit_loop._loaded_from_state_dict": "training.resume",
    "fit_loop._resuming_from_checkpoint": "training.resume",
    "fit_loop.epoch_loop._results": "training.trainer_state",
    "fit_loop.epoch_loop.val_loop._results": "training.trainer_state",
    "fit_loop.epoch_loop.val_loop._combined_loader": "training.resume",
}
MODULE_ATTRIBUTES = {"_buffers": "training.trainer_state", "_non_persistent_buffers_set": "training.trainer_state"}


@pytest.mark.parametrize("package, name, user", NAMES, ids=[name.rpartition(":")[2] for _, name, _ in NAMES])
def test_a_private_name_exists(package: tuple[str, str], name: str, user: str):
    assert not name_problem(package, name, user)


@pytest.mark.parametrize("name, user", TRAINER_ATTRIBUTES.items())
def test_a_trainer_has_a_private_attribute(name: str, user: str):
    from lightning.pytorch import Trainer
    trainer = Trainer(logger=False, enable_checkpointing=False, accelerator="cpu", enable_progress_bar=False)
    assert not name_problem(LIGHTNING, name, user, trainer)


@pytest.mark.parametrize("name, user", MODULE_ATTRIBUTES.items())
def test_a_module_has_a_private_attribute(name: str, user: str):
    from torch.nn import Module
    assert not name_problem(TORCH, name, user, Module())


@pytest.mark.parametrize("package", [LIGHTNING, TORCH], ids=["lightning", "torch"])
def test_the_version_is_one_in_which_these_names_were_checked(package: tuple[str, str]):
    assert not version_problem(package)


def test_a_missing_name_is_reported():
    assert "mend training.resume" in name_problem(TORCH, "torch.nn:Module._no_such_name", "training.resume")
