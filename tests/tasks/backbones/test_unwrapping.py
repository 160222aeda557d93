"""Checkpoints as training scripts write them: whatever is around the weights is taken off, and said."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tasks.backbones import weights
from tasks.backbones.unwrapping import chosen
from tasks.errors import UserError
from tests.tasks.backbones.files import SIZE, SMALL, State, drawn, same, saved

pytestmark = pytest.mark.usefixtures("sources")

PLACES = ["net", "model_state", "weights", "ema", "params_ema", "teacher", "state.model", "a.b.c"]
PREFIXES = ["backbone.", "encoder_q.", "student.", "module.encoder_q.", "_orig_mod.module.", "any.of.mine."]
SEGMENTS = st.sampled_from(["layer", "0", "1", "conv", "weight", "bias", "model", "net"])
NAMES = st.sets(st.lists(SEGMENTS, min_size=1, max_size=4).map(".".join), min_size=1, max_size=8)


def inside(place: str, content: object) -> object:
    """Return content under dotted keys."""
    for key in reversed(place.split(".")):
        content = {key: content}
    return content


def under(prefix: str, state: State) -> State:
    """Return a state dict with a prefix before every name."""
    return {prefix + name: tensor for name, tensor in state.items()}


def retrieved(folder: Path, content: object) -> tuple[State, str]:
    """Return what is made of a file's content, and what is said of it."""
    state, record = weights.retrieve(saved(folder, content), SIZE)
    return state, "; ".join(record.lines())


@pytest.mark.parametrize("place", PLACES)
def test_weights_are_found_wherever_they_are(tmp_path: Path, place: str) -> None:
    """The place is said; figures of the training beside it are no difference."""
    content = {**inside(place, drawn(SMALL)), "epoch": 3, "best": np.float64(0.5), "optimizer": {"state": {0: {}}}}
    state, said = retrieved(tmp_path, content)
    assert same(state, drawn(SMALL))
    assert f"'{place}'" in said


@pytest.mark.parametrize("prefix", PREFIXES)
def test_any_prefix_is_taken_off(tmp_path: Path, prefix: str) -> None:
    """Whatever it is, and said."""
    state, said = retrieved(tmp_path, {"state_dict": under(prefix, drawn(SMALL))})
    assert same(state, drawn(SMALL))
    assert f"prefix '{prefix}'" in said


def test_averaged_weights_come_first(tmp_path: Path) -> None:
    """Of a model and its average, and of a student and its teacher; what else is there is named."""
    for plain, averaged in (("model", "ema"), ("student", "teacher"), ("state_dict", "state_dict_ema")):
        state, said = retrieved(tmp_path, {plain: drawn(SMALL, 1), averaged: drawn(SMALL, 2)})
        assert same(state, drawn(SMALL, 2))
        assert f"under '{averaged}'" in said
        assert plain in said


def test_an_average_that_lacks_layers_does_not(tmp_path: Path) -> None:
    """An average of some layers alone is no network."""
    part = {name: tensor for name, tensor in drawn(SMALL, 2).items() if name.startswith("conv")}
    assert same(retrieved(tmp_path, {"model": drawn(SMALL, 1), "ema": part})[0], drawn(SMALL, 1))


def test_a_contrastive_checkpoint(tmp_path: Path) -> None:
    """Its projection is left out, the classifier drawn new, the second encoder and the queue are left out: all said."""
    body = {name: tensor for name, tensor in drawn(SMALL).items() if not name.startswith("fc.")}
    projection = {"fc.0.weight": torch.zeros(8, 8), "fc.2.bias": torch.zeros(8)}
    queries, keys = (
        under("module.encoder_q.", body | projection),
        under("module.encoder_k.", dict.fromkeys(body, torch.zeros(1))),
    )
    together = {**keys, **queries, "module.queue": torch.zeros(4)}
    state, said = retrieved(tmp_path, {"state_dict": together, "epoch": 9})
    assert all(torch.equal(state[name], body[name]) for name in body)
    assert state["fc.weight"].shape == drawn(SMALL)["fc.weight"].shape
    for part in ("module.encoder_q.", "left out", "module.queue", "fc.0.weight", "drawn new"):
        assert part in said


def test_a_body_without_a_classifier(tmp_path: Path) -> None:
    """A file of the body alone is taken; half a classifier is damage."""
    body = {name: tensor for name, tensor in drawn(SMALL).items() if name != "fc.weight"}
    with pytest.raises(UserError, match=r"1 missing \(such as fc\.weight\)"):
        retrieved(tmp_path, body)
    del body["fc.bias"]
    state, said = retrieved(tmp_path, body)
    assert all(torch.equal(state[name], body[name]) for name in body)
    assert "'fc', which the file has not, is drawn new" in said


def test_a_prefix_on_some_names_is_no_wrapper(tmp_path: Path) -> None:
    """A file whose names are the network's in part, and wrapped in part, is refused."""
    state = {("net." if name.startswith("stage") else "") + name: tensor for name, tensor in drawn(SMALL).items()}
    with pytest.raises(UserError, match="missing"):
        retrieved(tmp_path, state)


@given(names=NAMES, prefix=st.sampled_from(["", *PREFIXES]), place=st.sampled_from(["", *PLACES]))
def test_names_come_back(names: set[str], prefix: str, place: str) -> None:
    """Whatever a network's names are, its own weights are found again, and nothing is said where nothing was done."""
    state = {name: torch.full((1,), float(number)) for number, name in enumerate(sorted(names))}
    inside, notes = chosen({place: under(prefix, state)}, names)
    assert inside == state
    assert bool(notes) == bool(prefix or place)
