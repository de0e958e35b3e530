"""Base models: the pocket with hollow weights, and something changed in one of its files."""

from __future__ import annotations

import json
import os
import shutil
from functools import cache
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

import lora_recipes
from lora_recipes.base.known import CONFIGURATIONS, SCHEDULER
from lora_recipes.tensors import LENGTH
from tests.fuzz.hostile import damaged, texts, values

POCKET = Path(lora_recipes.__file__).parent / "pocket/model"
CONFIGS = {
    "unet/config.json": tuple(CONFIGURATIONS["unet"]),
    "vae/config.json": tuple(CONFIGURATIONS["vae"]),
    "text_encoder/config.json": tuple(CONFIGURATIONS["text_encoder"]),
    "text_encoder_2/config.json": tuple(CONFIGURATIONS["text_encoder_2"]),
    "scheduler/scheduler_config.json": tuple(SCHEDULER),
    "model_index.json": ("_class_name", "force_zeros_for_empty_prompt", "prediction_type", "unet"),
    "tokenizer/tokenizer_config.json": ("bos_token", "eos_token", "added_tokens_decoder"),
}
ORDERS = ("_attn_implementation", "auto_map", "quantization_config", "prediction_type", "x\x1b[2J")
WEIGHTS = (
    "unet/diffusion_pytorch_model.safetensors", "vae/diffusion_pytorch_model.safetensors",
    "text_encoder/model.safetensors", "text_encoder_2/model.safetensors",
)  # fmt: skip
SHARDS = (
    "../x.safetensors", "/etc/passwd", "model.safetensors", "x" * 5000, 7, None, ["a"],
    "a\nb.safetensors",
    "model.safetensors.index.json", "\x1b[2J.safetensors", "a.safetensors",
)  # fmt: skip

Change = tuple[str, str, Any]
"""File, what is done to it, and with what."""


def hollow(folder: Path) -> Path:
    """The pocket with the headers of its weights, and holes in place of the numbers."""
    shutil.copytree(POCKET, folder)
    for name in WEIGHTS:
        file = folder / name
        content = file.read_bytes()
        length = LENGTH + int.from_bytes(content[:LENGTH], "little")
        file.write_bytes(content[:length])
        os.truncate(file, len(content))
    return folder


@cache
def right(name: str) -> str:
    """A file of the pocket as text."""
    return (POCKET / name).read_text("utf-8")


@st.composite
def changes(draw: st.DrawFn) -> Change:
    """One change."""
    way = draw(_way)
    if way < 10:
        name = draw(_configs)
        key = draw(_keys(name))
        return name, "key", (key, draw(_values))
    if way < 13:
        name = draw(_files)
        return name, "text", draw(damaged(right(name)))
    if way < 16:
        return draw(_weights), "header", draw(_entry)
    if way < 18:
        return draw(_weights), "index", draw(_index)
    return draw(_files), "kind", draw(st.sampled_from(("gone", "pipe", "folder", "empty", "ring")))


_way = st.integers(0, 19)
_configs = st.sampled_from(tuple(CONFIGS))
_files = st.sampled_from((*CONFIGS, "tokenizer/tokenizer.json", "tokenizer/vocab.json"))
_weights = st.sampled_from(WEIGHTS)
_numbers = st.sampled_from(
    (0, 1, 2, 4, 8, 64, 128, 0.5, "epsilon", "v_prediction", True, None, [], {})
)
_values = st.one_of(values(3), _numbers, _numbers)
_entry = st.tuples(
    st.sampled_from(("dtype", "shape", "name", "metadata")),
    st.one_of(values(2), texts()),
    st.integers(0, 50),
)
_index = st.one_of(
    st.dictionaries(texts(4), st.sampled_from(SHARDS), max_size=3).map(lambda m: {"weight_map": m}),
    st.fixed_dictionaries({"weight_map": values(3)}),
    values(3),
)


@cache
def _keys(name: str) -> st.SearchStrategy[str]:
    return st.one_of(st.sampled_from(CONFIGS[name]), st.sampled_from(ORDERS), texts(4))


def change(folder: Path, name: str, way: str, with_what: Any) -> None:
    """Do it."""
    file = folder / name
    if way == "key":
        key, value = with_what
        whole = {**json.loads(right(name)), key: value}
        file.write_text(json.dumps(whole), "utf-8")
    elif way == "text":
        file.write_bytes(with_what.encode("utf-8", "surrogatepass"))
    elif way == "header":
        _change_header(file, *with_what)
    elif way == "index":
        file.rename(file.with_name("model.kept"))
        file.with_name(f"{file.name}.index.json").write_text(json.dumps(with_what), "utf-8")
    else:
        file.unlink()
        if with_what == "pipe":
            os.mkfifo(file)
        elif with_what == "folder":
            file.mkdir()
        elif with_what == "empty":
            file.write_bytes(b"")
        elif with_what == "ring":
            file.symlink_to(file.name)


def _change_header(file: Path, what: str, value: Any, place: int) -> None:
    size = file.stat().st_size
    with file.open("rb") as opened:
        length = int.from_bytes(opened.read(LENGTH), "little")
        header = json.loads(opened.read(length))
    names = [name for name in header if name != "__metadata__"]
    name = names[place % len(names)]
    if what == "metadata":
        header["__metadata__"] = {"modelspec.prediction_type": value}
    elif what == "name":
        header[str(value)] = header.pop(name)
    else:
        header[name] = {**header[name], what: value}
    text = json.dumps(header).encode()
    file.write_bytes(len(text).to_bytes(LENGTH, "little") + text)
    os.truncate(file, size - length + len(text))
