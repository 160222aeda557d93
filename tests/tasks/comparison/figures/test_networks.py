"""Networks by strategies, and scores against speed: what is drawn is what was measured."""

from dataclasses import replace

from tasks.comparison.entrants import Entrant
from tasks.comparison.figures.networks import draw_networks, draw_speeds
from tests.tasks.comparison.conftest import MakeEntrant, comparison_of, ranked_of


def of(entrant: Entrant, network: str, milliseconds: float) -> Entrant:
    """Return a candidate that was fine-tuned from a network."""
    return replace(entrant, name=f"{network}/{entrant.name}", network=network, milliseconds=milliseconds)


def test_every_candidate_has_its_place(entrant: MakeEntrant) -> None:
    """The map has a row a strategy, a column a network, and in each place the validation metric; a star is one's."""
    entrants = [
        of(entrant(name, skill, seed=seed), network, milliseconds)
        for network, milliseconds, more in (("slow", 20.0, 2.0), ("fast", 10.0, 0.0))
        for seed, (name, skill) in enumerate({"full": 1.0 + more, "head_only": 0.5 + more}.items())
    ]
    comparison = comparison_of(ranked_of(entrants))
    figure = draw_networks(comparison)
    assert figure is not None
    (axes,) = figure.axes
    networks, strategies = ([text.get_text() for text in labels] for labels in
                            (axes.get_xticklabels(), axes.get_yticklabels()))  # fmt: skip
    drawn = {
        f"{networks[round(text.get_position()[0])]}/{strategies[round(text.get_position()[1])]}": text.get_text()
        for text in axes.texts
    }
    assert {name: words.removeprefix("★ ") for name, words in drawn.items()} == {
        name: f"{result.val.auroc:.3f}" for name, result in comparison.strategies.items()
    }
    assert [name for name, words in drawn.items() if "★" in words] == [comparison.champion]


def test_speeds_are_those_of_the_networks(entrant: MakeEntrant) -> None:
    """A dot for everyone that was tested, at its network's milliseconds; the best of each network has its name."""
    entrants = [of(entrant(f"s{i}", 1.0 + i, seed=i), f"n{i % 2}", 10.0 + 30 * (i % 2)) for i in range(4)]
    comparison = comparison_of(ranked_of(entrants))
    figure = draw_speeds(comparison)
    assert figure is not None
    (axes,) = figure.axes
    dots = {tuple(float(part) for part in dots.get_offsets()[0]) for dots in axes.collections}
    assert dots == {(result.milliseconds, result.tested.auroc) for result in comparison.strategies.values()}
    words = " ".join(text.get_text() for text in axes.texts)
    assert all(f"n{place}/" in words for place in (0, 1))


def test_one_network_needs_no_picture(entrant: MakeEntrant) -> None:
    """Nothing is compared there."""
    comparison = comparison_of(ranked_of([entrant("full", 2.0), entrant("head_only", 1.0)]))
    assert draw_networks(comparison) is None
    assert draw_speeds(comparison) is None
