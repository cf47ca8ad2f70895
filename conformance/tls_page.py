"""docs/tls.md, block by block, in one folder: what a reader would copy is what is run.

`toml` blocks are written to the file that their first line names, `sh` blocks are run by bash, `serve` blocks are started and left
running once they listen, `python` and `js` blocks are run by the clients of conformance/install.sh. Any that fails fails the run,
and so does one that says nothing of what is in SAID.
"""

import argparse
import os
import pathlib
import re
import subprocess
import sys
import tempfile

import program

PAGE = program.ROOT / "docs" / "tls.md"
TOOLS = pathlib.Path(__file__).resolve().parent
# What has to be printed by the block that begins with this, and by which it is seen that it did its work.
SAID = {
    "echo hello |": ["hello\n", "only WebSocket handshakes are answered here"],
    'import asyncio, ssl\nfrom websockets.asyncio.client import connect\n\nasync def main():\n    trust = ssl.create_default_context(cafile="cert.pem")\n    async': ["hello from Python\n"],
    "import { readFileSync }": ["hello from Node\n"],
    "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -noenc -days 30 -keyout new.key": ["by the new certificate\n"],
    "drawgate check drawgate.toml": ["drawgate.toml: fine (1 listener, 1 route)"],
    "openssl req -x509 -newkey rsa:2048": ["several.toml: fine (1 listener, 1 route)"],
    "import asyncio, ssl": ["21 degrees\n"],
}  # fmt: skip
BLOCK_SECONDS_MAX = 60


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", help="the drawgate program; else target/debug/drawgate")
    binary = program.find_binary(parser.parse_args().binary)
    blocks = re.findall(r"^```(\w+)\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    running, unsaid = [], dict(SAID)
    with tempfile.TemporaryDirectory() as name:
        directory = pathlib.Path(name)
        environment = surroundings(directory, binary)
        try:
            for kind, text in blocks:
                said = run(kind, text, directory, environment, running, binary)
                begin = next((begin for begin in unsaid if text.startswith(begin)), None)
                for expected in unsaid.pop(begin, []):
                    if expected not in said:
                        return f"this block did not say {expected!r}:\n{text}\nbut:\n{said}"
        finally:
            for one in running:
                one.terminate()
                one.end_code()
    if unsaid:
        return f"these blocks are not on the page: {list(unsaid)}"
    print(f"docs/tls.md: {len(blocks)} blocks do what they say")
    return 0


def surroundings(directory, binary):
    """What a reader's machine has: the program in the PATH, and the client libraries."""
    (directory / "bin").mkdir()
    (directory / "bin" / "drawgate").symlink_to(binary)
    (directory / "node_modules").symlink_to(TOOLS / "node_modules")
    path = f"{directory / 'bin'}:{TOOLS / '.venv' / 'bin'}:{os.environ['PATH']}"
    return os.environ | {"PATH": path, "NODE_EXTRA_CA_CERTS": ""}


def run(kind, text, directory, environment, running, binary):
    """Does what the block is for; what it printed."""
    match kind:
        case "toml":
            name = text.splitlines()[0].removeprefix("# ")
            (directory / name).write_text(text)
            return ""
        case "serve":
            arguments = text.split()
            port = int(re.search(r"127\.0\.0\.1:(\d+)", (directory / arguments[-1]).read_text()).group(1))
            folder = directory / f"served-{port}"
            folder.mkdir()
            arguments[-1] = str(directory / arguments[-1])
            server = program.Program(binary, arguments[1:], folder)
            running.append(server)
            server.wait_until(lambda: program.accepts("127.0.0.1", port))
            return ""
        case "sh":
            command = ["bash", "-euo", "pipefail", "-c", text]
        case "python":
            command = ["python", "-c", text]
        case "js":
            (directory / "client.mjs").write_text(text)
            command = ["node", "client.mjs"]
        case _:
            return ""
    done = subprocess.run(
        command, cwd=directory, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True,
        timeout=BLOCK_SECONDS_MAX,
    )  # fmt: skip
    if done.returncode != 0:
        raise SystemExit(f"this block failed with {done.returncode}:\n{text}\n{done.stdout}{done.stderr}")
    return done.stdout


if __name__ == "__main__":
    sys.exit(main())
