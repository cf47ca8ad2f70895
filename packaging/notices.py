#!/usr/bin/env python3
"""Prints the licences of all libraries that the program is linked with: each text once, below the names of those it is for.

Their licences ask to be passed on with the program. Reads what cargo has already fetched to build it; needs no network. A
library without a text of its own is named with its licence; where none is named either, this fails.
"""

import collections
import json
import pathlib
import re
import subprocess
import sys


def main():
    packages = {(package["name"], package["version"]): package for package in metadata()["packages"]}
    linked = sorted({tuple(line.split()[:2]) for line in tree().splitlines() if line.strip()})
    holders = collections.defaultdict(list)
    bare = []
    for name, version in linked:
        package = packages[name, version.removeprefix("v")]
        # Our own, which the package's copyright is about.
        if package["source"] is None:
            continue
        title = f"{name} {package['version']} ({package['license']})"
        texts = texts_in(pathlib.Path(package["manifest_path"]).parent)
        for text in texts:
            holders[text].append(title)
        if not texts:
            if not package["license"]:
                sys.exit(f"notices.py: {title} names no licence and has no text of one")
            bare.append(title)
    if len(holders) < LICENCES_MIN:
        sys.exit(f"notices.py: only {len(holders)} licences were found; cargo's answer is not understood")
    print("Drawgate is linked with these libraries; thanks to all who wrote them.")
    for text, titles in sorted(holders.items(), key=lambda item: item[1]):
        print(f"\n{RULE}\n{chr(10).join(titles)}\n{RULE}\n\n{text}")
    print(f"\n{RULE}\nWithout a text of their own, under the licences named:\n{chr(10).join(bare)}")


def texts_in(folder):
    """The licences of a library, and of what it brings along in folders of its own."""
    files = [file for depth in ("*", "*/*") for file in sorted(folder.glob(depth)) if is_licence(file)]
    texts = [file.read_text(errors="replace").replace("\r\n", "\n").strip() for file in files]
    return list(dict.fromkeys(texts))


def is_licence(file):
    return file.is_file() and file.suffix not in (".rs", ".py", ".sh") and re.match(NAMES, file.name, re.IGNORECASE)


def metadata():
    about = subprocess.run(["rustc", "--version", "--verbose"], check=True, stdout=subprocess.PIPE, text=True).stdout
    host = re.search(r"^host: (\S+)$", about, re.MULTILINE)[1]
    # Of other systems' libraries nothing was fetched.
    return json.loads(cargo("metadata", "--format-version=1", f"--filter-platform={host}"))


def tree():
    # Without --target: for the machine that this is built on and for.
    return cargo("tree", "--package=drawgate-cli", "--edges=normal", "--prefix=none", "--format={p}", "--no-dedupe")


def cargo(*arguments):
    command = ["cargo", *arguments, "--locked", "--offline"]
    return subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout


ROOT = pathlib.Path(__file__).resolve().parent.parent
NAMES = r"(licen[sc]e|copying|copyright|notice|unlicense)"
LICENCES_MIN = 10
RULE = "-" * 80

if __name__ == "__main__":
    main()
