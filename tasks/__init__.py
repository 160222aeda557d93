"""Thawline's working rooms: pure code below, the steps that join it above (see ``tasks.steps``)."""

import os

# Telemetry of the tools stays off unless the user turns it on; each reads its variable when it is imported.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("DVC_NO_ANALYTICS", "true")
