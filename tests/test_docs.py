"""What the pages name is there: files, links and modules to run."""

from __future__ import annotations

import argparse
import contextlib
import io
import re
import shlex
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from configobj import ConfigObj
from dvc.cli.parser import get_main_parser
from dvc_render.html import HTML

from lora_recipes import cli

REPOSITORY = Path(__file__).resolve().parents[1]
PAGES = [
    REPOSITORY / "README.md",
    REPOSITORY / "CONTRIBUTING.md",
    *(REPOSITORY / "docs").glob("*.md"),
]

NAMED = re.compile(r"(?<![\w/.-])(?:tests|benchmarks|lora_recipes|pocket_training)/[\w/.-]*\w/?")
LINK = re.compile(r"\]\(([^)#]+)\)")
BLOCK = re.compile(r"^ *```(\w*)\n(.*?)^ *```$", re.DOTALL | re.MULTILINE)
INLINE = re.compile(r"(?<!`)`([^`]+)`(?!`)")
MODULE = re.compile(r"python -m ((?:benchmarks|lora_recipes|pocket_training)[\w.]*\w)")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_file_link_and_module_that_a_page_names_is_there(page: Path):
    text = page.read_text("utf-8")
    links = [link for link in LINK.findall(text) if not link.startswith("http")]
    missing = [name for name in NAMED.findall(text) if not (REPOSITORY / name).exists()]
    missing += [link for link in links if not (page.parent / link).exists()]
    for module in MODULE.findall(text):
        place = REPOSITORY.joinpath(*module.split("."))
        if not (place / "__main__.py").exists() and not place.with_suffix(".py").exists():
            missing.append(module)
    assert missing == []


def test_the_front_page_leads_to_every_other_and_stays_short():
    front = PAGES[0].read_text("utf-8")
    linked = {link.removeprefix("docs/") for link in LINK.findall(front)}
    records = {"drift.md", "kills.md"}  # of measurements; guarantees.md leads to them
    assert {page.name for page in PAGES[2:]} - records <= linked
    assert len(front.splitlines()) < 160
    proven = (REPOSITORY / "docs/guarantees.md").read_text("utf-8")
    assert records <= set(LINK.findall(proven))
    assert len(NAMED.findall(proven)) > 30


def shown(page: Path) -> Iterator[list[str]]:
    """The commands of a page, as words: those of its blocks, and those within a sentence."""
    text = page.read_text("utf-8")
    texts = [" ".join(inline.split()) for inline in INLINE.findall(BLOCK.sub("", text))]
    for block in (content for language, content in BLOCK.findall(text) if not language):
        lines = block.replace("\\\n", " ").splitlines()
        typed = [line.removeprefix("$ ") for line in lines if line.startswith("$ ")]
        texts += typed or [line.strip() for line in lines]
    for line in texts:
        for part in re.split(r"&&|\||;", line):
            with contextlib.suppress(ValueError):  # no command: its quotes do not match
                words = shlex.split(part, comments=True)
                if len(words) > 1:
                    yield words


def fault(words: list[str]) -> str:
    """What is wrong with a command; empty where it is right, or none that is known here."""
    if words[:3] == ["python", "-m", "lora_recipes"]:
        words = ["lora-recipes", *words[3:]]
    if words[0] == "lora-recipes":
        return refusal(cli._parser(), words[1:]) if words[1:] else ""
    if words[0] == "dvc":
        return refusal(get_main_parser(), words[1:])
    if words[0] == "git":
        return "" if words[1] in git_commands() else f"git has no {words[1]}"
    if words[0] == "make":
        rules = (REPOSITORY / "Makefile").read_text("utf-8")
        targets = [word for word in words[1:] if "=" not in word]
        return ", ".join(t for t in targets if not re.search(rf"^{t}:", rules, re.MULTILINE))
    if words[:2] == ["python", "-m"] and "." in words[2]:
        code = REPOSITORY.joinpath(*words[2].split(".")).with_suffix(".py").read_text("utf-8")
        options = [word.partition("=")[0] for word in words[3:] if word.startswith("--")]
        return ", ".join(option for option in options if f'"{option}"' not in code)
    return ""


def refusal(parser: argparse.ArgumentParser, words: list[str]) -> str:
    """What a command's own parser says against it."""
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            parser.parse_args(words)
    except SystemExit:
        return said.getvalue()
    except Exception as error:  # DVC's parser raises one of its own
        return repr(error)
    return ""


@cache
def git_commands() -> list[str]:
    return subprocess.check_output(["git", "--list-cmds=main"], text=True).split()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_that_a_page_shows_is_one_with_these_options(page: Path):
    assert [(shlex.join(words), wrong) for words in shown(page) if (wrong := fault(words))] == []


def test_dvcs_own_page_of_plots_says_what_to_look_at_without_a_network():
    settings = ConfigObj(str(REPOSITORY / ".dvc/config"), encoding="utf-8")
    template = (REPOSITORY / ".dvc" / settings["plots"]["html_template"]).read_text("utf-8")
    shown = HTML(template).with_scripts("SCRIPTS").with_element("PLOTS").embed()
    assert shown.index("SCRIPTS") < shown.index("from the network") < shown.index("PLOTS")
    assert 'href="../out/report/index.html"' in shown


def test_the_commands_are_found_and_a_wrong_one_is_seen():
    found = [words for page in PAGES for words in shown(page)]
    programs = ("dvc", "git", "make", "python")
    counts = {name: sum(words[0] == name for words in found) for name in programs}
    assert min(counts.values()) > 10, counts
    for wrong in ("dvc repro --fast", "dvc reprise x", "git chekout main", "make repros",
                  "python -m lora_recipes verify", "lora-recipes diff a b --jsn",
                  "python -m benchmarks.quick --no-such"):  # fmt: skip
        assert fault(wrong.split()), wrong
