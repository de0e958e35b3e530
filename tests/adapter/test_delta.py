"""ΔW of every method against the formula written out in torch."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from lora_recipes.formats.delta import delta, norm, rank
from lora_recipes.formats.layout import layout
from lora_recipes.formats.matrix import distance
from tests.adapter.formats import random

R = 4
Tensors = dict[str, Tensor]


def linear() -> Tensors:
    return {"lora_down.weight": random(R, 24), "lora_up.weight": random(16, R)}


def conv() -> Tensors:
    return {"lora_down.weight": random(R, 8, 3, 3), "lora_up.weight": random(16, R, 1, 1)}


def locon() -> Tensors:
    return {
        "lora_down.weight": random(R, 8, 1, 1),
        "lora_mid.weight": random(R, R, 3, 3),
        "lora_up.weight": random(16, R, 1, 1),
    }


def loha() -> Tensors:
    return {
        "hada_w1_a": random(16, R),
        "hada_w1_b": random(R, 24),
        "hada_w2_a": random(16, R, seed=1),
        "hada_w2_b": random(R, 24, seed=1),
    }


def loha_tucker() -> Tensors:
    """As LyCORIS makes it: factors [r, out] and [r, in] around cores [r, r, k, k]."""
    return {
        "hada_t1": random(R, R, 3, 3),
        "hada_w1_a": random(R, 16),
        "hada_w1_b": random(R, 8),
        "hada_t2": random(R, R, 3, 3, seed=1),
        "hada_w2_a": random(R, 16, seed=1),
        "hada_w2_b": random(R, 8, seed=1),
    }


def lokr_whole() -> Tensors:
    return {"lokr_w1": random(4, 4), "lokr_w2": random(4, 6)}


def lokr() -> Tensors:
    return {
        "lokr_w1_a": random(4, R),
        "lokr_w1_b": random(R, 4, seed=1),
        "lokr_w2_a": random(4, R, seed=2),
        "lokr_w2_b": random(R, 6),
    }


def lokr_tucker() -> Tensors:
    return {
        "lokr_w1": random(4, 2),
        "lokr_t2": random(R, R, 3, 3),
        "lokr_w2_a": random(R, 4),
        "lokr_w2_b": random(R, 4, seed=1),
    }


def tucker(core: Tensor, a: Tensor, b: Tensor) -> Tensor:
    return torch.einsum("ijkl,ip,jr->prkl", core, a, b)


EXPECTED: dict[str, tuple[Callable[[], Tensors], Callable[[Tensors], Tensor], bool]] = {
    "LoRA": (linear, lambda t: t["lora_up.weight"] @ t["lora_down.weight"], True),
    "LoRA of a convolution": (
        conv,
        lambda t: torch.einsum(
            "or,rikl->oikl", t["lora_up.weight"][..., 0, 0], t["lora_down.weight"]
        ),
        True,
    ),
    "LoCon": (
        locon,
        lambda t: torch.einsum(
            "or,rskl,si->oikl",
            t["lora_up.weight"][..., 0, 0],
            t["lora_mid.weight"],
            t["lora_down.weight"][..., 0, 0],
        ),
        True,
    ),
    "LoHa": (
        loha,
        lambda t: (t["hada_w1_a"] @ t["hada_w1_b"]) * (t["hada_w2_a"] @ t["hada_w2_b"]),
        True,
    ),
    "LoHa with cores": (
        loha_tucker,
        lambda t: tucker(t["hada_t1"], t["hada_w1_a"], t["hada_w1_b"])
        * tucker(t["hada_t2"], t["hada_w2_a"], t["hada_w2_b"]),
        True,
    ),
    "LoKr of whole matrices": (
        lokr_whole,
        lambda t: torch.kron(t["lokr_w1"], t["lokr_w2"]),
        False,
    ),
    "LoKr": (
        lokr,
        lambda t: torch.kron(
            t["lokr_w1_a"] @ t["lokr_w1_b"], t["lokr_w2_a"] @ t["lokr_w2_b"]
        ),
        True,
    ),
    "LoKr with a core": (
        lokr_tucker,
        lambda t: torch.kron(
            t["lokr_w1"][..., None, None],
            tucker(t["lokr_t2"], t["lokr_w2_a"], t["lokr_w2_b"]).contiguous(),
        ),
        True,
    ),
    "full": (lambda: {"diff": random(16, 8, 3, 3)}, lambda t: t["diff"], False),
}  # fmt: skip
"""Tensors, ΔW before its scale, and whether alpha / rank scales it."""


def named(tensors: Tensors, alpha: float | None = None) -> dict[str, Tensor]:
    scale = {} if alpha is None else {"alpha": torch.tensor(alpha)}
    return {f"lora_unet_x.{part}": value.double() for part, value in {**tensors, **scale}.items()}


def read(tensors: dict[str, Tensor]):
    arrays = {name: value.numpy() for name, value in tensors.items()}
    (module,) = layout(arrays).modules
    return module, arrays


@pytest.mark.parametrize("method", EXPECTED)
@pytest.mark.parametrize("alpha", [None, 2.0])
def test_what_a_module_adds_equals_the_methods_formula(method: str, alpha: float | None):
    make, formula, scaled = EXPECTED[method]
    module, arrays = read(named(make(), alpha))
    plain = formula({part: value.double() for part, value in make().items()})
    expected = plain * (alpha / R if scaled and alpha is not None else 1)
    found = delta(module, arrays)
    assert found is not None
    assert module.method == method.partition(" ")[0]
    assert rank(module, arrays) == (R if scaled else None)
    torch.testing.assert_close(
        torch.from_numpy(found.whole()), expected.reshape(expected.shape[0], -1)
    )
    assert norm(module, arrays) == pytest.approx(float(expected.norm()))


@pytest.mark.parametrize("method", EXPECTED)
def test_the_distance_of_two_modules_is_that_of_what_they_add(method: str):
    make, formula, _ = EXPECTED[method]
    other = {part: value + 0.1 for part, value in make().items()}
    old, new = (delta(*read(named(tensors))) for tensors in (make(), other))
    apart = formula({p: v.double() for p, v in other.items()}) - formula(
        {p: v.double() for p, v in make().items()}
    )
    assert distance(old, new) == pytest.approx(float(apart.norm()))
    assert distance(old, old) == 0


def test_a_low_rank_product_and_the_same_matrix_in_full_are_no_distance_apart():
    tensors = linear()
    whole = {"diff": tensors["lora_up.weight"].double() @ tensors["lora_down.weight"].double()}
    assert distance(delta(*read(named(tensors))), delta(*read(named(whole)))) < 1e-12


# any two matrices have a Kronecker product, and a single matrix fits itself
@pytest.mark.parametrize("method", sorted(EXPECTED.keys() - {"LoKr of whole matrices", "full"}))
def test_tensors_whose_shapes_do_not_go_together_add_nothing_that_can_be_told(method: str):
    tensors = named(EXPECTED[method][0]())
    name = next(name for name in tensors if name.endswith(("up.weight", "w1_a", "w2_a")))
    tensors[name] = random(5, 7).double()
    module, arrays = read(tensors)
    assert delta(module, arrays) is None
    assert norm(module, arrays) is None


@pytest.mark.parametrize("method", EXPECTED)
def test_a_number_that_is_not_finite_makes_the_norm_nan(method: str):
    tensors = named(EXPECTED[method][0]())
    next(iter(tensors.values())).view(-1)[0] = float("inf")
    value = norm(*read(tensors))
    assert value is not None
    assert not math.isfinite(value)
