"""The adapter's file: what strangers make of it, and that it is whole, finite and repeatable."""

from __future__ import annotations

import errno
import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from lora_recipes.adapter import file
from lora_recipes.adapter.parts import Adapted
from lora_recipes.errors import UserError
from tests.adapter import elsewhere
from tests.adapter.tiny import predict, tiny_unet

NAME = "lora_unet_middle_block_1_proj_in"


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    """An adapter for each kind of UNet, and what a fresh process makes of them."""
    folder = tmp_path_factory.mktemp("adapter")
    elsewhere.write(folder / "linear.safetensors", linear=True)
    elsewhere.write(folder / "convolution.safetensors", linear=False)
    other = "2" if os.environ.get("PYTHONHASHSEED") == "1" else "1"
    subprocess.run(
        [sys.executable, "-m", "tests.adapter.elsewhere", str(folder)],
        cwd=Path(__file__).parents[2],
        env={**os.environ, "PYTHONHASHSEED": other, "OMP_NUM_THREADS": "1"},
        check=True,
    )
    return folder


@pytest.fixture
def tensors():
    return {
        f"{NAME}.lora_down.weight": torch.randn(2, 3),
        f"{NAME}.lora_up.weight": torch.randn(3, 2),
        f"{NAME}.alpha": torch.tensor(1.0),
    }


@pytest.mark.parametrize("kind", ["linear", "convolution"])
@pytest.mark.parametrize("way", ["merged", "loaded"])
def test_from_the_file_alone_a_fresh_process_predicts_what_the_live_model_does(folder, kind, way):
    made = file.read_tensors(folder / "made.safetensors")
    live, base = elsewhere.trained(kind == "linear"), tiny_unet(kind == "linear")
    with torch.no_grad():
        expected, plain = predict(live), predict(base)

    torch.testing.assert_close(made[f"{kind}.{way}.noise"], expected, rtol=0, atol=1e-5)
    assert (expected - plain).abs().max() > 1e-2


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # its scheduler
@pytest.mark.parametrize("kind", ["linear", "convolution"])
@pytest.mark.parametrize("way", ["merged", "loaded"])
def test_the_pipeline_of_diffusers_draws_the_live_models_latents_from_the_file(folder, kind, way):
    made = file.read_tensors(folder / "made.safetensors")
    expected = elsewhere.latents(elsewhere.trained(kind == "linear"))
    plain = elsewhere.latents(tiny_unet(kind == "linear"))

    torch.testing.assert_close(made[f"{kind}.{way}.latents"], expected, rtol=1e-4, atol=1e-4)
    assert (expected - plain).abs().max() > 1e-2


def test_another_process_with_another_hash_seed_writes_the_same_bytes(folder):
    ours = (folder / "linear.safetensors").read_bytes()

    assert (folder / "again.safetensors").read_bytes() == ours


def test_what_is_read_back_is_what_was_written(folder):
    read = file.read_tensors(folder / "linear.safetensors")
    written = Adapted({"unet": elsewhere.trained()}).tensors(alpha=2.0)

    assert set(read) == set(written)
    assert all(torch.equal(read[name], tensor) for name, tensor in written.items())


def test_the_order_of_tensors_and_fields_changes_no_byte(tmp_path, tensors):
    fields = {"ss_b": "2", "ss_a": "1"}
    file.write(tmp_path / "one.safetensors", tensors, fields)
    turned = dict(reversed(tensors.items()))
    file.write(tmp_path / "two.safetensors", turned, dict(reversed(fields.items())))
    header = file.read_header(tmp_path / "one.safetensors")

    assert (tmp_path / "one.safetensors").read_bytes() == (
        tmp_path / "two.safetensors"
    ).read_bytes()
    assert list(header.metadata) == sorted(header.metadata)
    assert list(header.entries) == sorted(header.entries)


def test_the_header_holds_the_hash_of_the_bytes_behind_it_as_kohya_defines_it(folder):
    data = (folder / "linear.safetensors").read_bytes()
    after = data[8 + int.from_bytes(data[:8], "little") :]
    header = file.read_header(folder / "linear.safetensors")

    assert header.metadata["sshs_model_hash"] == hashlib.sha256(after).hexdigest()


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused_and_the_old_file_stays(tmp_path, tensors, bad):
    path = tmp_path / "adapter.safetensors"
    file.write(path, tensors, {})
    before = path.read_bytes()
    tensors[f"{NAME}.lora_up.weight"][1, 1] = bad

    with pytest.raises(UserError) as caught:
        file.write(path, tensors, {})

    assert str(caught.value) == (
        f"{path}: not written: 1 module holds weights that are not finite ({NAME})\n"
        "  allowed: finite numbers\n"
        "  fix:     lower train.learning_rate, or set train.max_grad_norm: 1, and train again"
    )
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_only_the_first_of_many_broken_modules_are_named(tmp_path):
    tensors = {f"lora_unet_{n}.lora_up.weight": torch.tensor([torch.nan]) for n in "dbcae"}

    with pytest.raises(UserError) as caught:
        file.write(tmp_path / "adapter.safetensors", tensors, {})

    assert "5 modules hold weights that are not finite " in str(caught.value)
    assert "(lora_unet_a, lora_unet_b, lora_unet_c and 2 more)" in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_a_full_disk_is_said_and_leaves_the_old_file_and_nothing_half_written(
    tmp_path, tensors, monkeypatch
):
    path = tmp_path / "adapter.safetensors"
    file.write(path, tensors, {})
    before = path.read_bytes()
    monkeypatch.setattr(os, "fsync", _full)

    with pytest.raises(UserError) as caught:
        file.write(path, tensors, {"ss_more": "1"})

    assert str(caught.value) == (
        f"{path}: cannot be written: No space left on device\n"
        "  fix:     free some space or choose a folder that you may write to, then run it again; "
        "nothing half-written was left behind"
    )
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def _full(handle: int) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_names_headers_and_fields_need_no_torch(folder):
    program = (
        "import sys; sys.modules['torch'] = None\n"
        "from pathlib import Path\n"
        "from lora_recipes.adapter import file, metadata, names\n"
        "header = file.read_header(Path(sys.argv[1]))\n"
        "print(len({names.diffusers_name(key.split('.')[0]) for key in header.entries}))\n"
    )
    told = subprocess.run(
        [sys.executable, "-c", program, str(folder / "linear.safetensors")],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        check=True,
        text=True,
    )

    assert told.stdout == f"{len(file.read_header(folder / 'linear.safetensors').entries) // 3}\n"
