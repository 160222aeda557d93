"""Gradients of strided depthwise convolutions in bfloat16, by the faster way."""

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from hypothesis import assume, given
from hypothesis import strategies as st
from torch import nn

from tasks.training.depthwise import by_input, faster_gradients
from tasks.training.device import Hardware
from tests.tasks.networks import SIZE, adapt, strategy

HALF = Hardware(torch.device("cpu"), bfloat16=True)


def gradients(model: nn.Module, images: torch.Tensor) -> dict[str, torch.Tensor]:
    """Return every parameter's and the images' gradient under autocast."""
    model.zero_grad()
    images = images.clone().requires_grad_()
    with HALF.autocast():
        model(images).float().square().sum().backward()
    assert images.grad is not None
    by_name = {name: parameter.grad for name, parameter in model.named_parameters() if parameter.grad is not None}
    return {"images": images.grad, **{name: gradient.clone() for name, gradient in by_name.items()}}


@given(
    kernel=st.integers(1, 5), stride=st.tuples(st.integers(1, 4), st.integers(1, 4)), dilation=st.integers(1, 3),
    side=st.integers(5, 17), data=st.data(),
)  # fmt: skip
def test_any_gradient_by_the_input(
    kernel: int, stride: tuple[int, int], dilation: int, side: int, data: st.DataObject
) -> None:
    """Whatever the kernel, stride, padding and dilation, it is what PyTorch computes."""
    padding = data.draw(st.integers(0, dilation * (kernel - 1)))
    assume(side + 2 * padding >= dilation * (kernel - 1) + 1)
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(2, 3, side, side + 1, generator=generator, requires_grad=True)
    weight = torch.randn(3, 1, kernel, kernel, generator=generator)
    answer = F.conv2d(images, weight, None, stride, padding, dilation, 3)
    slope = torch.randn(answer.shape, generator=generator)
    (expected,) = torch.autograd.grad(answer, images, slope)
    gradient = by_input(slope, weight, images.shape, stride, (padding, padding), (dilation, dilation), 3)
    torch.testing.assert_close(gradient, expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("kernel", [3, 5])
@pytest.mark.parametrize("weight_trains", [True, False])
def test_gradients_are_as_exact(kernel: int, bias: bool, weight_trains: bool) -> None:
    """They differ from float32's by no more than bfloat16's rounding."""
    torch.manual_seed(0)
    model = nn.Conv2d(12, 12, kernel, stride=2, padding=kernel // 2, groups=12, bias=bias)
    model.weight.requires_grad_(weight_trains)
    images = torch.randn(4, 12, 15, 15)
    exact = images.clone().requires_grad_()
    model(exact).square().sum().backward()
    expected = {
        "images": exact.grad,
        **{name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None},
    }
    with faster_gradients(model, HALF):
        faster = gradients(model, images)
    assert faster.keys() == expected.keys()
    for name, gradient in faster.items():
        assert expected[name] is not None
        scale = float(expected[name].abs().max())
        torch.testing.assert_close(gradient, expected[name], atol=0.03 * scale, rtol=0.03)


def test_a_network_answers_as_before_and_is_left_as_it_was() -> None:
    """Forward passes are equal to the bit, in training and in evaluation, and nothing stays installed."""
    model = adapt("mobilenet_v2", strategy(train="all")).model.eval()
    images = torch.randn(2, 1, SIZE, SIZE)
    with HALF.autocast():
        before = model(images)
        with faster_gradients(model, HALF):
            inside = [module for module in model.modules() if "_conv_forward" in vars(module)]
            assert torch.equal(model(images), before)
            with torch.inference_mode():
                torch.testing.assert_close(model(images), before)
    assert len(inside) == 4
    assert not any("_conv_forward" in vars(module) for module in model.modules())


@pytest.mark.parametrize("bfloat16", [True, False])
def test_only_what_is_slow_is_changed(bfloat16: bool) -> None:
    """Other convolutions, and float32, have fast gradients of their own."""
    model = nn.Sequential(
        nn.Conv2d(4, 4, 3, stride=2), nn.Conv2d(4, 4, 3, groups=4), nn.Conv2d(4, 8, 3, stride=2, groups=2),
        nn.Conv2d(1, 4, 3, stride=2), nn.Conv2d(4, 4, 3, stride=2, groups=4, padding="valid"),
        nn.Conv2d(4, 4, 3, stride=2, groups=4), nn.Conv2d(4, 8, 3, stride=2, groups=4),
    )  # fmt: skip
    with faster_gradients(model, Hardware(torch.device("cpu"), bfloat16)):
        changed = [place for place, module in enumerate(model) if "_conv_forward" in vars(module)]
    assert changed == ([5] if bfloat16 else [])
