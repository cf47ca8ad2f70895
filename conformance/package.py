#!/usr/bin/env python3
"""The Debian package: built, installed, run as its unit says, upgraded, removed and purged, with nothing left behind.

systemd does not run where this runs. So the unit is judged by systemd-analyze; its ExecStart is started here as its User, with
the sockets and variables that systemd would give, and this is the manager that hears what the program tells; and strace shows
that all system calls of a whole run pass the unit's filters. As root the package is installed on this machine, which must not
have it. Otherwise it is unpacked into a folder and run from there, and what needs root is named as not checked. Half a minute.
"""

import argparse
import contextlib
import os
import pathlib
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

from program import ROOT, ProgramError, find_binary, free_port
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--binary", help="the program to package (default: target/debug/drawgate)")
    parser.add_argument("--unpack", action="store_true", help="unpack the package, and install nothing, also as root")
    arguments = parser.parse_args()
    binary = find_binary(arguments.binary)
    # Below / and not /root: the service's user must get there.
    with tempfile.TemporaryDirectory(prefix="drawgate-package-") as folder:
        folder = pathlib.Path(folder)
        folder.chmod(0o755)
        try:
            package = build(binary, folder)
            check_contents(package)
            if os.geteuid() == 0 and not arguments.unpack:
                check_installed(package, folder)
            else:
                check_unpacked(package, folder)
        except (AssertionError, ProgramError, subprocess.TimeoutExpired) as failure:
            print("package: 0 passed, 1 failed")
            sys.exit(f"package: {failure}")
    print("package: 1 passed, 0 failed")


def build(binary, folder):
    """The package of `binary`; the same twice."""
    packages = []
    for attempt in ("first", "second"):
        environment = os.environ | {"COMPRESSION": "-Zgzip"}
        told = output_of([ROOT / "packaging" / "deb.sh", binary, folder / attempt], env=environment)
        packages.append(pathlib.Path(told.strip()))
    expect(packages[0].read_bytes() == packages[1].read_bytes(), "two packages of the same program differ")
    done(f"built {packages[0].name}, {packages[0].stat().st_size >> 20} MiB, twice the same")
    return packages[0]


def check_contents(package):
    """What is in it belongs to root, and nobody else may write to it."""
    entries = [line.split(maxsplit=5) for line in output_of(["dpkg-deb", "--contents", package]).splitlines()]
    modes = {name.removeprefix("."): (mode, owner) for mode, owner, _, _, _, name in entries}
    for name, (mode, owner) in modes.items():
        expect(owner == "root/root" and mode[5] == mode[8] == "-", f"{name} is {mode} {owner}")
    for name in FILES:
        expect(name in modes, f"{name} is not in the package")
    expect(modes["/usr/bin/drawgate"][0] == "-rwxr-xr-x", "the program is not executable")
    control = output_of(["dpkg-deb", "--field", package])
    expect(re.search(r"^Depends: libc6 \(>= 2\.\d+\), ", control, re.MULTILINE), f"the C library is not named in {control}")
    done(f"{len(modes)} files and folders, root's")


def check_installed(package, folder):
    """The whole life of the package on this machine."""
    had = [place for place in PLACES if place.exists()]
    expect(not had and not has_user(), f"drawgate is here already ({had or 'its user'}): remove it first, or use --unpack")
    accounts = [output_of(["getent", base]) for base in ("passwd", "group")]
    try:
        run([*DPKG, "--install", package])
        check_places()
        check_units(UNITS, pathlib.Path("/"))
        config = PLACES[0] / "drawgate.toml"
        move_admin(config)
        check_service(Service(UNITS / "drawgate.service", pathlib.Path("/"), folder))
        edited = config.read_text()
        check_scripts(package, config, folder)
        expect(config.read_text() == edited, "an upgrade has changed the configuration")
        run([*DPKG, "--remove", "drawgate"])
        expect(not PLACES[2].exists() and not UNITS.joinpath("drawgate.service").exists(), "the program is still there")
        expect(config.read_text() == edited and any(PLACES[1].iterdir()), "removing has taken what only purging may")
        run([*DPKG, "--purge", "drawgate"])
        left = [place for place in (*PLACES, *map(pathlib.Path, FILES)) if place.exists()]
        expect(not left, f"purging has left {left}")
        now = [output_of(["getent", base]) for base in ("passwd", "group")]
        expect(now == accounts, "purging has left other users or groups than there were")
        done("upgraded, removed and purged; nothing is left")
    finally:
        put_back()


def check_scripts(package, config, folder):
    """What the package's scripts ask of systemd, where it runs: here it seems to, and `systemctl` writes down what it is asked."""
    asked = folder / "asked.txt"
    (folder / "bin").mkdir()
    systemctl = folder / "bin" / "systemctl"
    seeming = 'mount -t tmpfs none /run && mkdir -p /run/systemd/system && PATH="$1:$PATH" && shift && exec "$@"'
    command = ["unshare", "--mount", "sh", "-c", seeming, "sh", systemctl.parent]
    if subprocess.run([*command, "true"], capture_output=True, check=False).returncode != 0:
        print("NOT CHECKED (no file system can be mounted here): what the package's scripts ask of systemd")
        run([*DPKG, "--install", package])
        return

    def asks(*arguments, is_active=True):
        systemctl.write_text(f'#!/bin/sh\necho "$*" >>{asked}\n[ "$2" != is-active ] || {str(is_active).lower()}\n')
        systemctl.chmod(0o755)
        asked.write_text("")
        run([*command, *DPKG, *arguments])
        return asked.read_text().splitlines()

    edited = config.read_text()
    upgrade = ("--install", package)
    look = ["daemon-reload", "--quiet is-active drawgate.service"]
    restart = ["restart drawgate.service"]
    for is_right, wanted in ((True, look + restart), (False, look)):
        config.write_text(edited if is_right else "wrong")
        told = asks(*upgrade)
        expect(told[-len(wanted) :] == wanted, f"an upgrade, with a configuration that is right: {is_right}, asks: {told}")
    config.write_text(edited)
    told = asks("--remove", "drawgate")
    expect("disable --now drawgate.socket drawgate.service" in told and told[-1] == "daemon-reload", f"asked: {told}")
    told = asks(*upgrade, is_active=False)
    expect(told == look, f"an installation asks: {told}")
    done("the scripts ask systemd for what they should, and nothing is started unasked")


def put_back():
    """Makes this machine one without the package again, whatever went wrong: it was one before."""
    purge = [*DPKG, "--force-remove-reinstreq", "--purge", "drawgate"]
    for command in (purge, ["userdel", "drawgate"], purge):
        subprocess.run(command, capture_output=True, timeout=STEP_SECONDS_MAX, check=False)
    for place in PLACES[:2]:
        shutil.rmtree(place, ignore_errors=True)


def check_places():
    """Who may see and change what is installed."""
    for place, mode, owner in (
        (PLACES[0], 0o750, "root:drawgate"),
        (PLACES[0] / "drawgate.toml", 0o640, "root:drawgate"),
        (PLACES[1], 0o700, "drawgate:drawgate"),
        (PLACES[2], 0o755, "root:root"),
    ):
        is_owner, is_mode = f"{place.owner()}:{place.group()}", place.stat().st_mode & 0o7777
        expect((is_mode, is_owner) == (mode, owner), f"{place} is {is_mode:o} {is_owner}")
    told = output_of([PLACES[2], "check", "--config", PLACES[0] / "drawgate.toml"], user="drawgate", group="drawgate")
    expect(": fine (1 listener, 1 route)" in told, told)
    run(["bash", "-n", "/usr/share/bash-completion/completions/drawgate"])
    done("installed; its folders are its own, and its configuration is fine")


def check_unpacked(package, folder):
    """As much as can be seen without installing."""
    why = "asked to unpack" if os.geteuid() == 0 else "not root"
    print(f"NOT CHECKED ({why}): installing, the user, upgrading, removing and purging")
    root = folder / "root"
    run(["dpkg-deb", "--extract", package, root])
    config = root / "etc" / "drawgate" / "drawgate.toml"
    state = root / "var" / "lib" / "drawgate"
    state.mkdir(parents=True, mode=0o700)
    config.write_text(config.read_text().replace("/var/lib/drawgate", str(state)))
    program = root / "usr" / "bin" / "drawgate"
    expect(": fine (" in output_of([program, "check", "--config", config]), "the configuration is not fine")
    move_admin(config)
    units = root / "usr" / "lib" / "systemd" / "system"
    # Of the system, and not of the package: what ExecReload= runs.
    (root / "bin").mkdir(exist_ok=True)
    shutil.copy2("/bin/kill", root / "bin" / "kill")
    check_units(units, root)
    check_service(Service(units / "drawgate.service", root, folder))


def check_units(units, root):
    """What systemd says of them."""
    named = [units / "drawgate.service", units / "drawgate.socket"]
    verified = subprocess.run(
        ["systemd-analyze", "verify", "--recursive-errors=no", f"--root={root}", *(unit.name for unit in named)]
        if root != pathlib.Path("/")
        else ["systemd-analyze", "verify", "--recursive-errors=no", *named],
        capture_output=True,
        text=True,
        timeout=STEP_SECONDS_MAX,
        check=False,
    )
    expect(verified.returncode == 0 and "drawgate" not in verified.stderr, f"systemd-analyze verify: {verified.stderr}")
    judged = output_of(
        ["systemd-analyze", "security", "--offline=true", f"--threshold={EXPOSURE_TENTHS_MAX}", "--no-pager", named[0]],
        env=os.environ | {"LC_ALL": "C.UTF-8"},
    )
    level = re.search(r"exposure level for drawgate.service: ([\d.]+)", judged)
    expect(level and float(level[1]) * 10 <= EXPOSURE_TENTHS_MAX, judged)
    done(f"the units are right; exposure {level[1]} of 10")


class Service:
    """A unit, started as systemd would, with this program as the manager."""

    def __init__(self, unit, root, folder):
        self.settings = {}
        for line in unit.read_text().splitlines():
            name, is_setting, value = line.partition("=")
            if is_setting and not line.startswith("#"):
                self.settings[name] = [*self.settings.get(name, []), value]
        self.command = shlex.split(self.settings["ExecStart"][-1])
        if root != pathlib.Path("/"):
            self.command = [word if not word.startswith("/") else f"{root}{word}" for word in self.command]
        self.user = self.settings["User"][-1] if root == pathlib.Path("/") else None
        self.folder = folder
        self.output = folder / "output.txt"
        self.manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        address = folder / "notify"
        address.unlink(missing_ok=True)
        self.manager.bind(str(address))
        address.chmod(0o777)
        self.manager.settimeout(STEP_SECONDS_MAX)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.process = None

    def start(self, tracing=()):
        """Starts it, and returns when it has told that it is ready."""
        descriptor = self.listener.fileno()
        script = f'exec 3<&{descriptor} {descriptor}<&-; LISTEN_PID=$$; export LISTEN_PID; exec "$@"'
        environment = {
            "PATH": "/usr/bin:/bin",
            "NOTIFY_SOCKET": str(self.folder / "notify"),
            "LISTEN_FDS": "1",
            "LISTEN_FDNAMES": "public",
            "WATCHDOG_USEC": "400000",
        }
        with self.output.open("wb") as output:
            self.process = subprocess.Popen(
                # The shell becomes the program; a tracer stays beside it.
                [*tracing, "sh", "-c", script, "sh", *self.command],
                cwd="/",
                env=environment,
                user=self.user,
                group=self.user,
                extra_groups=[] if self.user else None,
                umask=0o077,
                pass_fds=[descriptor],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        self.hear("READY=1\nSTATUS=0 connections")

    def hear(self, wanted):
        """Waits until the program tells what begins so; returns all of it."""
        until = time.monotonic() + STEP_SECONDS_MAX
        while time.monotonic() < until and (self.process.poll() is None or wanted.startswith("STOPPING")):
            with contextlib.suppress(TimeoutError):
                self.manager.settimeout(0.2)
                state = self.manager.recv(4096).decode()
                if state.startswith(wanted):
                    return state
        raise ProgramError(f"{wanted!r} was not told; the program printed:\n{self.output.read_text()}")

    def drain(self, client):
        """Ends it by SIGTERM while `client` is connected, and holds it to what it promises."""
        os.kill(self.main_pid(), signal.SIGTERM)
        state = self.hear("STOPPING=1\n")
        expect("STATUS=draining, 1 connection to end" in state, state)
        try:
            client.recv(timeout=STEP_SECONDS_MAX)
            raise AssertionError("a message came instead of a Close")
        except ConnectionClosed as closed:
            expect(closed.rcvd and closed.rcvd.code == 1012, f"the client was not told to come again: {closed}")
        code = self.process.wait(STEP_SECONDS_MAX)
        expect(code == 0, f"it ended with {code}:\n{self.output.read_text()}")

    def main_pid(self):
        """The program's own process; a tracer is its parent."""
        children = pathlib.Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        return int(children[0]) if children else self.process.pid

    def end(self):
        """Ends what still runs."""
        if self.process and self.process.poll() is None:
            os.kill(self.main_pid(), signal.SIGKILL)
            self.process.wait()
        self.manager.close()
        self.listener.close()


def check_service(service):
    """Serves, tells, restarts without refusing anybody, drains; then once more under strace."""
    try:
        service.start()
        service.hear("WATCHDOG=1")
        with echoing(service) as client:
            service.drain(client)
        done("ready, alive, echoed, drained")
        # The socket is systemd's: who comes between two runs waits in it.
        between = socket.create_connection(("127.0.0.1", service.port))
        trace = service.folder / "trace.txt"
        # It writes as the service's user, whom the folder is not.
        trace.touch()
        trace.chmod(0o666)
        traced = can_trace()
        service.start(["strace", "--follow-forks", "--quiet=all", f"--output={trace}"] if traced else [])
        with connect(f"ws://127.0.0.1:{service.port}/chat", sock=between) as client:
            echo(client)
            service.drain(client)
        done("a client that came between two runs was served")
        if traced:
            check_filters(service.settings, trace.read_text())
    finally:
        service.end()


@contextlib.contextmanager
def echoing(service):
    """A client that has had an answer."""
    with connect(f"ws://127.0.0.1:{service.port}/chat") as client:
        echo(client)
        yield client


def echo(client):
    client.send("hello")
    answer = client.recv(timeout=STEP_SECONDS_MAX)
    expect(answer == "Server received: hello", answer)


def can_trace():
    """Whether processes may be traced here; some containers forbid it."""
    tried = subprocess.run(["strace", "true"], capture_output=True, text=True, timeout=STEP_SECONDS_MAX, check=False)
    if tried.returncode != 0:
        print(f"NOT CHECKED (no process can be traced here): the unit's filters of system calls: {tried.stderr.strip()}")
    return tried.returncode == 0


def check_filters(settings, trace):
    """Whether the unit lets through all that the program asked of the kernel."""
    # What the shell did before it became the program is not the program's.
    begun = re.search(r'execve\("[^"]*/usr/bin/drawgate"', trace)
    expect(begun, "the trace does not show the program")
    trace = trace[begun.start() :]
    calls = set(re.findall(r"^(?:\d+ +)?([a-z]\w*)\(", trace, re.MULTILINE))
    expect({"accept4", "execve"} <= calls and calls & {"epoll_wait", "epoll_pwait"}, f"the trace shows too little: {sorted(calls)}")
    allowed = set()
    for value in settings["SystemCallFilter"]:
        named = {call for word in value.removeprefix("~").split() for call in expanded(word)}
        allowed = allowed - named if value.startswith("~") else allowed | named
    expect("ptrace" not in allowed and "setuid" not in allowed, "the filter filters nothing")
    expect(calls <= allowed, f"the unit's SystemCallFilter forbids what the program does: {sorted(calls - allowed)}")
    families = set(re.findall(r"\bsocket(?:pair)?\((AF_\w+)", trace))
    expect(families <= set(settings["RestrictAddressFamilies"][-1].split()), f"sockets of the families {families}")
    writable_code = re.search(r"^.*PROT_READ\|PROT_WRITE\|PROT_EXEC.*$", trace, re.MULTILINE)
    expect(not writable_code, f"MemoryDenyWriteExecute forbids: {writable_code and writable_code[0]}")
    done(f"{len(calls)} kinds of system calls, all within the unit's filters")


def expanded(name):
    """The system calls of a set of systemd's, or the one that is named."""
    if not name.startswith("@"):
        return {name}
    lines = output_of(["systemd-analyze", "syscall-filter", "--no-pager", name]).splitlines()
    words = [line.strip() for line in lines if line.startswith(" ") and not line.strip().startswith("#")]
    return {call for word in words for call in expanded(word)}


def move_admin(config):
    """Gives the admin listener a port that is free; another program may have the usual one."""
    text = config.read_text()
    expect(text.count("127.0.0.1:9090") == 1, "the configuration has no admin listener at 127.0.0.1:9090")
    # In place: its owner and mode are part of what is tested.
    config.write_text(text.replace("127.0.0.1:9090", f"127.0.0.1:{free_port()}"))


def has_user():
    return subprocess.run(["getent", "passwd", "drawgate"], capture_output=True, check=False).returncode == 0


def run(command):
    output_of(command)


def output_of(command, **options):
    """What a command prints; it must do well."""
    result = subprocess.run(command, capture_output=True, text=True, timeout=STEP_SECONDS_MAX, check=False, **options)
    said = f"{result.stdout}{result.stderr}".strip()
    expect(result.returncode == 0, f"{shlex.join(map(str, command))} ended with {result.returncode}:\n{said}")
    return result.stdout


def expect(is_so, complaint):
    if not is_so:
        raise AssertionError(complaint)


def done(text):
    print(f"ok: {text}", flush=True)


# Without waiting for the disk: nothing of it is to be kept.
DPKG = ("dpkg", "--force-unsafe-io")
# The configuration's folder, the state's, the program.
PLACES = (pathlib.Path("/etc/drawgate"), pathlib.Path("/var/lib/drawgate"), pathlib.Path("/usr/bin/drawgate"))
UNITS = pathlib.Path("/usr/lib/systemd/system")
FILES = (
    "/etc/drawgate/drawgate.toml",
    "/usr/bin/drawgate",
    "/usr/lib/systemd/system/drawgate.service",
    "/usr/lib/systemd/system/drawgate.socket",
    "/usr/lib/sysusers.d/drawgate.conf",
    "/usr/share/bash-completion/completions/drawgate",
    "/usr/share/doc/drawgate/changelog.Debian.gz",
    "/usr/share/doc/drawgate/changelog.gz",
    "/usr/share/doc/drawgate/copyright",
    "/usr/share/doc/drawgate/libraries.gz",
    "/usr/share/doc/drawgate/service.md",
    "/usr/share/man/man1/drawgate.1.gz",
    "/usr/share/man/man1/drawgate-run.1.gz",
    "/usr/share/zsh/vendor-completions/_drawgate",
)
# 14 by systemd 252; other versions judge a little differently.
EXPOSURE_TENTHS_MAX = 20
# How long one step may take: a package of a debug build is made in five seconds.
STEP_SECONDS_MAX = 60

if __name__ == "__main__":
    main()
