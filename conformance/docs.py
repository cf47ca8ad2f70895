#!/usr/bin/env python3
"""Follows the pages of docs/ word for word, each in an empty directory, with the program on the path.

How their blocks are marked is said in pages.py. `drawgate` is the binary that is named, `python` the one of
conformance/.venv, and Node finds conformance/node_modules. Pages without a block to follow are left out.
"""

import argparse
import os
import pathlib
import sys
import tempfile

from pages import Difference, Shell, blocks_of, follow
from program import ROOT, find_binary


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--binary", help="the drawgate program")
    parser.add_argument("pages", nargs="*", help="the pages; without them, all")
    arguments = parser.parse_args()
    binary = pathlib.Path(find_binary(arguments.binary))
    named = [pathlib.Path(page) for page in arguments.pages] or sorted((ROOT / "docs").glob("*.md"))
    pages = {path: path.read_text() for path in named}
    pages = {path: text for path, text in pages.items() if blocks_of(path.name, text)}
    if not pages:
        sys.exit("docs: no page has a block to follow; this check cannot fail")
    failed = []
    for path, text in pages.items():
        with tempfile.TemporaryDirectory(prefix="drawgate-docs-") as directory:
            shell = Shell(pathlib.Path(directory), {"PATH": search_path(binary), "NO_COLOR": "1"})
            (shell.directory / "node_modules").symlink_to(ROOT / "conformance" / "node_modules")
            try:
                followed, skipped = follow(path.name, text, shell)
                print(f"{path.name}: {followed} blocks followed, {skipped} left out")
            except Difference as difference:
                failed.append(path.name)
                print(f"{path.name}: {difference}")
    print(f"docs: {len(pages) - len(failed)} passed, {len(failed)} failed")
    sys.exit(1 if failed else 0)


def search_path(binary):
    """Where the commands of a page are found."""
    folders = [binary.parent, ROOT / "conformance" / ".venv" / "bin", os.environ["PATH"], "/usr/sbin"]
    return os.pathsep.join(map(str, folders))


if __name__ == "__main__":
    main()
