"""A process of its own that reads saved weights and answers logits: ``python -m tests.tasks.strategies.reader``."""

import json
import sys
from pathlib import Path

import numpy as np
import torch

from tasks.backbones import weights
from tasks.params import StrategyParams
from tasks.strategies import surgery
from tasks.training.device import Hardware
from tasks.training.inference import predict
from tests.tasks.strategies import slim
from tests.tasks.training.conftest import whole_split


def main() -> None:
    """Read a job a line: the family, the strategy's settings, the weights, the images, and where the logits go."""
    for line in sys.stdin:
        job = json.loads(line)
        settings = StrategyParams.model_validate(job["settings"])
        images = np.load(job["images"])
        adapted = surgery.adapt(
            slim.find(job["family"]), None, images.shape[1], job["classes"], images.shape[3], settings
        )
        weights.fill(adapted.model, weights.load(Path(job["weights"])))
        hardware = Hardware(torch.device("cpu"), bfloat16=job["bfloat16"])
        np.save(job["logits"], predict(adapted, whole_split(images, job["classes"]), hardware).numpy())
        print("done", flush=True)


if __name__ == "__main__":
    main()
