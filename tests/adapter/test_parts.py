"""The adapter inside a model's parts: what it is made of, where it starts, what it adds."""

from __future__ import annotations

import copy
import math
import re

import pytest
import torch
from torch import nn

from lora_recipes.adapter import parts
from lora_recipes.adapter.inject import ADAPTER, target_modules
from lora_recipes.adapter.names import diffusers_name, kohya_name
from lora_recipes.adapter.parts import Adapted
from lora_recipes.errors import UserError
from lora_recipes.recipe.sections.lora import Lora
from tests.adapter.tiny import fill, predict, tiny_unet

BOTH = pytest.mark.parametrize("targets", ["attention", "transformer"])


def of(unet: nn.Module) -> Adapted:
    return Adapted({"unet": unet})


def adapted(linear: bool = True, rank: int = 4, alpha: float = 2.0, targets: str = "transformer"):
    unet = tiny_unet(linear)
    of(unet).inject(Lora(rank=rank, alpha=alpha, targets=targets), seed=0)
    return unet


@pytest.mark.parametrize(
    ("targets", "modules", "per_rank"), [("attention", 560, None), ("transformer", 722, 2_659_840)]
)
def test_real_sdxl_gets_as_many_modules_and_weights_as_kohya_counts(
    sdxl_unet, targets, modules, per_rank
):
    unet = copy.deepcopy(sdxl_unet)
    of(unet).inject(Lora(rank=3, alpha=1.0, targets=targets), seed=0)
    weights = of(unet).parameters()

    assert len(weights) == 2 * modules
    assert per_rank is None or sum(weight.numel() for weight in weights.values()) == 3 * per_rank


@BOTH
def test_a_fresh_adapter_changes_no_bit_of_the_prediction(targets):
    assert torch.equal(predict(adapted(targets=targets)), predict(tiny_unet()))


@pytest.mark.parametrize("linear", [True, False])
def test_the_prediction_is_that_of_the_base_with_alpha_by_rank_up_down_added(linear):
    unet = adapted(linear)
    fill(unet)
    merged = tiny_unet(linear)
    tensors = of(unet).tensors(alpha=2.0)
    for name in {key.split(".")[0] for key in tensors}:
        module = merged.get_submodule(diffusers_name(name))
        down, up = tensors[f"{name}.lora_down.weight"], tensors[f"{name}.lora_up.weight"]
        delta = 2.0 / 4 * up.flatten(1) @ down.flatten(1)
        module.weight.data += delta.view_as(module.weight)

    with torch.no_grad():
        torch.testing.assert_close(predict(unet), predict(merged), rtol=0, atol=1e-5)
        assert (predict(unet) - predict(tiny_unet(linear))).abs().max() > 1e-2


@pytest.mark.parametrize("linear", [True, False])
def test_every_kind_of_target_adds_its_own_product_at_its_own_place(linear):
    unet = adapted(linear)
    fill(unet)
    base = tiny_unet(linear)
    kinds = set()
    for name, weight in of(unet).parameters().items():
        if not name.endswith("lora_down.weight"):
            continue
        path = diffusers_name(name.split(".")[0])
        layer, plain = unet.get_submodule(path), base.get_submodule(path)
        inputs = torch.randn(3, plain.weight.shape[1], *[1] * (weight.dim() - 2))
        up = layer.lora_B[ADAPTER].weight
        product = 0.5 * (inputs.flatten(1) @ weight.flatten(1).T @ up.flatten(1).T)

        added = (layer(inputs) - plain(inputs)).flatten(1)
        torch.testing.assert_close(added, product, rtol=1e-4, atol=1e-5)
        kinds.add(re.sub(r".*(transformer_blocks|attentions)\.\d+\.", "", path))

    assert len(kinds) == 12  # 2 x 4 projections, two of the feed-forward, in and out


@pytest.mark.parametrize(("rank", "alpha"), [(4, 2.0), (8, 8.0), (3, 7.5)])
def test_the_scale_is_alpha_by_rank(rank, alpha):
    unet = adapted(rank=rank, alpha=alpha)
    scales = {
        layer.scaling[ADAPTER]
        for layer in unet.modules()
        if hasattr(layer, "scaling") and ADAPTER in layer.scaling
    }

    assert scales == {alpha / rank}


@BOTH
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_weights_and_gradients_are_float32_under_a_half_precision_base(targets, dtype):
    unet = tiny_unet().to(dtype)
    of(unet).inject(Lora(rank=4, alpha=2.0, targets=targets), seed=0)
    fill(unet, size=0.05)
    predict(unet).square().mean().backward()
    weights = of(unet).parameters()

    assert {weight.dtype for weight in weights.values()} == {torch.float32}
    assert {weight.grad.dtype for weight in weights.values()} == {torch.float32}
    assert all(weight.grad.abs().sum() > 0 for weight in weights.values())


def test_the_base_computes_in_its_own_precision_and_the_adapter_in_float32():
    unet = tiny_unet().to(torch.bfloat16)
    of(unet).inject(Lora(rank=4, alpha=2.0, targets="attention"), seed=0)
    layer = unet.get_submodule("mid_block.attentions.0.transformer_blocks.0.attn1.to_q")
    seen = {}
    layer.base_layer.register_forward_hook(lambda *args: seen.update(base=args[2].dtype))
    layer.lora_A[ADAPTER].register_forward_hook(lambda *args: seen.update(down=args[2].dtype))
    layer.register_forward_hook(lambda *args: seen.update(sum=args[2].dtype))
    predict(unet)

    assert seen == {"base": torch.bfloat16, "down": torch.float32, "sum": torch.bfloat16}


def test_only_the_adapter_is_trained():
    unet = adapted()
    trained = {name for name, weight in unet.named_parameters() if weight.requires_grad}

    assert trained
    assert all(".lora_A." in name or ".lora_B." in name for name in trained)
    assert len(trained) == len(of(unet).parameters())


def test_down_is_uniform_within_one_by_root_of_its_inputs_and_up_is_zero():
    weights = of(adapted(rank=64)).parameters()
    name = "lora_unet_middle_block_1_transformer_blocks_0_ff_net_2"
    down = weights[f"{name}.lora_down.weight"]
    bound = 1 / math.sqrt(down.shape[1])
    peers = torch.nn.init.kaiming_uniform_(torch.empty_like(down), a=math.sqrt(5))

    assert down.abs().max() < bound
    assert down.abs().max() > 0.99 * bound
    assert down.std().item() == pytest.approx(peers.std().item(), rel=0.03)
    assert not any(weight.any() for name, weight in weights.items() if "lora_up" in name)


def test_a_modules_start_depends_on_the_seed_alone_and_not_on_what_else_is_trained():
    few, many = (
        of(adapted(targets=targets)).parameters() for targets in ("attention", "transformer")
    )
    other = tiny_unet()
    of(other).inject(Lora(rank=4, alpha=2.0, targets="attention"), seed=1)
    elsewhere = of(other).parameters()

    assert set(few) < set(many)
    assert all(torch.equal(weight, many[name]) for name, weight in few.items())
    downs = [name for name in few if "lora_down" in name]
    assert all(not torch.equal(few[name], elsewhere[name]) for name in downs)
    assert len({tuple(few[name].flatten()[:8].tolist()) for name in downs}) == len(downs)


def test_injecting_leaves_the_global_stream_alone():
    unet = tiny_unet()
    before = torch.get_rng_state()
    of(unet).inject(Lora(rank=4, alpha=2.0, targets="transformer"), seed=0)

    assert torch.equal(torch.get_rng_state(), before)


def test_parameters_come_sorted_by_module_with_down_before_up():
    names = list(of(adapted()).parameters())
    paths = target_modules(tiny_unet(), "transformer")

    assert paths == sorted(paths)
    assert names == [
        f"{kohya_name(path)}.lora_{part}.weight" for path in paths for part in ("down", "up")
    ]


def test_tensors_are_copies_with_an_alpha_for_every_module():
    unet = adapted()
    fill(unet)
    tensors = of(unet).tensors(alpha=2.0)
    name = "lora_unet_middle_block_1_proj_in"
    before = tensors[f"{name}.lora_up.weight"].clone()
    fill(unet, seed=12)

    assert {name.split(".", 1)[1] for name in tensors} == {
        "lora_down.weight",
        "lora_up.weight",
        "alpha",
    }
    assert tensors[f"{name}.alpha"].shape == ()
    assert tensors[f"{name}.alpha"].item() == 2.0
    assert torch.equal(tensors[f"{name}.lora_up.weight"], before)


def test_loaded_tensors_give_the_live_prediction_to_the_bit():
    unet, other = adapted(), adapted()
    fill(unet)
    of(other).load(of(unet).tensors(alpha=2.0))

    with torch.no_grad():
        assert torch.equal(predict(other), predict(unet))


DOWN = "lora_unet_middle_block_1_proj_in.lora_down.weight"


def _miss(tensors):
    del tensors[DOWN]


def _add(tensors):
    tensors["lora_te1_text_model_encoder_layers_0_mlp_fc1.alpha"] = torch.tensor(2.0)
    tensors["lora_te1_text_model_encoder_layers_0_mlp_fc2.alpha"] = torch.tensor(2.0)


def _reshape(tensors):
    tensors[DOWN] = torch.zeros(8, 32)


def _rescale(tensors):
    tensors["lora_unet_middle_block_1_proj_in.alpha"] = torch.tensor(4.0)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (
            _miss,
            f"missing keys in the adapter: {DOWN}\n"
            "  fix:     use an adapter that was trained for this base model with these "
            "lora.targets",
        ),
        (
            _add,
            "unexpected keys in the adapter: "
            "lora_te1_text_model_encoder_layers_0_mlp_fc1.alpha and 1 more\n"
            "  fix:     use an adapter that was trained for this base model with these "
            "lora.targets",
        ),
        (
            _reshape,
            f"the adapter's tensor {DOWN} is [8, 32]\n"
            "  allowed: [4, 32]\n"
            "  fix:     use an adapter of this lora.rank that was trained for this base model",
        ),
        (
            _rescale,
            "the adapter's lora_unet_middle_block_1_proj_in.alpha = 4.0\n"
            "  allowed: 2\n"
            "  fix:     inject with the adapter's own alpha",
        ),
    ],
)
def test_tensors_that_do_not_fit_are_named_and_nothing_is_loaded(spoil, message):
    unet = adapted()
    fill(unet)
    tensors = of(unet).tensors(alpha=2.0)
    spoil(tensors)
    fresh = adapted()
    before = of(fresh).tensors(alpha=2.0)

    with pytest.raises(UserError) as caught:
        of(fresh).load(tensors)

    assert str(caught.value) == message
    after = of(fresh).tensors(alpha=2.0)
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())


def test_switched_off_the_unet_is_the_base_to_the_bit_and_then_on_again():
    unet = adapted()
    fill(unet)
    with torch.no_grad():
        on = predict(unet)
        with of(unet).enabled(False):
            off = predict(unet)
            with of(unet).enabled(True):
                assert torch.equal(predict(unet), on)

        assert torch.equal(off, predict(tiny_unet()))
        assert not torch.equal(off, on)
        assert torch.equal(predict(unet), on)
    assert all(weight.requires_grad for weight in of(unet).parameters().values())


def test_switched_off_it_is_on_again_after_an_error():
    unet = adapted()
    fill(unet)
    with torch.no_grad():
        on = predict(unet)
        with pytest.raises(KeyError), of(unet).enabled(False):
            raise KeyError

        assert torch.equal(predict(unet), on)


def test_strength_multiplies_what_the_adapter_adds():
    unet = adapted(targets="attention")
    fill(unet)
    layer = unet.get_submodule("mid_block.attentions.0.transformer_blocks.0.attn1.to_q")
    assert isinstance(layer.base_layer, nn.Linear)
    inputs = torch.randn(3, 32)

    def added() -> torch.Tensor:
        return layer(inputs) - layer.base_layer(inputs)

    whole = added()
    of(unet).set_strength(0.5)
    torch.testing.assert_close(added(), whole / 2)
    of(unet).set_strength(0)
    assert not added().any()
    of(unet).set_strength(1)
    assert torch.equal(added(), whole)


def test_the_weights_of_a_part_are_a_group_that_optimizers_can_take():
    unet = adapted()
    (group,) = of(unet).groups()

    assert (group.name, group.part, group.kind) == ("unet", "unet", "lora")
    assert list(group.parameters) == list(of(unet).parameters())
    taken = group.for_optimizer()
    assert taken["name"] == "unet"
    assert all(
        one is other
        for one, other in zip(taken["params"], of(unet).parameters().values(), strict=True)
    )


def test_every_part_has_its_own_group_names_streams_and_switch(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(parts.NAMES, "other", lambda path: "lora_other_" + path.replace(".", "_"))
    one, two = tiny_unet(), tiny_unet()
    both = Adapted({"other": two, "unet": one})
    both.inject(Lora(rank=4, alpha=2.0, targets="transformer"), seed=0)
    alone = adapted()

    assert [group.name for group in both.groups()] == ["unet", "other"]
    weights = both.parameters()
    names = list(weights)
    assert names[: len(names) // 2] == list(of(alone).parameters()), "another part moves no weight"
    assert all(name.startswith("lora_other_") for name in names[len(names) // 2 :])
    assert all(torch.equal(weights[name], own) for name, own in of(alone).parameters().items())
    downs = [weight for name, weight in weights.items() if "lora_down" in name]
    assert not torch.equal(downs[0], downs[len(downs) // 2])
    with torch.no_grad():
        for weight in weights.values():
            weight.fill_(0.1)
        with both.enabled(False):
            assert torch.equal(predict(one), predict(two))
            assert torch.equal(predict(one), predict(tiny_unet()))
    both.load(both.tensors(2.0))
    assert len(both.tensors(2.0)) == 2 * len(of(alone).tensors(2.0))


def test_a_part_without_an_adapter_is_our_own_mistake():
    with pytest.raises(AssertionError, match="the unet has no adapter: call inject first"):
        of(tiny_unet()).groups()
