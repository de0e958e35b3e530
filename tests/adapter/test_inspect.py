"""inspect: what is told of an adapter file, whoever wrote it."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from lora_recipes.cli import main
from lora_recipes.errors import UserError
from lora_recipes.formats.hashes import tensors_hash
from lora_recipes.formats.header import text_of
from lora_recipes.formats.inspection import Inspection, inspect_adapter
from lora_recipes.formats.layout import layout
from lora_recipes.formats.table import table
from lora_recipes.recipe.sections.lora import Lora
from lora_recipes.tree import flat
from tests.adapter.formats import BLOCKS, FORMATS, KOHYA_HEADER, SGM, kohya, lora, random
from tests.adapter.test_metadata import fields
from tests.test_floors import BLOCK_TORCH


def write(path: Path, tensors: dict[str, torch.Tensor], metadata: dict[str, str]) -> Path:
    """As the safetensors library itself writes it."""
    save_file({name: value.contiguous() for name, value in tensors.items()}, path, metadata or None)
    return path


def looked(tmp_path: Path, name: str) -> Inspection:
    return inspect_adapter(write(tmp_path / "a.safetensors", *FORMATS[name]))


@pytest.mark.parametrize(
    ("name", "style", "methods", "modules"),
    [
        (
            "kohya",
            "kohya, original (sgm) block names",
            {"LoRA": 7},
            {
                "TE1": {"attention": 1},
                "TE2": {"ff": 1},
                "UNet": {"attention": 2, "ff": 1, "proj": 1, "conv": 1},
            },
        ),
        (
            "a civitai download",
            "kohya, diffusers' block names",
            {"LoRA": 3},
            {"TE1": {"ff": 1}, "UNet": {"attention": 1, "ff": 1}},
        ),
        (
            "diffusers",
            "diffusers",
            {"LoRA": 2},
            {"TE1": {"attention": 1}, "UNet": {"attention": 1}},
        ),
        (
            "diffusers, old",
            "diffusers, old attention processors",
            {"LoRA": 1},
            {"UNet": {"attention": 1}},
        ),
        (
            "diffusers, new",
            "peft, in diffusers",
            {"LoRA": 2},
            {"TE2": {"ff": 1}, "UNet": {"attention": 1}},
        ),
        ("peft", "peft", {"LoRA": 1}, {"UNet": {"attention": 1}}),
        ("peft, named", "peft", {"LoRA": 2}, {"TE": {"ff": 2}}),
        ("OneTrainer", "kohya, diffusers' block names", {"LoRA": 1}, {"UNet": {"attention": 1}}),
        ("ai-toolkit", "kohya, diffusers' block names", {"LoRA": 1}, {"UNet": {"attention": 1}}),
        (
            "LyCORIS",
            "kohya, original (sgm) block names",
            {"LoCon": 1, "LoHa": 1, "LoKr": 1, "LoRA": 1, "full": 1},
            {"UNet": {"conv": 1, "attention": 3, "ff": 1}},
        ),
        ("peft DoRA", "peft, in diffusers", {"LoRA": 1}, {"UNet": {"attention": 1}}),
    ],
)
def test_every_trainers_file_is_understood(
    tmp_path: Path,
    name: str,
    style: str,
    methods: dict[str, int],
    modules: dict[str, dict[str, int]],
):
    facts = looked(tmp_path, name)
    assert facts.style == style
    assert facts.methods == methods
    assert facts.modules == modules
    assert facts.formless == ()
    assert set(facts.ranks) <= {"4", "whole"}
    assert all(size > 0 for size in facts.norms.values())
    assert facts.unknown == ()
    assert facts.embeddings == (("bundle_emb.zwk.clip_l",) if name == "OneTrainer" else ())
    json.dumps(facts.as_dict(), allow_nan=False)
    assert table(facts).startswith("file\n  path")


def answers(facts: Inspection) -> dict[str, str]:
    return {q: a.value if a else "not stated" for q, a in facts.stated.items()}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (
            "kohya",
            {
                "trained by": "kohya sd-scripts",
                "base": "sd_xl_base_1.0.safetensors",
                "rank": "4",
                "alpha": "2.0",
                "learning rate": "0.0001",
                "optimizer": "bitsandbytes.optim.adamw.AdamW8bit(weight_decay=0.1)",
                "steps": "1600",
            },
        ),
        (
            "OneTrainer",
            {
                "trained by": "OneTrainer",
                "base": "stabilityai/stable-diffusion-xl-base-1.0",
                "rank": "4",
                "alpha": "2.0",
                "learning rate": "0.0003",
                "optimizer": "ADAMW",
                "epochs": "100",
            },
        ),
        ("ai-toolkit", {"trained by": "ai-toolkit 0.2.1", "steps": "2000", "title": "zwk"}),
        (
            "diffusers, new",
            {
                "trained by": "diffusers, or a trainer that writes its field",
                "rank": "4",
                "alpha": "8",
            },
        ),
        ("peft", {}),
        ("a civitai download", {}),
    ],
)
def test_the_header_is_told_in_words_and_the_rest_is_not_stated(
    tmp_path: Path, name: str, expected: dict[str, str]
):
    found = answers(looked(tmp_path, name))
    assert found == {question: expected.get(question, "not stated") for question in found}


def test_the_table_says_which_field_an_answer_is_from(tmp_path: Path):
    text = table(looked(tmp_path, "kohya"))
    assert "  rank           4  (ss_network_dim)\n" in text
    assert "  seed           not stated\n" in text
    assert "  text width  2048 (SDXL)\n" in text
    assert "  alpha       2 (6), 1 (1)\n" in text


def test_magnitudes_and_a_missing_alpha_are_said(tmp_path: Path):
    text = table(looked(tmp_path, "peft DoRA"))
    assert "with DoRA's magnitudes: 1; ΔW below is without them" in text
    assert "  alpha       not stated\n" in text
    assert "without alpha ΔW below is at the scale 1" in text


def test_what_is_unknown_incomplete_or_not_finite_is_named(tmp_path: Path):
    tensors = lora(f"{SGM}_attn1_to_q")
    tensors[f"{SGM}_attn1_to_q.lora_up.weight"][0, :2] = float("nan")
    tensors |= {f"{SGM}_attn1_to_k.lora_up.weight": random(16, 4), "oft_blocks": random(2, 2)}
    tensors |= {f"x{number}": random(2) for number in range(6)}
    facts = inspect_adapter(write(tmp_path / "a.safetensors", tensors, {}))
    assert facts.not_finite == {f"{SGM}_attn1_to_q.lora_up.weight": 2}
    assert facts.formless == (f"{SGM}_attn1_to_k",)
    assert facts.methods == {"LoRA": 1, "incomplete": 1}
    assert json.loads(json.dumps(facts.as_dict()))["norms"] == {f"{SGM}_attn1_to_q": "nan"}
    text = table(facts)
    assert f"2 in {SGM}_attn1_to_q.lora_up.weight\n" in text
    assert f"{SGM}_attn1_to_k: tensors are missing or do not fit" in text
    assert "oft_blocks, x0, x1, x2, x3 and 2 more" in text


def test_every_field_of_our_own_header_can_be_read_in_the_table(tmp_path: Path):
    header = fields(step=250, lora=Lora(rank=4, alpha=2.0))
    text = table(inspect_adapter(write(tmp_path / "a.safetensors", kohya(), header)))
    for name, value in header.items():
        if name.startswith("lora_recipes."):
            key = name.removeprefix("lora_recipes.")
            leaves = flat(json.loads(value), key) if value[0] == "{" else {key: value}
            for leaf, content in leaves.items():
                lines = [line.split(maxsplit=1) for line in text.splitlines()]
                assert [leaf, text_of(content)] in lines
    assert answers(inspect_adapter(tmp_path / "a.safetensors")) | {
        "steps": "250",
        "of steps": "1000",
    } == (answers(inspect_adapter(tmp_path / "a.safetensors")))


def test_two_files_of_names_that_collide_lose_no_tensor():
    found = layout(
        ["a.lora_up.weight", "a.lora.up.weight", "a.lora_down.weight", "a.lora_A.weight"]
    )
    kept = [name for module in found.modules for name in module.tensors.values()]
    assert sorted([*kept, *found.others]) == [
        "a.lora.up.weight",
        "a.lora_A.weight",
        "a.lora_down.weight",
        "a.lora_up.weight",
    ]


def test_a_file_without_tensors_and_without_a_header_is_told_as_such(tmp_path: Path):
    facts = inspect_adapter(write(tmp_path / "a.safetensors", {}, {}))
    text = table(facts)
    assert "0: the file holds no tensor" in text
    assert "no module of any known method" in text
    assert facts.total_norm == 0


def test_the_hashes_are_those_of_other_programs(tmp_path: Path):
    path = write(tmp_path / "a.safetensors", kohya(), KOHYA_HEADER)
    data = path.read_bytes()
    length = int.from_bytes(data[:8], "little")
    hashes = inspect_adapter(path).hashes
    assert hashes.sha256 == hashlib.sha256(data).hexdigest()
    assert hashes.md5 == hashlib.md5(data).hexdigest()
    assert hashes.data == hashlib.sha256(data[8 + length :]).hexdigest()


def test_a_hash_in_the_header_is_recomputed_and_compared(tmp_path: Path):
    path = write(tmp_path / "a.safetensors", kohya(), KOHYA_HEADER)
    right = inspect_adapter(path).hashes.data
    assert "recomputed; in the header: not stated" in table(inspect_adapter(path))
    write(path, kohya(), {**KOHYA_HEADER, "sshs_model_hash": right})
    assert "recomputed: as the header says" in table(inspect_adapter(path))
    assert inspect_adapter(path).as_dict()["data_hash_agrees"] is True
    write(path, kohya(), {"sshs_model_hash": "0" * 64})
    assert f"recomputed; the header says {'0' * 64}: the tensors are not" in table(
        inspect_adapter(path)
    )


def test_the_hash_of_the_tensors_knows_no_header_order_or_lossless_type():
    tensors = {name: value.bfloat16().float() for name, value in kohya().items()}
    arrays = {name: value.numpy() for name, value in tensors.items()}
    same = tensors_hash(arrays)
    assert tensors_hash(dict(reversed(arrays.items()))) == same
    assert tensors_hash({name: value.astype("f8") for name, value in arrays.items()}) == same
    name = f"{SGM}_attn1_to_q.lora_up.weight"
    assert tensors_hash({**arrays, name: arrays[name] * 2}) != same
    assert tensors_hash({**arrays, name: arrays[name].reshape(4, 16)}) != same
    renamed = {("x" if key == name else key): value for key, value in arrays.items()}
    assert tensors_hash(renamed) != same


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            pickle.dumps({"state_dict": {}}),
            "is a pickle (or a zip of one), which can run code when it is opened\n"
            "  fix:     get the file as safetensors, or convert it with the program that wrote it",
        ),
        (b"", "is not a safetensors file, or its header is damaged\n"
         "  fix:     fetch or make the file again"),
        (None, "cannot be read: No such file or directory\n  fix:     check the path"),
    ],
)  # fmt: skip
def test_a_file_that_is_no_adapter_gets_one_clear_error(
    tmp_path: Path, content: bytes | None, message: str
):
    path = tmp_path / "a.safetensors"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError) as caught:
        inspect_adapter(path)
    assert str(caught.value) == f"{path}: {message}"


def test_a_truncated_file_is_told_by_its_missing_bytes(tmp_path: Path):
    path = write(tmp_path / "a.safetensors", *FORMATS["kohya"])
    whole = path.stat().st_size
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(UserError) as caught:
        inspect_adapter(path)
    assert str(caught.value) == (
        f"{path}: is cut off: {whole - 5:,} of {whole:,} bytes\n"
        "  fix:     fetch or make the file again"
    )


def test_inspect_needs_no_torch_and_little_time(tmp_path: Path):
    path = write(tmp_path / "a.safetensors", *FORMATS["kohya"])
    spent = []
    for _ in range(2):
        before = os.times()
        done = subprocess.run(
            [sys.executable, "-c", BLOCK_TORCH, "inspect", str(path)],
            capture_output=True,
            text=True,
            check=False,
        )
        after = os.times()  # of ended children too, whatever else the machine does
        spent.append(
            after.children_user + after.children_system
            - before.children_user - before.children_system
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert "sd_xl_base_1.0.safetensors" in done.stdout
    assert min(spent) < 1, "0.35 s of CPU, with room for a slower machine"


def test_inspect_prints_json_that_holds_every_field(tmp_path: Path, capsys):
    path = write(tmp_path / "a.safetensors", lora(f"{BLOCKS}_attn1_to_q"), KOHYA_HEADER)
    assert main(["inspect", str(path), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["metadata"] == KOHYA_HEADER
    assert found["stated"]["rank"] == {"value": "4", "field": "ss_network_dim"}
    assert found["stated"]["seed"] == "not stated"
    assert found["data_hash_agrees"] == "not stated"
    assert found["modules"] == {"UNet": {"attention": 1}}
