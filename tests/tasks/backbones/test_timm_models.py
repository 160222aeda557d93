"""timm's networks: divided like any other, built for a working size, with timm's own metadata."""

from pathlib import Path

import pytest
import timm
import torch

from tasks.backbones import catalogue, timm_registry, weights
from tasks.errors import UserError
from tasks.params import BackboneParams
from tests.tasks.backbones.conftest import Hub
from tests.tasks.backbones.files import same
from tests.tasks.backbones.skeletons import assert_divided, assert_runs_in_order, built, images, skeleton

# One of each kind: plain and hierarchical transformers, convolutional and mixed networks, mixers, with timm's groups
# and without (poolformer, pit), and such whose groups don't follow one another (cait, coat).
NAMES = [
    "cait_xxs24_224", "coat_lite_tiny", "convmixer_768_32", "davit_tiny", "deit3_small_patch16_224", "densenet121",
    "edgenext_xx_small", "efficientvit_b0", "ghostnet_100", "hrnet_w18_small", "inception_v3", "mixer_s32_224",
    "mobilenetv3_small_050", "mobilevit_xxs", "mvitv2_tiny", "pit_ti_224", "poolformer_s12", "pvt_v2_b0", "regnetx_002",
    "resmlp_12_224", "swin_tiny_patch4_window7_224", "test_byobnet", "test_convnext", "test_efficientnet",
    "test_mambaout", "test_nfnet", "test_resnet", "test_vit", "tiny_vit_5m_224", "vit_small_patch14_dinov2",
]  # fmt: skip
SMALL, TRANSFORMER = "timm/test_resnet.r160_in1k", "timm/test_vit.r160_in1k"


@pytest.mark.parametrize("name", NAMES)
def test_network_is_divided(name: str) -> None:
    """Every tensor and leaf module is in exactly one part, and a forward pass goes through the parts in order."""
    architecture = catalogue.find(f"timm/{name}")
    model = skeleton(f"timm/{name}")
    parts = assert_divided(architecture, model)
    assert_runs_in_order(architecture, model, parts, architecture.size)
    assert len(parts) >= 4


@pytest.mark.parametrize(
    ("name", "stages"),
    [("test_resnet", 4), ("test_convnext", 4), ("swin_tiny_patch4_window7_224", 4), ("deit3_small_patch16_224", 12)],
)
def test_stages_are_those_of_the_paper(name: str, stages: int) -> None:
    """A hierarchical network has as many stages as resolutions, a plain transformer as blocks."""
    assert len(catalogue.find(f"timm/{name}").split(skeleton(f"timm/{name}"))) == stages + 2


@pytest.mark.parametrize(("name", "norm"), [("test_convnext", "head.norm"), ("deit3_small_patch16_224", "norm")])
def test_last_norm_belongs_to_the_last_stage(name: str, norm: str) -> None:
    """A norm before the classifier is neither the head's nor a stage of its own."""
    *_, last, head = catalogue.find(f"timm/{name}").split(skeleton(f"timm/{name}"))
    assert last.owns(norm)
    assert len(last.prefixes) > 1
    assert not head.owns(norm)


def test_metadata_are_timms() -> None:
    """Input statistics, size and licence depend on the pretrained tag; how it was trained isn't known."""
    cfg = timm.get_pretrained_cfg("vit_base_patch16_224.augreg_in21k")
    architecture = catalogue.find("timm/vit_base_patch16_224.augreg_in21k")
    assert (architecture.mean, architecture.std) == (cfg.mean, cfg.std)
    assert architecture.size == cfg.input_size[-1]
    assert cfg.license in architecture.licence
    assert architecture.recipe is None
    assert built(architecture, 224).get_submodule(architecture.head).out_features == cfg.num_classes
    assert catalogue.find("timm/vit_base_patch16_224.mae").mean != architecture.mean


@pytest.mark.parametrize(
    ("name", "size"),
    [(SMALL, 64), (TRANSFORMER, 96), ("timm/swin_tiny_patch4_window7_224", 128), ("timm/vit_small_patch14_dinov2", 70)],
)
def test_network_is_built_for_the_working_size(name: str, size: int) -> None:
    """Transformers too, which are made for one size; the parts are those of any size."""
    architecture = catalogue.find(name)
    model = built(architecture, size)
    assert_divided(architecture, model)
    assert model(images(size)).shape[0] == 2


@pytest.mark.parametrize(
    "name", [SMALL, TRANSFORMER, "timm/vit_small_patch14_dinov2", "timm/swin_tiny_patch4_window7_224"]
)
def test_smallest_size_works(name: str) -> None:
    """The smallest size is one that the network takes, in evaluation and in training."""
    architecture = catalogue.find(name)
    model = built(architecture, architecture.smallest)
    model(images(architecture.smallest))
    model.train()(images(architecture.smallest))


@pytest.mark.parametrize(("name", "size"), [(TRANSFORMER, 101), ("timm/densenet121", 16)])
def test_size_that_it_does_not_take_is_refused(name: str, size: int) -> None:
    """A size that patches don't fill or that is too small is one sentence with the size that it was trained at."""
    architecture = catalogue.find(name)
    with pytest.raises(UserError, match=rf"data\.size {size} is none that {name} takes, .* {architecture.size}: ."):
        architecture.build(size)


def test_real_network_answers_logits() -> None:
    """A network with real, random weights answers finite logits, the same from the same seed."""
    architecture = catalogue.find(SMALL)
    answers = []
    for _ in range(2):
        torch.manual_seed(0)
        answers.append(architecture.build(64).eval()(torch.ones(1, 3, 64, 64)))
    assert answers[0].isfinite().all()
    assert torch.equal(*answers)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("timm/resnet_18", r"'timm/resnet_18' is not a network of timm \S+ \(did you mean 'timm/resnet"),
        ("timm/", r"'timm/' is not a network of timm"),
        ("timm/0000", r"'timm/0000' is not a network of timm \S+$"),
        ("timm/resnet18.a1_in2k", r"has no pretrained tag 'a1_in2k' \(did you mean 'a1_in1k'"),
        ("timm/deit_tiny_distilled_patch16_224", r"2 classifiers \(head, head_dist\)"),
        ("timm/repvgg_a0", r"2 convolutions of 3 input channels .* meet the image"),
        ("timm/naflexvit_base_patch16_gap", r"no convolution .*at the input.*Linear"),
        ("timm/qwen3_vit_88m_enc", r"answers \(2, \d+, \d+\) for 2 images"),
    ],
)
def test_network_that_can_not_be_used_says_why(name: str, said: str) -> None:
    """Misspelt names are answered with the nearest, and networks that don't fit in with the reason."""
    with pytest.raises(UserError, match=said) as caught:
        catalogue.find(name)
    assert str(caught.value).startswith(f"params.yaml: backbone.name '{name}'")


# Weights


def content_of(name: str, size: int) -> dict[str, torch.Tensor]:
    """Return random weights that no other draw gives."""
    torch.manual_seed(11)
    return catalogue.find(name).build(size).state_dict()


@pytest.mark.parametrize("asked", ["pretrained", "r160_in1k"])
@pytest.mark.parametrize("name", ["timm/test_resnet", "timm/test_resnet.r160_in1k"])
def test_pretrained_tag_comes_from_either_key(hub: Hub, name: str, asked: str) -> None:
    """With the tag in the name or in the weights, the same file is fetched, and the record has the tag."""
    hub.put("timm/test_resnet.r160_in1k", content_of(SMALL, 64))
    state, record = weights.retrieve(BackboneParams(name=name, weights=asked), 64)
    assert same(state, content_of(SMALL, 64))
    assert record.name == SMALL
    assert record.architecture().name == SMALL
    assert (record.optimizer, record.lr, record.batch_size) == (None, None, None)
    assert record.report["matched"] == len(state)
    assert "apache" in record.licence


@pytest.mark.parametrize(
    ("name", "asked", "said"),
    [
        ("timm/test_resnet", "IMAGENET1K_V1", r"'IMAGENET1K_V1' is neither a file nor .* tag .*pretrained, r160_in1k"),
        ("timm/test_resnet", "r161_in1k", r"did you mean 'r160_in1k'"),
        ("timm/resnet18.a1_in1k", "tv_in1k", r"'tv_in1k' is not the pretrained tag of backbone\.name"),
        ("timm/gcvit_tiny", "pretrained", r"no safetensors file for timm/gcvit_tiny\.in1k"),
        ("timm/test_resnet", "lost.pth", r"lost\.pth does not exist"),
    ],
)
def test_weights_that_there_are_not_are_refused(hub: Hub, name: str, asked: str, said: str) -> None:
    """What is neither file nor tag is refused before the hub is asked."""
    with pytest.raises(UserError, match=said):
        weights.retrieve(BackboneParams(name=name, weights=asked), 224)
    assert hub.asked == []


def test_own_file_of_another_size_is_converted(tmp_path: Path) -> None:
    """Position embeddings are resampled by timm's own function, which the report says."""
    file = tmp_path / "own.pth"
    torch.save(content_of(TRANSFORMER, 160), file)
    params = BackboneParams(name=TRANSFORMER, weights=str(file))
    exact, report = weights.retrieve(params, 160)
    assert same(exact, content_of(TRANSFORMER, 160))
    assert report.report["notes"] == []
    state, record = weights.retrieve(params, 96)
    record.architecture().build(96).load_state_dict(state)
    assert any("checkpoint_filter_fn" in line for line in record.lines())
    assert record.report["new"] == []
    others = [key for key in exact if state[key].shape == exact[key].shape]
    assert len(others) == len(exact) - 1
    assert all(torch.equal(state[key], exact[key]) for key in others)


def test_classifier_of_other_classes_is_left_out(tmp_path: Path) -> None:
    """What is left out is drawn new, and is no reason for a conversion."""
    content = content_of(TRANSFORMER, 160)
    content |= {"head.weight": torch.zeros(3, 64), "head.bias": torch.zeros(3)}
    torch.save(content, tmp_path / "own.pth")
    params = BackboneParams(name=TRANSFORMER, weights=str(tmp_path / "own.pth"), leave_out=(r"head\..*",))
    state, record = weights.retrieve(params, 160)
    assert record.report["new"] == record.report["left_out"] == ["head.weight", "head.bias"]
    assert record.report["notes"] == []
    assert len(state["head.bias"]) == 1000


def test_file_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    """timm's conversions explain nothing away: what is missing is named."""
    content = content_of(TRANSFORMER, 160)
    for key in ("blocks.0.attn.qkv.weight", "head.bias"):
        del content[key]
    torch.save(content, tmp_path / "own.pth")
    with pytest.raises(UserError, match=r"2 missing \(such as blocks\.0\.attn\.qkv\.weight, head\.bias\)"):
        weights.retrieve(BackboneParams(name=TRANSFORMER, weights=str(tmp_path / "own.pth")), 160)


def test_weights_that_come_without_a_classifier_get_one(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    """Weights of an encoder fit; the classifier is drawn new, and the report says so."""
    cfg = timm.get_pretrained_cfg("test_vit.r160_in1k")
    cfg.num_classes = 0
    monkeypatch.setattr(timm_registry, "config", lambda _: cfg)
    content = {key: value for key, value in content_of(TRANSFORMER, 160).items() if not key.startswith("head.")}
    hub.put("timm/test_vit.r160_in1k", content)
    state, record = weights.retrieve(BackboneParams(name=TRANSFORMER, weights="pretrained"), 160)
    assert record.report["new"] == ["head.weight", "head.bias"]
    assert any("no classifier" in line for line in record.lines())
    assert state["head.weight"].std() > 0
    assert all(torch.equal(state[key], content[key]) for key in content)


def test_class_for_the_background_is_dropped(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where timm says that a file has a class in front of ImageNet's, it isn't taken for one of them."""
    cfg = timm.get_pretrained_cfg("test_resnet.r160_in1k")
    cfg.label_offset = 1
    monkeypatch.setattr(timm_registry, "config", lambda _: cfg)
    plain = content_of(SMALL, 64)
    hub.put("timm/test_resnet.r160_in1k", {
        key: torch.cat([torch.full_like(value[:1], 9.0), value]) if key.startswith("fc.") else value
        for key, value in plain.items()
    })  # fmt: skip
    assert same(weights.retrieve(BackboneParams(name=SMALL, weights="pretrained"), 64)[0], plain)
