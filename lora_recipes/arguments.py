"""The options of commands that have many."""

from __future__ import annotations

import argparse


def caption_options(sub: argparse.ArgumentParser) -> None:
    """What `caption` may be told."""
    sub.add_argument("folder", nargs="?", help="pictures; without it, the data of params.yaml")
    sub.add_argument("--model", required=True, help="a Hugging Face id, or a folder")
    sub.add_argument("--revision", default="none", help="the commit of the id, 40 hex digits")
    sub.add_argument(
        "--prompt",
        help="BLIP: words that captions begin with; Florence-2: <CAPTION>, <DETAILED_CAPTION> "
        "(the default) or <MORE_DETAILED_CAPTION>",
    )
    sub.add_argument("--max-tokens", type=int, default=60, help="of a caption; default: 60")
    sub.add_argument(
        "--trigger", help="the word to put in front, or none; default: the recipe's dataset.trigger"
    )
    sub.add_argument(
        "--overwrite", action="store_true", help="make captions in files anew, metadata.jsonl's not"
    )
    devices = ("auto", "cpu", "cuda", "mps")
    sub.add_argument("--device", choices=devices, default="auto", help="default: auto")
    sub.add_argument("--dry-run", action="store_true", help="print the captions, write nothing")
    sub.add_argument("--json", action="store_true", help="one JSON document instead of text")
