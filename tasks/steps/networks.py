"""Which networks compete, as the stages behind are told: a file that changes with the params that are about it."""

from tasks import layout
from tasks.files import write_json
from tasks.params import load_params
from tasks.runs.candidates import what_competes


def networks() -> list[str]:
    """Write which networks compete and how they are screened; return their names, those of one alone too."""
    params = load_params(layout.PARAMS)
    write_json(layout.COMPETING, what_competes(params))
    return [params.network_title(name) for name in params.networks]
