#!/usr/bin/env python3
"""Follows the README word for word, as someone new would: on a fresh clone, in an empty directory.

How its blocks are marked is said in pages.py. The clone is of the last commit here; git is told to find the public address
there. Crates that others wrote are compiled once and kept under target/newcomer; nothing else is shared with this
directory.
"""

import pathlib
import sys
import tempfile

from pages import Difference, Shell, follow

ROOT = pathlib.Path(__file__).resolve().parent.parent


def main():
    variables = {
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": f"url.{ROOT}.insteadOf",
        "GIT_CONFIG_VALUE_0": PUBLIC_ADDRESS,
        # Where cargo keeps what it compiles on the way; what the README names still appears where it says.
        "CARGO_BUILD_BUILD_DIR": str(ROOT / "target" / "newcomer"),
    }
    with tempfile.TemporaryDirectory(prefix="drawgate-newcomer-") as directory:
        shell = Shell(pathlib.Path(directory), variables)
        try:
            followed, skipped = follow("README.md", (ROOT / "README.md").read_text(), shell)
        except Difference as difference:
            print("newcomer: 0 passed, 1 failed")
            sys.exit(f"newcomer: {difference}")
    if followed == 0:
        sys.exit("newcomer: README.md has no block marked `sh`; this check cannot fail")
    print(f"newcomer: {followed} passed, 0 failed, {skipped} skipped")


PUBLIC_ADDRESS = "https://github.com/drawgate/drawgate"

if __name__ == "__main__":
    main()
