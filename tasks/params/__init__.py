"""``params.yaml``, typed: a module a section, and what a key means stands beside the key.

``python -m tasks params`` prints the meanings, ``docs/reference/params.md`` lists them, and editors know them by
``docs/reference/params.schema.json``.
"""

from tasks.params.augment import AugmentParams
from tasks.params.backbone import BackboneParams, NetworkParams, PartsParams
from tasks.params.compare import CompareParams
from tasks.params.data import TABLES, DataParams, expanded
from tasks.params.layers import AdaptersParams, HeadParams, StemParams
from tasks.params.loading import Params, load_params, must_have_sections
from tasks.params.retrain import RetrainParams
from tasks.params.run import RunParams
from tasks.params.screen import ScreenParams
from tasks.params.split import SplitParams
from tasks.params.strategies import PhaseParams, Start, StrategyParams
from tasks.params.train import Sampling, SharedParams, TrainParams
from tasks.params.values import FIND, PRETRAINING_RATE, Rates, TrainSize

__all__ = [
    "FIND",
    "PRETRAINING_RATE",
    "TABLES",
    "AdaptersParams",
    "AugmentParams",
    "BackboneParams",
    "CompareParams",
    "DataParams",
    "HeadParams",
    "NetworkParams",
    "Params",
    "PartsParams",
    "PhaseParams",
    "Rates",
    "RetrainParams",
    "RunParams",
    "Sampling",
    "ScreenParams",
    "SharedParams",
    "SplitParams",
    "Start",
    "StemParams",
    "StrategyParams",
    "TrainParams",
    "TrainSize",
    "expanded",
    "load_params",
    "must_have_sections",
]
