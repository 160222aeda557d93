"""Fine-tunings that ended in the race: their outputs wait, so that their own stages need only take them over.

What a stage imports takes longer than what is left to do there; the race has imported it all.
"""

import platform
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

from tasks import layout
from tasks.data.store import index_of
from tasks.files import atomic_path, digest_of, read_json, sha256_of, write_json
from tasks.params import load_params
from tasks.runs.code import FINE_TUNING, digest_of_code

INPUTS = "inputs.json"


@contextmanager
def handed_over(strategy: str) -> Iterator[Path]:
    """Yield a folder for a strategy's outputs, which wait for its stage once the block ends well."""
    with atomic_path(_waiting(strategy)) as folder:
        folder.mkdir(parents=True)
        yield folder
        write_json(folder / INPUTS, {"digest": _digest_of_inputs(strategy)})


def is_waiting(strategy: str) -> bool:
    """Return whether a strategy's outputs wait, made of what its stage would be run on now."""
    file = _waiting(strategy) / INPUTS
    return file.is_file() and read_json(file) == {"digest": _digest_of_inputs(strategy)}


def take_over(strategy: str) -> bool:
    """Put a strategy's outputs where they belong, if they wait; return whether they did."""
    if not is_waiting(strategy):
        return False
    waiting = _waiting(strategy)
    for source in waiting.iterdir():
        if source.name != INPUTS:
            with atomic_path(layout.run_file(strategy, source.name)) as target:
                if source.is_dir():
                    shutil.copytree(source, target)
                else:
                    shutil.copyfile(source, target)
    shutil.rmtree(waiting)
    return True


def _waiting(strategy: str) -> Path:
    return layout.HANDED_OVER / strategy


def _digest_of_inputs(strategy: str) -> str:
    """Return a digest of what the stage depends on; whatever it takes to read that is imported in no time."""
    params = load_params(layout.PARAMS)
    network = layout.network_of(strategy)
    files = (
        layout.MANIFEST, index_of(layout.PIXELS), layout.weights(network), layout.weights_record(network),
        layout.race_file(strategy),
    )  # fmt: skip
    return digest_of(
        {
            "settings": params.strategy(strategy).model_dump(mode="json"),
            "network": params.networks[network].model_dump(mode="json"),
            "shared": params.model_dump(mode="json", include={"augment", "data", "split", "train"}),
            "files": {file.as_posix(): sha256_of(file) for file in files},
            "code": digest_of_code(FINE_TUNING),
            "torch": version("torch"),
            "machine": platform.node(),
        }
    )
