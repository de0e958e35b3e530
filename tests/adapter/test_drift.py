"""How far two adapters lie apart, against a plain calculation in float64."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from lora_recipes.errors import UserError
from lora_recipes.formats.arrays import read_arrays
from lora_recipes.formats.drift import drift
from lora_recipes.tensors import header_bytes, write_tensors

Q = "lora_unet_middle_block_1_transformer_blocks_0_attn1_to_q"
CONV = "lora_unet_input_blocks_4_1_proj_in"


def adapter(seed: int = 0) -> dict[str, Tensor]:
    """A linear module and a 1×1 convolution, rank 4, alpha 2."""
    stream = torch.Generator().manual_seed(seed)
    return {
        f"{Q}.lora_down.weight": torch.randn(4, 24, generator=stream),
        f"{Q}.lora_up.weight": torch.randn(16, 4, generator=stream),
        f"{Q}.alpha": torch.tensor(2.0),
        f"{CONV}.lora_down.weight": torch.randn(4, 8, 1, 1, generator=stream),
        f"{CONV}.lora_up.weight": torch.randn(8, 4, 1, 1, generator=stream),
        f"{CONV}.alpha": torch.tensor(2.0),
    }


def delta(tensors: dict[str, Tensor], module: str) -> Tensor:
    up, down = (tensors[f"{module}.lora_{part}.weight"].double() for part in ("up", "down"))
    return 2.0 / 4 * up.flatten(1) @ down.flatten(1)


@pytest.fixture
def write(tmp_path: Path):
    def write_one(tensors: dict[str, Tensor], name: str) -> Path:
        write_tensors(tmp_path / name, tensors, {"name": name})
        return tmp_path / name

    return write_one


def test_files_of_equal_tensors_have_no_drift_whatever_their_headers(write):
    found = drift(write(adapter(), "a"), write(adapter(), "b"))
    assert found.is_none
    assert (found.tensors, found.modules, found.differs, found.of) == ((), (), 0, 226)
    assert found.max_abs == found.relative_l2 == found.delta_relative_l2 == 0
    assert found.table() == "the tensors are equal, number by number"


@pytest.mark.parametrize("by", [1e-12, 1e-6, 1.0])
def test_the_drift_of_what_is_added_to_the_base_equals_the_plain_formula(write, by: float):
    before = {name: value.double() for name, value in adapter().items()}
    other = adapter(1)
    after = {
        name: value if name.endswith("alpha") else value + by * other[name]
        for name, value in before.items()
    }
    found = drift(write(before, "a"), write(after, "b"))
    old = torch.cat([delta(before, m).flatten() for m in (Q, CONV)])
    new = torch.cat([delta(after, m).flatten() for m in (Q, CONV)])
    expected = float((new - old).norm() / old.norm())
    assert found.delta_relative_l2 == pytest.approx(expected, rel=1e-3)
    assert {m.module for m in found.modules} == {Q, CONV}
    for module in found.modules:
        apart = delta(after, module.module) - delta(before, module.module)
        plain = float(apart.norm() / delta(before, module.module).norm())
        assert module.relative_l2 == pytest.approx(plain, rel=1e-3)
    assert [m.relative_l2 for m in found.modules] == sorted(
        (m.relative_l2 for m in found.modules), reverse=True
    )


def test_other_factors_of_the_same_product_drift_in_numbers_and_not_in_the_picture(write):
    after = adapter()
    after[f"{Q}.lora_up.weight"] = 2 * after[f"{Q}.lora_up.weight"]
    after[f"{Q}.lora_down.weight"] = after[f"{Q}.lora_down.weight"] / 2
    found = drift(write(adapter(), "a"), write(after, "b"))
    assert found.differs == 16 * 4 + 4 * 24
    assert found.relative_l2 > 0.1
    assert found.delta_relative_l2 < 1e-14


def test_one_changed_number_is_found_and_measured(write):
    after = adapter()
    after[f"{Q}.lora_up.weight"][3, 1] += 0.5
    found = drift(write(adapter(), "a"), write(after, "b"))
    (tensor,) = found.tensors
    assert (tensor.name, tensor.differs, tensor.of) == (f"{Q}.lora_up.weight", 1, 64)
    assert tensor.max_abs == found.max_abs == pytest.approx(0.5, rel=1e-6)
    assert [module.module for module in found.modules] == [Q]
    assert found.table().startswith("1 of 226 numbers differ, by 0.5 at most; relative L2 ")


def test_another_alpha_alone_is_a_drift(write):
    after = adapter()
    after[f"{Q}.alpha"] = torch.tensor(4.0)
    found = drift(write(adapter(), "a"), write(after, "b"))
    (module,) = found.modules
    assert module.module == Q
    assert module.relative_l2 == pytest.approx(1.0)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_numbers_that_are_not_finite_never_pass_as_equal(write, value: float):
    broken = adapter()
    broken[f"{Q}.lora_up.weight"][0, 0] = value
    for pair in ((adapter(), broken), (broken, adapter())):
        found = drift(write(pair[0], "a"), write(pair[1], "b"))
        assert found.differs == 1
        assert not np.isfinite(found.max_abs)
        assert not np.isfinite(found.delta_relative_l2)
        assert found.modules[0].module == Q
        json.dumps(found.as_dict(), allow_nan=False)
    if np.isnan(value):
        assert not drift(write(broken, "a"), write(broken, "b")).is_none


def test_missing_and_reshaped_tensors_are_named(write):
    after = adapter()
    for part in ("lora_down.weight", "lora_up.weight", "alpha"):
        del after[f"{CONV}.{part}"]
    after[f"{Q}.lora_down.weight"] = torch.zeros(2, 24)
    after[f"{Q}.lora_up.weight"] = torch.zeros(16, 2)
    found = drift(write(adapter(), "a"), write(after, "b"))
    assert found.only_before == tuple(sorted(n for n in adapter() if n.startswith(CONV)))
    assert found.reshaped == (
        f"{Q}.lora_down.weight: [4, 24] → [2, 24]",
        f"{Q}.lora_up.weight: [16, 4] → [16, 2]",
    )
    assert found.delta_relative_l2 == pytest.approx(1.0)  # all of it is gone
    assert not found.is_none
    told = found.table()
    assert f"of {found.of} numbers that both have in the same shape differ" in told
    assert "inf" not in told
    backwards = drift(write(after, "c"), write(adapter(), "d")).table()
    assert "\n  inf  " in backwards
    assert "(inf: the first adds nothing there, or a number is infinite)" in backwards


@pytest.mark.parametrize(
    "dtype",
    [
        torch.float64, torch.float32, torch.float16, torch.bfloat16,
        torch.float8_e4m3fn, torch.float8_e5m2,
        torch.int64, torch.int32, torch.int16, torch.int8,
        torch.uint64, torch.uint32, torch.uint16, torch.uint8, torch.bool,
    ],
)  # fmt: skip
def test_every_type_is_read_as_torch_reads_it(write, dtype: torch.dtype):
    codes = torch.arange(256, dtype=torch.uint8)
    wide = torch.cat([codes, codes.flip(0), codes.roll(7)])[: 768 // 8 * 8]
    values = (wide % 2).bool() if dtype == torch.bool else wide.view(dtype)
    _, arrays = read_arrays(write({"x": values.reshape(2, -1)}, "a"))
    expected = values.reshape(2, -1)
    if dtype in (torch.bfloat16, torch.float8_e4m3fn, torch.float8_e5m2):
        expected = expected.float()
    np.testing.assert_array_equal(arrays["x"], expected.numpy())


def test_a_type_that_numpy_cannot_hold_is_named(tmp_path: Path):
    field = {"dtype": "F4", "shape": [4], "data_offsets": [0, 2]}
    (tmp_path / "a").write_bytes(header_bytes({"x": field}) + b"\0\0")
    with pytest.raises(UserError) as caught:
        read_arrays(tmp_path / "a")
    assert str(caught.value) == (
        f"{tmp_path}/a: tensor x has the type F4, which is not known here\n"
        "  allowed: F64, F32, F16, I64, I32, I16, I8, U64, U32, U16, U8, BOOL, BF16, F8_E4M3, "
        "F8_E5M2\n"
        "  fix:     convert the file to float32 with the tool that wrote it"
    )
