"""The command line itself: usage errors, and lines that only it prints."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from lora_recipes import cli
from lora_recipes.answers import how_it_stopped
from lora_recipes.machine import Device
from lora_recipes.reporting import Quiet
from lora_recipes.stages.check import before
from lora_recipes.stopping import Stopped
from tests.dataset.pictures import photo, put
from tests.provenance.git import make_repository

REPOSITORY = Path(__file__).resolve().parents[1]


SCRIPT, MODULE = "/an environment/bin/lora-recipes", "/a folder/lora_recipes/__main__.py"


@pytest.fixture(params=[SCRIPT, MODULE, f"{SCRIPT}.exe"], ids=["script", "module", "windows"])
def form(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """How the program was started, and how messages name it then."""
    monkeypatch.setattr("sys.argv", [request.param])
    return "python -m lora_recipes" if request.param == MODULE else "lora-recipes"


@pytest.mark.parametrize(
    ("arguments", "usage"),
    [
        (["verify", "HEAD", "--nosuch"], "verify "),
        (["plan", "too", "--much"], "plan "),
        (["verify"], "verify "),
        (["--nosuch"], "[-h]"),
    ],
)
def test_a_wrong_argument_prints_its_own_commands_usage(form, arguments, usage, capsys):
    with pytest.raises(SystemExit) as stopped:
        cli.main(arguments)
    assert stopped.value.code == 2
    told = capsys.readouterr().err
    assert " ".join(told.split()).startswith(f"usage: {form} {usage}")
    for argument in arguments[2:]:
        assert argument in told.splitlines()[-1]


@pytest.mark.parametrize(
    ("word", "fix"),
    [
        *(
            (word, "`dvc repro` runs all stages, training too")
            for word in ("train", "repro", "run")
        ),
        ("trian", "`dvc repro` runs all stages, training too"),
        *(
            (
                word,
                "a project is a clone of this repository: edit its params.yaml, then `dvc repro`",
            )
            for word in ("init", "new")
        ),
        ("exp", "`dvc exp run -S <key>=<value>` tries a value"),
        ("plam", "did you mean plan?"),
        ("Verify", "did you mean verify?"),
        ("xyz", "`{form} --help` lists the commands"),
        ("", "`{form} --help` lists the commands"),
    ],
)
def test_a_command_that_does_not_exist_is_answered_with_what_does_it(form, word, fix, capsys):
    assert cli.main([word, "--whatever"]) == 2
    assert capsys.readouterr().err == (
        f"{form} {word}".rstrip() + ": there is no such command\n"
        f"  fix:     {fix.replace('{form}', form)}\n"
    )


def test_hints_print_the_form_of_the_command_that_was_called(form, capsys):
    assert cli.main(["explain", "no.such"]) == 1
    assert f"`{form} explain` lists all keys" in capsys.readouterr().err


COMMANDS = "|".join(cli._names(cli._parser()))
SPELT_OUT = re.compile(rf"(?:lora-recipes|python3? -m lora_recipes|\{{PACKAGE\}}) (?:{COMMANDS})\b")
FILES_THAT_STAY = {
    "pipeline.py",  # dvc.yaml
    "recipe/reference.py",  # docs/reference.md
    "report/advice.py",  # out/report/index.html, as the next
    "report/page.html.j2",  # out/report/index.html
    "stages/resolve.py",  # resolved.yaml
}


def test_no_message_spells_the_command_out_and_files_that_stay_name_the_module():
    """A message prints what was typed, through `as_called`; a file is read by other people."""
    package, found = Path(cli.__file__).parent, {}
    for file in sorted(p for p in package.rglob("*") if p.suffix in {".py", ".j2", ".js"}):
        text = " ".join(re.sub(r"^ *#", "", file.read_text("utf-8"), flags=re.MULTILINE).split())
        if forms := SPELT_OUT.findall(text):
            found[file.relative_to(package).as_posix()] = forms
    found.pop("command.py")  # gives examples of both
    assert found.keys() == FILES_THAT_STAY
    assert [form for forms in found.values() for form in forms if form.startswith("lora-")] == []


TRAINED = "stages:\n  resolve:\n    cmd: x\n  train:\n    cmd: x\n"
WAY_BACK = "\n  back to the adapter before: `dvc checkout train`, its figures `git checkout -- out`"


@pytest.mark.parametrize(
    ("stopped", "stage", "told"),
    [
        (
            Stopped(signal.SIGINT, 140, 720),
            "train",
            f"stopped after step 140 of 720; `dvc repro` resumes from there{WAY_BACK}",
        ),
        (
            KeyboardInterrupt(),
            "train",
            f"stopped; `dvc repro` resumes from the last checkpoint, if there is one{WAY_BACK}",
        ),
        (Stopped(signal.SIGTERM), "encode", "stopped; `dvc repro` resumes"),
        (KeyboardInterrupt(), "", "stopped"),
    ],
)
def test_who_stops_a_command_hears_what_is_kept_and_the_way_back(
    tmp_path: Path, stopped: KeyboardInterrupt, stage: str, told: str
):
    lock = tmp_path / "dvc.lock"
    for text in (None, "", TRAINED.partition("  train")[0]):
        if text is not None:
            lock.write_text(text)
        assert how_it_stopped(stopped, stage, tmp_path) == told.removesuffix(WAY_BACK)
    lock.write_text(TRAINED)
    assert how_it_stopped(stopped, stage, tmp_path) == told


@pytest.mark.parametrize(
    ("raised", "code"),
    [(KeyboardInterrupt(), 130), (Stopped(signal.SIGINT, 1, 2), 130),
     (Stopped(signal.SIGTERM, 1, 2), 143)],
)  # fmt: skip
def test_a_stopped_command_ends_with_its_signals_exit_code(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], raised, code: int
):
    def explain(options: object, root: Path) -> int:
        """Explain."""
        raise raised

    monkeypatch.setattr(cli, "explain", explain)
    assert cli.main(["explain"]) == code
    assert capsys.readouterr().err == "stopped\n"


ODD = {
    "no colours": {"NO_COLOR": "1", "TERM": "xterm"},
    "one column": {"COLUMNS": "1", "TERM": "xterm"},
    "no column": {"COLUMNS": "0", "TERM": ""},
    "odd words": {"COLUMNS": "many", "TERM": "x" * 300, "LINES": "-1"},
    "no unicode": {"PYTHONIOENCODING": "ascii", "LC_ALL": "C"},
    "forced colours": {"FORCE_COLOR": "1", "TERM": "dumb"},
}
SHOW = """
import sys
from lora_recipes.console import reporter
from lora_recipes.cli import main
report = reporter(sys.argv[1])
with report.loading("a model"):
    report.warn("look \u0394")
with report.bar("read pictures", 3) as bar:
    report.say("a line")
    bar.advance(loss=0.5)
sys.exit(main(["--help"]) if sys.argv[2:] else main(["explain", "lora.rank"]))
"""


@pytest.mark.parametrize("around", ODD.values(), ids=ODD)
def test_on_an_odd_terminal_nothing_breaks(around: dict[str, str]):
    for arguments in (["bar"], ["plain", "--help"]):
        done = subprocess.run(
            [sys.executable, "-c", SHOW, *arguments],
            env=os.environ | around,
            cwd=REPOSITORY,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert "a line" in done.stderr or around.get("COLUMNS") in {"0", "1"}
        assert "Traceback" not in done.stdout + done.stderr


@pytest.mark.parametrize("arguments", [["explain"], ["--help"], ["validate"], ["nosuch"]])
def test_nobody_reads_what_is_printed(arguments: list[str]):
    """As before `| head -1`: no traceback, and no exit code that says it was done."""
    read, write = os.pipe()
    os.close(read)

    def run(stderr: int) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "lora_recipes", *arguments],
            env={k: v for k, v in os.environ.items() if k != "PYTHONUNBUFFERED"},
            cwd=REPOSITORY,
            stdout=write,
            stderr=stderr,
            text=True,
            check=False,
        )

    done = run(subprocess.PIPE)
    told = "there is no such command" if arguments == ["nosuch"] else ""
    assert done.returncode == (2 if told else 141)
    assert told in done.stderr
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr
    assert run(write).returncode == 141
    os.close(write)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_what_cannot_be_printed_is_an_error_with_a_message():
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "lora_recipes", "explain", "lora.rank"],
            cwd=REPOSITORY,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == 1
    assert done.stderr == (
        "what is printed cannot be written: No space left on device\n"
        "  fix:     free some space, or print it elsewhere\n"
    )


CLOSED = (
    "import os, sys; os.closerange(1, 3); os.execv(sys.executable, [sys.executable, *sys.argv[1:]])"
)


@pytest.mark.parametrize("arguments", [["explain"], ["validate"], ["nosuch"]])
def test_streams_that_were_closed_lead_nowhere(arguments: list[str]):
    """As after `>&- 2>&-`, or as a service without a terminal."""
    command = [sys.executable, "-c", CLOSED, "-m", "lora_recipes", *arguments]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, check=False)
    assert done.returncode == (2 if arguments == ["nosuch"] else 0)


@pytest.fixture
def params(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The params.yaml of a project without a stage, in which this process stands."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "empty"))
    monkeypatch.setattr("lora_recipes.provenance.pipeline.stage_plans", lambda *_: [])
    (tmp_path / "recipes").mkdir()
    (tmp_path / "recipes/mine.yaml").write_text(
        "schema: 1\nname: mine\nversion: 1\ndescription: a test\n"
    )
    put(tmp_path, "data/a.png", photo(1024, 1024))
    put(tmp_path, "data/a.txt", "a photo")
    return tmp_path / "params.yaml"


SDXL = "stabilityai/stable-diffusion-xl-base-1.0"


@pytest.mark.parametrize("free", [40, 3])
def test_plan_says_what_is_to_be_fetched_of_the_base_model(
    params: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], free: int
):
    disk = SimpleNamespace(free=free * 10**9 + 5)
    monkeypatch.setattr("lora_recipes.base.fetch.shutil.disk_usage", lambda _: disk)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    params.write_text("recipe: mine\ndata: data\n")
    assert cli.main(["plan"]) == (free < 14)
    out, err = capsys.readouterr()
    told = f"about 14 GB to fetch, {free} GB free"
    assert f"base model     {SDXL}: not on this machine, or not whole: {told}" in out.splitlines()
    assert ("would stop" in err) == (free < 14)
    if free < 14:
        assert err.endswith(
            "`dvc repro` would stop at this:\n"
            f"base.model = {SDXL}: {told} in {params.parent}/empty\n"
            "  fix:     free some space there, or set HF_HOME to a folder on a larger disk\n"
        )
    params.write_text("recipe: mine\ndata: data\nbase: {model: pocket}\n")
    assert cli.main(["plan"]) == 0
    assert "base model" not in capsys.readouterr().out


def test_plan_says_what_the_run_will_not_be_able_to_tell(
    params: Path, capsys: pytest.CaptureFixture[str]
):
    def said(text: str, code: int = 0) -> list[str]:
        params.write_text(text)
        assert cli.main(["plan"]) == code
        lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
        return [line for line in lines if line.startswith(("verdict ", "pocket "))]

    pocket = "recipe: mine\ndata: data\nbase: {model: pocket}\n"
    assert said(pocket) == [
        "verdict no pictures are held out, so nobody can tell whether it learned: put 1 or 2 "
        "into data/heldout and set dataset.heldout: heldout",
        "pocket the pocket draws coloured shapes, not photos: this run shows that your data and "
        "settings go through, not likeness",
    ]
    declared = pocket + "dataset: {heldout: test}\n"  # plan stops: no picture is there yet
    assert said(declared, code=1)[0].startswith("pocket")
    assert [line.split()[0] for line in said("recipe: mine\ndata: data\n")] == ["verdict"]


def test_plan_stops_at_a_base_model_that_is_missing_offline(
    params: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    params.write_text("recipe: mine\ndata: data\n")
    assert cli.main(["plan"]) == 1
    told = capsys.readouterr().err
    assert (
        "`dvc repro` would stop at this:\n"
        f"base.model = {SDXL}: not on this machine (HF_HUB_OFFLINE is set); missing at revision "
    ) in told
    assert "  fix:     where there is a network, run\n    hf download " in told


@pytest.mark.parametrize("card", [None, Device("NVIDIA H100", 80 * 2**30)])
def test_plan_says_that_the_gpu_is_not_here(
    params: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], card
):
    monkeypatch.setattr("lora_recipes.machine.nvidia_card", lambda: card)
    params.write_text("recipe: mine\ndata: data\nbase: {model: pocket}\ncompute: {device: cuda}\n")
    assert cli.main(["plan"]) == 0
    told = (
        "device         nvidia-smi finds no NVIDIA GPU here; without one, `dvc repro` stops before "
        "it encodes"
    )
    assert (told in capsys.readouterr().out.splitlines()) == (card is None)


NO_GIT = (
    "this folder is in no git repository, as after the download of a ZIP: DVC does not run here, "
    "and no commit can hold what was trained\n"
    "  fix:     `git clone` the project instead; or make this one a repository: `git init && git "
    "add -A && git commit -m start`\n"
)


def test_validate_plan_and_pin_say_that_there_is_no_git_repository(
    params: Path, capsys: pytest.CaptureFixture[str]
):
    put(params.parent, "dvc.yaml", "stages: {}\n")
    params.write_text("recipe: mine\ndata: data\nbase: {model: pocket}\n")
    assert cli.main(["plan"]) == 1
    assert capsys.readouterr().err.endswith(NO_GIT)
    assert cli.main(["validate"]) == 0
    assert capsys.readouterr().err.endswith(f"warning: {NO_GIT}")
    assert cli.main(["pin"]) == 0
    assert f"warning: {NO_GIT}" in capsys.readouterr().err


def test_plan_pin_and_the_dataset_stage_warn_of_data_that_no_commit_will_hold(
    params: Path, capsys: pytest.CaptureFixture[str]
):
    root = make_repository(params.parent)
    put(root, ".gitignore", "/data\n")
    params.write_text("recipe: mine\ndata: data\nbase: {model: pocket}\n")
    told = (
        "data is neither in git nor under DVC: nobody can train this commit again\n"
        "  fix:     dvc add data"
    )
    for command in ("plan", "pin"):
        assert cli.main([command]) == 0
        out, err = capsys.readouterr()
        assert f"warning: {told}\n" in err
    assert "`git add data.dvc params.yaml recipes/pins/" in out
    report = Quiet()
    before("dataset", root, report)
    assert report.warned == [told]
    put(root, "data.dvc", "outs: []\n")
    assert cli.main(["plan"]) == 0
    assert "neither" not in capsys.readouterr().err
