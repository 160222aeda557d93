"""Who is trained to the end: with a time budget all strategies race, without one nobody is stopped."""

from tasks import layout
from tasks.files import atomic_path, write_json
from tasks.params import load_params


def race() -> list[str]:
    """Write for every strategy after how many epochs it stops, and return what to say of it.

    What is trained here is taken over by the strategy's fine-tuning. Without a budget nothing is trained.
    """
    params = load_params(layout.PARAMS)
    stops = _stops(list(params.strategies), params.train.budget) if params.train.budget else {}
    with atomic_path(layout.RACE) as folder:
        folder.mkdir()
        for name in params.strategies:
            epochs, reason = stops.get(name, (None, ""))
            write_json(folder / layout.race_file(name).name, {"epochs": epochs, "reason": reason})
    return [f"{name} stops after epoch {epochs}: {reason}" for name, (epochs, reason) in stops.items()]


def _stops(strategies: list[str], budget: float) -> dict[str, tuple[int, str]]:
    from tasks.steps.racers import Race  # only a race needs what trains

    return Race.of(strategies, budget).run()
