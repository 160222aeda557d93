"""Pretrained weights: retrieved and verified."""

from tasks import layout
from tasks.backbones import weights
from tasks.backbones.weights import WeightsRecord
from tasks.params import load_params
from tasks.runs import named_files


def backbone() -> WeightsRecord:
    """Retrieve and verify the pretrained weights; return their record."""
    params = load_params(layout.PARAMS)
    state, record = weights.retrieve(params.backbone, params.data.size)
    named_files.link(params.backbone)
    weights.store(state, record, layout.WEIGHTS, layout.WEIGHTS_RECORD)
    return record
