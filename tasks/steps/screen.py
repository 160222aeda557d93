"""Which of several networks are fine-tuned: where one competes alone, there is nothing to find out, and in no time."""

from tasks import layout
from tasks.comparison.screening import Screening
from tasks.errors import UserError
from tasks.files import write_json
from tasks.params import load_params


def screen() -> Screening:
    """Look at every network that competes, keep the best, and write what was found.

    Raises:
        UserError: no network can be kept, or one is too large for this machine.
    """
    params, screening = load_params(layout.PARAMS), Screening()
    if params.backbones:
        from tasks.runs.screening import screened

        screening = Screening(networks=screened(params))
        if not screening.kept:
            reasons = "; ".join(f"{one.network}: {one.why}" for one in screening.networks)
            raise UserError(f"params.yaml: no network is left to fine-tune ({reasons})")
    write_json(layout.SCREENING, screening.model_dump(mode="json"))
    return screening
