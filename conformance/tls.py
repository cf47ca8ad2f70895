"""testssl.sh against the program's TLS listener: protocols, ciphers, forward secrecy and vulnerabilities, without a finding.

Makes an ECDSA and an RSA certificate, starts `drawgate run` with both, and lets testssl.sh (Debian's package) ask. Whatever it
does not call fine is a failure, and so is a check that it did not make. What it says of a certificate's revocation is not asked:
that is the authority's matter, and these have none. Neither is the order of ciphers: all of them are good, so the client, which
knows its own hardware, chooses (as Mozilla's recommendations have it).
"""

import argparse
import json
import pathlib
import subprocess
import sys
import tempfile

import program

CONFIGURATION = """
[listeners.secure]
address = "127.0.0.1:{port}"
tls = {{ certificates = [
    {{ certificate_file = "ecdsa.pem", private_key_file = "ecdsa.key" }},
    {{ certificate_file = "rsa.pem", private_key_file = "rsa.key" }},
] }}

[routes.echo]
listeners = ["secure"]
path = "/*"
origins = "any"
auth = "none"
backend = "echo"

[firewall]
connections_per_client_max = "unlimited"
handshakes_per_client_per_minute = "unlimited"
"""

KEYS = {"ecdsa": ["ec", "-pkeyopt", "ec_paramgen_curve:P-256"], "rsa": ["rsa:2048"]}

# What has to be among the answers of version 3.0: a run that was cut short must not pass.
ASKED = """
SSLv2 SSLv3 TLS1 TLS1_1 TLS1_2 TLS1_3 ALPN
cipherlist_NULL cipherlist_aNULL cipherlist_EXPORT cipherlist_LOW cipherlist_3DES_IDEA cipherlist_STRONG
PFS PFS_ciphers PFS_ECDHE_curves
heartbleed CCS ticketbleed ROBOT secure_renego secure_client_renego CRIME_TLS BREACH POODLE_SSL fallback_SCSV SWEET32 FREAK
DROWN LOGJAM BEAST LUCKY13 RC4
""".split()
FINE = {"OK", "INFO"}
RUN_SECONDS_MAX = 600


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", help="the drawgate program; else target/debug/drawgate")
    binary = program.find_binary(parser.parse_args().binary)
    problems = problems_of([{"id": name, "severity": "OK", "finding": ""} for name in ASKED])
    planted = problems_of([{"id": name, "severity": "LOW", "finding": "planted"} for name in ASKED[1:]])
    if problems or len(planted) != len(ASKED):
        return f"the judgement itself is wrong: {problems} {planted}"
    with tempfile.TemporaryDirectory() as directory:
        answers = ask(binary, pathlib.Path(directory))
    problems = problems_of(answers)
    for problem in problems:
        print(problem)
    print(f"testssl.sh: {len(answers)} answers, {len(problems)} findings")
    return 1 if problems else 0


def problems_of(answers):
    """What is not fine, and what has not been asked."""
    problems = [f"{one['id']}: {one['severity']}: {one['finding']}" for one in answers if one["severity"] not in FINE]
    asked = {one["id"] for one in answers}
    return problems + [f"{name}: was not asked" for name in ASKED if name not in asked]


def ask(binary, directory):
    """All that testssl.sh says of a listener that was started for it."""
    for name, kind in KEYS.items():
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", *kind, "-noenc", "-days", "30", "-subj", "/CN=localhost",
             "-addext", "subjectAltName=DNS:localhost", "-keyout", f"{name}.key", "-out", f"{name}.pem"],
            cwd=directory, check=True, capture_output=True,
        )  # fmt: skip
    port = program.free_port()
    (directory / "drawgate.toml").write_text(CONFIGURATION.format(port=port))
    running = program.Program(binary, ["run", "--config", "drawgate.toml"], directory)
    try:
        running.wait_until(lambda: program.accepts("127.0.0.1", port))
        subprocess.run(
            ["testssl", "--quiet", "--color", "0", "--warnings", "off", "--ip", "127.0.0.1", "--jsonfile", "answers.json",
             "--protocols", "--std", "--fs", "--vulnerable", f"https://localhost:{port}/"],
            cwd=directory, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, timeout=RUN_SECONDS_MAX,
        )  # fmt: skip
        return json.loads((directory / "answers.json").read_text())
    finally:
        running.terminate()
        running.end_code()


if __name__ == "__main__":
    sys.exit(main())
