from __future__ import annotations

import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from lora_recipes.errors import UserError
from lora_recipes.formats.arrays import read_arrays
from lora_recipes.tensors import Entry, read_header, read_tensors, write_tensors

METADATA = {"b": "two", "a": "ä <one>", "lora_recipes.hash": "sha256:0"}


def some_tensors() -> dict[str, torch.Tensor]:
    return {
        "z.weight": torch.arange(6, dtype=torch.float32).reshape(2, 3).T,
        "a.alpha": torch.tensor(4.0),
        "half": torch.tensor([1.5, -2], dtype=torch.bfloat16),
        "flags": torch.tensor([True, False, True]),
        "empty": torch.zeros(0, 3),
    }


def test_the_library_reads_what_we_write(tmp_path: Path) -> None:
    path = tmp_path / "new folder" / "x.safetensors"
    write_tensors(path, some_tensors(), METADATA)
    for loaded in (load_file(path), read_tensors(path)):
        assert set(loaded) == set(some_tensors())
        for name, tensor in some_tensors().items():
            assert loaded[name].dtype == tensor.dtype
            assert torch.equal(loaded[name], tensor)
    with safe_open(path, "pt") as file:
        assert file.metadata() == METADATA


def test_we_read_what_the_library_writes(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    save_file({"w": torch.ones(2, 3), "b": torch.zeros(4, dtype=torch.float16)}, path, METADATA)
    header = read_header(path)
    assert header.metadata == METADATA
    assert header.entries == {
        "w": Entry("F32", (2, 3), 0, 24),
        "b": Entry("F16", (4,), 24, 32),
    }


def test_the_order_of_tensors_and_metadata_changes_no_byte(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    tensors = some_tensors()
    write_tensors(one, tensors, METADATA)
    write_tensors(two, dict(reversed(tensors.items())), dict(reversed(METADATA.items())))
    assert one.read_bytes() == two.read_bytes()
    write_tensors(two, tensors | {"a.alpha": torch.tensor(5.0)}, METADATA)
    assert one.read_bytes() != two.read_bytes()


def test_every_tensor_starts_at_a_multiple_of_its_width(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    write_tensors(path, some_tensors(), METADATA)
    header = read_header(path)
    assert header.data_start % 8 == 0
    assert [name for name, entry in header.entries.items() if entry.dtype == "F32"]
    for entry in header.entries.values():
        width = {"F32": 4, "BF16": 2, "BOOL": 1}[entry.dtype]
        assert entry.start % width == 0


def test_a_header_is_read_without_importing_torch(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    write_tensors(path, some_tensors(), METADATA)
    code = (
        "import sys, pathlib; sys.modules['torch'] = None\n"
        "from lora_recipes.tensors import read_header\n"
        "print(sorted(read_header(pathlib.Path(sys.argv[1])).entries))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)], check=True, capture_output=True, text=True
    )
    assert done.stdout == "['a.alpha', 'empty', 'flags', 'half', 'z.weight']\n"


def test_a_cut_off_file_is_named_with_its_size(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    write_tensors(path, {"w": torch.ones(300)}, {})
    whole = path.read_bytes()
    path.write_bytes(whole[:-100])
    for read in (read_header, read_tensors):
        with pytest.raises(UserError) as error:
            read(path)
        assert str(error.value) == (
            f"{path}: is cut off: {len(whole) - 100:,} of {len(whole):,} bytes\n"
            "  fix:     fetch or make the file again"
        )


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"abc",
        b"\x02\0\0\0\0\0\0\0[]",
        b"\x02\0\0\0\0\0\0\0{}more than the header says",
        b'\x16\0\0\0\0\0\0\0{"a":{"dtype":"F32"}}  ',
        b'\x3c\0\0\0\0\0\0\0{"a":{"dtype":"F32","shape":[9],"data_offsets":[0,4]}}      1234',
    ],
)
def test_a_foreign_file_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.safetensors"
    path.write_bytes(content)
    with pytest.raises(UserError) as error:
        read_header(path)
    assert str(error.value) == (
        f"{path}: is not a safetensors file, or its header is damaged\n"
        "  fix:     fetch or make the file again"
    )


@pytest.mark.parametrize(
    ("content", "message"),
    [
        *(
            (
                content,
                "is a pickle (or a zip of one), which can run code when it is opened\n"
                "  fix:     get the file as safetensors, or convert it with the program that wrote "
                "it",
            )
            for content in (*(pickle.dumps({"a": 1}, p) for p in range(2, 6)), b"PK\x03\x04" * 9)
        ),
        *(
            (
                content,
                "is a web page, not a file of tensors\n"
                "  fix:     log in where you fetched it, and fetch it again",
            )
            for content in (b"<!DOCTYPE html>\n<html>", b"<html>not found</html>")
        ),
        (
            b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n",
            "is the pointer that git-lfs keeps in place of a file\n"
            "  fix:     run `git lfs pull` where it came from",
        ),
    ],
)
def test_what_is_often_met_in_place_of_a_file_is_called_what_it_is(
    tmp_path: Path, content: bytes, message: str
) -> None:
    path = tmp_path / "x.safetensors"
    path.write_bytes(content)
    with pytest.raises(UserError) as error:
        read_header(path)
    assert str(error.value) == f"{path}: {message}"


def raw(path: Path, header: str, size: int = 16) -> Path:
    """A file whose header is this very text."""
    data = header.encode("utf-8", "surrogateescape")
    path.write_bytes(len(data).to_bytes(8, "little") + data + bytes(size))
    return path


def entry(shape: str = "[2, 2]", offsets: str = "[0, 16]", dtype: str = '"F32"') -> str:
    return f'{{"a": {{"dtype": {dtype}, "shape": {shape}, "data_offsets": {offsets}}}}}'


@pytest.mark.parametrize(
    "header",
    [
        entry(shape="[-2, -2]"),
        entry(shape="[-1, 0]", offsets="[0, 0]"),
        entry(shape="[0, 4611686018427387904]", offsets="[0, 0]"),
        entry(shape=f"[0, {10**4000}]", offsets="[0, 0]"),
        entry(shape=f"[0, {', '.join(['65536'] * 4)}]", offsets="[0, 0]"),
        entry(shape=str([1] * 61 + [2, 2])),
        entry(shape=str([1] * 100_000)),
        entry(shape="[2.0, 2.0]"),
        entry(shape="[true, 4]"),
        entry(shape='["2", 2]'),
        entry(shape="[NaN]"),
        entry(shape='"22"'),
        entry(shape="{}"),
        entry(shape="null"),
        entry(offsets="[0.0, 16.0]"),
        entry(offsets="[false, 16]"),
        entry(offsets="[-16, 0]"),
        entry(offsets="[16, 0]"),
        entry(offsets="[0, 1e1]"),
        entry(offsets="[0, 8, 16]"),
        entry(dtype="7"),
        entry(dtype="[]"),
        '{"a": ' + "[" * 100_000,
        '{"__metadata__": {"x": ' + '{"x": ' * 100_000,
        '{"__metadata__": {"x": 1}}',
        '{"__metadata__": []}',
        '{"a": []}',
        '{"a": "\udcff"}',
    ],
)
def test_a_header_that_no_tensor_can_have_is_refused(tmp_path: Path, header: str) -> None:
    path = raw(tmp_path / "x.safetensors", header)
    for read in (read_header, read_tensors, read_arrays):
        with pytest.raises(UserError) as error:
            read(path)
        assert str(error.value) == (
            f"{path}: is not a safetensors file, or its header is damaged\n"
            "  fix:     fetch or make the file again"
        )


@pytest.mark.parametrize(
    ("header", "key"),
    [
        (entry()[:-1] + ", " + entry()[1:], "a"),
        ('{"__metadata__": {"k\\u001b": "1", "k\\u001b": "2"}}', "k\\x1b"),
        ('{"__metadata__": {}, "__metadata__": {}}', "__metadata__"),
        (entry().replace('"shape"', '"dtype": "F16", "shape"'), "dtype"),
    ],
)
def test_a_header_that_says_a_thing_twice_is_refused(tmp_path: Path, header: str, key: str) -> None:
    path = raw(tmp_path / "x.safetensors", header)
    with pytest.raises(UserError) as error:
        read_header(path)
    assert str(error.value) == (
        f"{path}: its header says {key} twice, and programs differ in which one counts\n"
        "  fix:     fetch or make the file again"
    )


def test_half_a_character_in_a_name_or_a_text_stays_what_it_is(tmp_path: Path) -> None:
    header = entry()[:-1].replace('"a"', r'"a\ud83d"') + r', "__metadata__": {"\ud800": "\udfff"}}'
    path = raw(tmp_path / "x.safetensors", header)
    found = read_header(path)
    assert list(found.entries) == ["a\ud83d"]
    assert found.metadata == {"\ud800": "\udfff"}
    assert list(read_arrays(path)[1]) == ["a\ud83d"]
    with pytest.raises(UserError):  # the library has no such names
        read_tensors(path)


def test_an_empty_shape_and_one_of_32_axes_are_read(tmp_path: Path) -> None:
    for shape, size in ((str([1] * 31 + [4]), 16), ("[0, 70000]", 0), ("[]", 4)):
        path = raw(tmp_path / "x.safetensors", entry(shape, f"[0, {size}]"), size)
        assert read_arrays(path)[1]["a"].size == size // 4


def test_a_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "x.safetensors")
    with pytest.raises(UserError) as error:
        read_header(tmp_path / "x.safetensors")
    assert str(error.value) == (
        f"{tmp_path}/x.safetensors: is a pipe or a device, not a file\n"
        "  fix:     fetch or make the file again"
    )


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError) as error:
        read_header(tmp_path / "no.safetensors")
    assert str(error.value) == (
        f"{tmp_path}/no.safetensors: cannot be read: No such file or directory\n"
        "  fix:     check the path"
    )
