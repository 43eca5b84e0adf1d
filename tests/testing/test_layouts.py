"""Layouts put a tensor's numbers into memory in another way, each in its own."""

import pytest
import torch

from functional_mlp.testing.layouts import (
    LAYOUTS,
    SHARING,
    Layout,
    columns,
    expanded_number,
    laid_out,
    layouts_of,
    reversed_dimensions,
    windows,
)

NUMBERS = torch.arange(24).reshape(2, 3, 4)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.int64], ids=str)
@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.__name__)
def test_a_layout_keeps_shape_and_dtype_and_unless_it_shares_the_numbers(layout: Layout, dtype: torch.dtype) -> None:
    for x in (NUMBERS.to(dtype), NUMBERS[0].to(dtype), NUMBERS[0, 0].to(dtype), NUMBERS[0, 0, 0].to(dtype)):
        laid = laid_out(layout, x)
        assert (laid.shape, laid.dtype) == (x.shape, x.dtype)
        if layout not in layouts_of(x.ndim, dtype):
            assert laid is x
        else:
            in_place = (laid.stride(), laid.storage_offset(), laid.is_neg()) == (x.stride(), x.storage_offset(), False)
            assert not in_place or x.ndim == 0
            assert torch.equal(laid, x) is (layout not in SHARING)


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.__name__)
def test_what_is_empty_has_layouts_too(layout: Layout) -> None:
    for shape in ((0,), (2, 0), (0, 3), (0, 2, 3)):
        assert laid_out(layout, torch.zeros(shape)).shape == shape


def test_where_the_numbers_lie() -> None:
    x = NUMBERS.double()
    assert columns(x).stride() == (18, 6, 1)
    assert reversed_dimensions(x).stride() == (1, 2, 6)
    assert windows(x).stride() == (3, 1, 1)
    assert windows(x)[0].tolist() == [[0, 1, 2, 3], [1, 2, 3, 4], [2, 3, 4, 5]]
    assert expanded_number(x).stride() == (0, 0, 0)


def test_what_is_no_tensor_has_no_layout() -> None:
    assert laid_out(columns, None) is None
