"""A stage without its work: writes a hash of what dvc.yaml says that the stage depends on."""

import hashlib
import sys
from pathlib import Path

from ruamel.yaml import YAML

yaml = YAML(typ="safe", pure=True)
name = sys.argv[1]
stage = yaml.load(Path("dvc.yaml").read_text())["stages"][name]
data = yaml.load(Path("params.yaml").read_text())["data"]
resolved = yaml.load(Path("resolved.yaml").read_text())
state = hashlib.sha256()
for dep in stage.get("deps", []):
    path = Path(dep.replace("${data}", data))
    for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
        if file.is_file():
            state.update(file.read_bytes())
for entry in stage["params"]:
    for key in entry["resolved.yaml"]:
        value = resolved
        for part in key.split("."):
            value = value[part]
        state.update(repr(value).encode())
for kind in ("outs", "metrics", "plots"):
    for out in stage.get(kind, []):
        path = Path(out if isinstance(out, str) else next(iter(out)))
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix:
            path.write_text(f'{{"hash": "{state.hexdigest()}"}}')
        else:
            path.mkdir()
            if name != "prior" or resolved["prior"]:  # else it asks for no picture
                (path / "hash").write_text(state.hexdigest())
            if name == "prior":  # the dataset stage, which is no stand-in, reads it
                (path / "index.json").write_text('{"pictures": []}')
