"""Parts are named by prefixes."""

from tasks.backbones.architecture import Part


def test_prefix_is_a_whole_name() -> None:
    """features.1 is not features.10."""
    part = Part("stage1", ("features.1", "token"))
    assert part.owns("features.1")
    assert part.owns("features.1.conv.weight")
    assert part.owns("token")
    assert not part.owns("features.10.conv.weight")
    assert not part.owns("features")
    assert not part.owns("tokens")
