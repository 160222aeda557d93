"""Pretrained weights: retrieved and verified."""

from tasks import layout
from tasks.backbones import weights
from tasks.backbones.architecture import State
from tasks.backbones.weights import WeightsRecord
from tasks.errors import UnavailableError
from tasks.params import BackboneParams, NetworkParams, load_params
from tasks.runs import named_files
from tasks.runs.candidates import NOTHING_IN_BACKBONE
from tasks.runs.working_size import working_size


def backbone(network: str = "") -> WeightsRecord:
    """Retrieve and verify a network's pretrained weights; return their record.

    Args:
        network: one of ``backbones``; empty: ``backbone``, which is left out where only ``backbones`` names any.

    Raises:
        UserError: there is no such network, or something is wrong with its weights.
        UnavailableError: no source has the weights of a network that is not optional.
    """
    params = load_params(layout.PARAMS)
    described = params.network(network) if network else params.backbone
    if network or network in params.networks:
        state, record = _retrieved(described, working_size(params.data))
    else:
        state, record = {}, weights.left_out(described, NOTHING_IN_BACKBONE)
    named_files.link(described, network)
    weights.store(state, record, layout.weights(network), layout.weights_record(network))
    return record


def _retrieved(described: BackboneParams, size: int) -> tuple[State, WeightsRecord]:
    try:
        return weights.retrieve(described, size)
    except UnavailableError as error:
        if not (isinstance(described, NetworkParams) and described.optional):
            raise
        return {}, weights.left_out(described, str(error))
