"""How long `trace` takes in a repository of thousands of commits.

Builds a git repository with `git fast-import`, in which every commit has another dvc.lock and
out/environment.json, a tenth of them experiments, and traces the oldest and a foreign adapter:

    python -m benchmarks.trace_history
    python -m benchmarks.trace_history --commits 20000
"""

from __future__ import annotations

import argparse
import hashlib
import json
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import torch

from lora_recipes.provenance.objects import file_md5
from lora_recipes.tensors import write_tensors

REPOSITORY = Path(__file__).resolve().parents[1]
REPEATS = 5
EXPERIMENTS = 10
"""One commit of so many is an experiment on its predecessor."""


def main() -> None:
    """Build, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--commits", type=int, default=5000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        build(root, options.commits)
        print(f"{options.commits} commits, {platform.processor() or platform.machine()}")
        for name, file, right in (("oldest commit", "first", 0), ("nothing found", "foreign", 2)):
            wall, cpu, code = measure(root, root / f"{file}.safetensors")
            assert code == right, f"{name}: trace exited {code}"
            print(f"{name:14} {wall:.2f} s, {cpu:.2f} s of CPU")


def build(root: Path, commits: int) -> None:
    """A repository whose first commit made `first.safetensors`, and no commit `foreign`'s."""
    for number, name in enumerate(("first", "foreign")):
        module = "lora_unet_mid_block_attentions_0_proj_in"
        tensors = {
            f"{module}.lora_down.weight": torch.full((4, 8), 1.0 + number),
            f"{module}.lora_up.weight": torch.full((8, 4), 1.0 + number),
        }
        write_tensors(root / f"{name}.safetensors", tensors, {})
    subprocess.run(["git", "init", "-q", "-b", "main", root], check=True)
    subprocess.run([sys.executable, "-m", "dvc", "init", "-q"], cwd=root, check=True)
    (root / "dvc.yaml").write_text("stages: {}\n")
    stream = b"".join(history(commits, file_md5(root / "first.safetensors")))
    subprocess.run(["git", "fast-import", "--quiet"], cwd=root, input=stream, check=True)


def history(commits: int, first: str) -> Iterator[bytes]:
    """The commits for fast-import: this project's own lock and record with other hashes."""
    lock = (REPOSITORY / "dvc.lock").read_text()
    record = json.loads((REPOSITORY / "out/environment.json").read_text())
    adapter = lock.partition("- path: out/adapter.safetensors")[2].split("md5: ")[1][:32]
    for number in range(commits):
        digest = hashlib.sha256(str(number).encode()).hexdigest()
        files = {
            "dvc.lock": lock.replace(adapter, digest[:32] if number else first),
            "out/environment.json": json.dumps(
                {**record, "tensors_sha256": digest[:16], "recipe_sha256": digest[16:32]}, indent=1
            ),
        }
        experiment = number % EXPERIMENTS == 1
        ref = f"refs/exps/{digest[:2]}/{digest[2:40]}/run-{number}" if experiment else None
        yield f"commit {ref or 'refs/heads/main'}\nmark :{number + 1}\n".encode()
        yield f"committer tester <tester@example.org> {1_700_000_000 + number} +0000\n".encode()
        yield data(f"run {number}")
        if experiment:
            yield f"from :{number}\n".encode()
        for path, text in files.items():
            yield f"M 100644 inline {path}\n".encode() + data(text)
        yield b"\n"


def data(text: str) -> bytes:
    """A length-counted text of fast-import's format."""
    return f"data {len(text.encode())}\n{text}\n".encode()


def measure(root: Path, file: Path) -> tuple[float, float, int]:
    """Best of some runs of the command, git's and DVC's processes included."""
    found = []
    for _ in range(REPEATS):
        before, start = cpu_seconds(), time.monotonic()
        done = subprocess.run(
            [sys.executable, "-m", "lora_recipes", "trace", file],
            cwd=root,
            env={"PYTHONPATH": str(REPOSITORY), "PATH": "/usr/local/bin:/usr/bin:/bin"},
            capture_output=True,
            check=False,
        )
        found.append((time.monotonic() - start, cpu_seconds() - before, done.returncode))
    return min(found)


def cpu_seconds() -> float:
    """Of all processes that ended so far."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


if __name__ == "__main__":
    main()
