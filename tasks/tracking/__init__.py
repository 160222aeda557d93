"""MLflow: what happened. The only importer of MLflow."""

from tasks.tracking.metric_writer import history
from tasks.tracking.model_logging import has_program, log_model, log_program
from tasks.tracking.run_logging import log_curves, log_files, log_metrics
from tasks.tracking.runs import DataIdentity, abandon, abandon_started, finish, set_parent, set_tags, start_run
from tasks.tracking.store import absolute_uri, experiment_id, is_file, is_reached, run_address, shown_uri

__all__ = [
    "DataIdentity", "abandon", "abandon_started", "absolute_uri", "experiment_id", "finish", "has_program", "history",
    "is_file", "is_reached", "log_curves", "log_files", "log_metrics", "log_model", "log_program", "run_address",
    "set_parent", "set_tags", "shown_uri", "start_run",
]  # fmt: skip
