"""A UNet of SDXL's layout that is built in a moment: three levels of two layers, mid block."""

from __future__ import annotations

import torch
from diffusers import UNet2DConditionModel

CONTEXT, POOLED, TIME = 24, 16, 8


def tiny_unet(linear: bool = True, seed: int = 0) -> UNet2DConditionModel:
    """With linear projections (as SDXL has them) or 1×1 convolutions; weights from the seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return UNet2DConditionModel(
            sample_size=8,
            block_out_channels=(8, 16, 32),
            norm_num_groups=4,
            layers_per_block=2,
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
            transformer_layers_per_block=(1, 1, 2),
            attention_head_dim=(1, 2, 4),
            cross_attention_dim=CONTEXT,
            use_linear_projection=linear,
            addition_embed_type="text_time",
            addition_time_embed_dim=TIME,
            projection_class_embeddings_input_dim=6 * TIME + POOLED,
        ).eval()


def predict(unet: UNet2DConditionModel) -> torch.Tensor:
    """The UNet's output for one fixed input, in float32."""
    stream = torch.Generator().manual_seed(5)
    dtype = unet.dtype
    return unet(
        torch.randn(2, 4, 8, 8, generator=stream).to(dtype),
        torch.tensor([3, 700]),
        torch.randn(2, 7, CONTEXT, generator=stream).to(dtype),
        added_cond_kwargs={
            "text_embeds": torch.randn(2, POOLED, generator=stream).to(dtype),
            "time_ids": torch.tensor([[64.0, 64, 0, 0, 64, 64]] * 2),
        },
    ).sample.float()


def fill(unet: UNet2DConditionModel, size: float = 0.3, seed: int = 11) -> None:
    """Give a fresh adapter weights that change the picture, up matrices too."""
    from lora_recipes.adapter.parts import Adapted

    stream = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in Adapted({"unet": unet}).parameters().values():
            weight.copy_(torch.randn(weight.shape, generator=stream) * size)
