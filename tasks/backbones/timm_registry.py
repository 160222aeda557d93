"""What timm says about its networks and their pretrained weights."""

import difflib
from typing import TYPE_CHECKING, Any

from tasks.errors import UserError, nearest

if TYPE_CHECKING:
    from timm.models import PretrainedCfg

PREFIX = "timm/"
PRETRAINED = "pretrained"


def config(name: str) -> "PretrainedCfg":
    """Return what timm states about a network and its pretrained weights.

    Raises:
        UserError: timm has no network of that name or no pretrained tag of that name for it.
    """
    timm = import_timm()
    architecture, _, tag = name.removeprefix(PREFIX).partition(".")
    if architecture not in timm.list_models():
        close = difflib.get_close_matches(architecture, timm.list_models(), n=1, cutoff=0.5)
        meant = nearest(f"{PREFIX}{architecture}", [f"{PREFIX}{match}" for match in close]) if close else ""
        raise UserError(f"params.yaml: backbone.name '{name}' is not a network of timm {timm.__version__}{meant}")
    tags = tags_of(architecture)
    if tag and tag not in tags:
        raise UserError(f"params.yaml: backbone.name '{name}' has no pretrained tag '{tag}'{nearest(tag, tags)}")
    cfg: PretrainedCfg | None = timm.models.get_pretrained_cfg(name.removeprefix(PREFIX))
    return cfg or timm.models.PretrainedCfg()


def tags_of(architecture: str) -> list[str]:
    """Return the pretrained tags of a network, which is named without ``timm/``."""
    listed = import_timm().list_models(architecture, include_tags=True)
    return [name.partition(".")[2] for name in listed if name.partition(".")[2]]


def tagged(name: str, weights: str) -> str:
    """Return the name of a network together with the pretrained tag of the weights that are asked for.

    Args:
        name: ``timm/NAME`` or ``timm/NAME.TAG``.
        weights: a tag, or ``pretrained`` for the one in the name or else timm's default.

    Raises:
        UserError: there is no such tag, or the name has another one.
    """
    cfg = config(name)
    architecture, _, tag_in_name = name.removeprefix(PREFIX).partition(".")
    tags = tags_of(architecture)
    if weights != PRETRAINED and weights not in tags:
        raise UserError(
            f"params.yaml: backbone.weights '{weights}' is neither a file nor a pretrained tag of "
            f"{PREFIX}{architecture}{nearest(weights, [*tags, PRETRAINED, 'none'])}"
        )
    if weights != PRETRAINED and tag_in_name not in {"", weights}:
        raise UserError(
            f"params.yaml: backbone.weights '{weights}' is not the pretrained tag of backbone.name '{name}'"
        )
    tag = cfg.tag if weights == PRETRAINED else weights
    return f"{PREFIX}{architecture}.{tag}" if tag else name


def repository(name: str) -> str:
    """Return the repository on the Hugging Face hub that has a network's weights.

    Raises:
        UserError: there is none.
    """
    cfg = config(name)
    if not cfg.hf_hub_id or cfg.hf_hub_filename:
        raise UserError(
            f"params.yaml: backbone.weights: timm has no safetensors file for {name} on the Hugging Face hub; "
            "give a file, or 'none' for random weights"
        )
    return str(cfg.hf_hub_id)


def import_timm() -> Any:
    """Return the library, whose import takes seconds that other networks don't need."""
    import timm
    import timm.models

    return timm
