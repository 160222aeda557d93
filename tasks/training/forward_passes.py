"""All that changes how a network's layers compute while it trains, but not what."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from tasks.strategies.surgery import Adapted
from tasks.training.activation_checkpointing import activation_checkpointed
from tasks.training.depthwise import faster_gradients
from tasks.training.job import TrainingJob
from tasks.training.out_of_place import out_of_place
from tasks.training.parallel import Parallelism


@contextmanager
def adjusted_forward_passes(adapted: Adapted, job: TrainingJob, parallelism: Parallelism) -> Iterator[None]:
    """Let layers compute, for as long as the block runs, as the processes, the hardware and the settings ask for."""
    with ExitStack() as adjustments:
        adjustments.enter_context(parallelism.forward_passes(adapted.model))
        adjustments.enter_context(faster_gradients(adapted.model, job.hardware))
        adjustments.enter_context(out_of_place(adapted.model))
        if job.settings.activation_checkpointing:
            stages = [prefix for part in adapted.parts for prefix in part.prefixes]
            adjustments.enter_context(activation_checkpointed(adapted.model, stages))
        yield
