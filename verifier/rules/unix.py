"""Rules on what intruders do on Linux and other systems of Unix (ATT&CK for Linux and Containers)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache

from schema import FileFields, ModuleLoadFields
from verifier.commands import command_program, command_rule, commands_that
from verifier.rules.kit import SERVER_PROGRAMS
from verifier.socket_commands import INSIDE_NAMES, LOCAL_NAMES, address_of, is_loopback, is_outside_name, socket_uses
from verifier.window import (
    SHELLS,
    Findings,
    Line,
    Lines,
    Window,
    basename,
    findings_by_host_and_user,
    is_user_writable,
    rule,
)

HAND_WRITERS = (
    "tee",
    "cp",
    "mv",
    "curl",
    "wget",
    "dash",
    "zsh",
    "ksh",
)  # beside shells: what a person or a script writes files with
_UNIT = re.compile(
    r"/systemd/(?:system|user)/[^/]+\.(?:service|timer|path|socket)$|^/etc/(?:init\.d|profile\.d|update-motd\.d|udev/rules\.d)/[^/]+$|^/etc/rc\.local$"
)
_SUDOERS = re.compile(r"^/etc/sudoers(?:\.d/[^/]+)?$")


def _texts(line: Line) -> Iterable[str]:
    """Yield the command texts of a line: a launch's, a script's, a service's, a task's."""
    for name in ("process_cmd_line", "script_text", "host_application", "service_cmd_line", "job_cmd_line"):
        text = getattr(line.fields, name, None)
        if text:
            yield text


@rule(
    "shell-over-network",
    "T1059.004",
    "execution",
    on=(commands_that("shell-over-network"),),
    summary="A command opens a socket: /dev/tcp or /dev/udp, nc or ncat (-e, -c, --exec, piped to a shell), socat exec or system, mkfifo with nc, telnet or openssl, a one-liner of perl, python, ruby, php, lua or node, .NET TcpClient, /inet/tcp. "
    "Confirmed: it ties a shell or an interpreter's commands to it (input or output redirected to the socket, or what comes from it is run), to any host, by name or address, but loopback. "
    f"Suspicious: the same on loopback (127.*, ::1, {', '.join(LOCAL_NAMES)}), a loop over ports elsewhere (scan), a one-liner that shows no host (unclear), or data exchanged with an external address or a name with a dot that does not end in {', '.join(INSIDE_NAMES)}. "
    "Nothing: asking whether one port is open (an empty line or nothing is sent), and data exchanged with inside.",
    source="ATT&CK T1059.004, T1059.006, T1095; GNU Bash manual, Redirections",
)
def shell_over_network(commands: Lines, window: Window) -> Findings:
    strengths = {line.log_id: _strength_of_sockets(window, line) for line in commands}
    lines = [line for line in commands if strengths[line.log_id]]
    return findings_by_host_and_user(
        lines,
        confirmed=lambda group: any(strengths[line.log_id] == "confirmed" for line in group),
        program=command_program,
    )


def _strength_of_sockets(window: Window, line: Line) -> str:
    """Return how strong a sign the sockets of a line's commands are; nothing for none."""
    is_suspicious = False
    for use, host in (use for text in _texts(line) for use in socket_uses(text)):
        own = is_loopback(host)
        if use == "shell" and not own:
            return "confirmed"
        outside = is_outside_name(host) or window.is_external(address_of(host))
        is_suspicious |= use in ("shell", "unclear") or (not own and (use == "scan" or (use == "data" and outside)))
    return "suspicious" if is_suspicious else ""


@rule(
    "library-preloaded",
    "T1574.006",
    "privilege_escalation",
    on=(commands_that("library-preloaded"),),
    summary="A command sets LD_PRELOAD or LD_AUDIT to a library in /tmp, /var/tmp or /dev/shm, or writes /etc/ld.so.preload (>, tee, cp, mv, install). Suspicious. Confirmed: /etc/ld.so.preload, from or by something user-writable.",
    source="ATT&CK T1574.006; ld.so(8)",
)
def library_preloaded(commands: Lines, window: Window) -> Findings:
    return findings_by_host_and_user(commands, confirmed=_is_preload_file_of_foreign, program=command_program)


def _is_preload_file_of_foreign(group: list[Line]) -> bool:
    return any("/etc/ld.so.preload" in text and is_user_writable(text) for line in group for text in _texts(line))


@rule(
    "sudoers-changed",
    "T1548.003",
    "privilege_escalation",
    on=(commands_that("sudoers-changed"), (FileFields, "create", "modify")),
    summary=f"/etc/sudoers or a file in /etc/sudoers.d is written by a command (>, tee, cp, mv, install, sed -i), a shell, {', '.join(HAND_WRITERS)} or a user-writable program. Suspicious. "
    "Confirmed: by a user-writable or a server program.",
    source="ATT&CK T1548.003; sudoers(5)",
)
def sudoers_changed(commands: Lines, writes: Lines[FileFields], window: Window) -> Findings:
    written = [line for line in writes if _SUDOERS.match(line.fields.file_path or "") and _is_hand_written(line)]
    yield from findings_by_host_and_user(
        [*commands, *written], confirmed=lambda group: any(map(_is_foreign, group)), program=command_program
    )


def _is_hand_written(line: Line[FileFields]) -> bool:
    """Return whether a shell, a tool of a shell, or a program that nobody vouches for writes a file."""
    writer = basename(line.fields.process_path)
    return writer in SHELLS or writer in HAND_WRITERS or _is_foreign(line)


def _is_foreign(line: Line) -> bool:
    """Return whether the program that acts lies in a user-writable folder, or a server program acts or starts it."""
    path = getattr(line.fields, "process_path", None)
    names = basename(path), basename(getattr(line.fields, "parent_path", None))
    return is_user_writable(path) or any(name in SERVER_PROGRAMS for name in names)


@rule(
    "unit-written",
    "T1543.002",
    "persistence",
    on=(commands_that("unit-written"), (FileFields, "create", "modify")),
    summary="A unit of systemd (.service, .timer, .path, .socket in systemd/system or systemd/user), or a file in /etc/init.d, profile.d, update-motd.d or udev/rules.d, or /etc/rc.local, is written by a shell, "
    f"{', '.join(HAND_WRITERS)} or a user-writable program, or a unit in /tmp, /var/tmp, /dev/shm or /home is enabled or linked. Suspicious. Confirmed: by a user-writable or a server program.",
    source="ATT&CK T1543.002, T1037.004, T1546.004, T1546.017; systemd.unit(5)",
)
def unit_written(commands: Lines, writes: Lines[FileFields], window: Window) -> Findings:
    written = [line for line in writes if _is_unit(line.fields.file_path or "") and _is_hand_written(line)]
    yield from findings_by_host_and_user(
        [*commands, *written], confirmed=lambda group: any(map(_is_foreign, group)), program=command_program
    )


@lru_cache(maxsize=4096)
def _is_unit(path: str) -> bool:
    return _UNIT.search(path) is not None


@rule(
    "kernel-module-inserted",
    "T1547.006",
    "persistence",
    on=(commands_that("module-inserted"), (ModuleLoadFields, "driver")),
    summary="insmod loads a kernel module from elsewhere than /lib/modules, modprobe is given another folder (-d), or a module (.ko) in a user-writable folder is loaded. Suspicious. Confirmed: the module is user-writable.",
    source="ATT&CK T1547.006, T1014; insmod(8), modprobe(8)",
)
def kernel_module_inserted(commands: Lines, loads: Lines[ModuleLoadFields], window: Window) -> Findings:
    foreign = [
        line for line in loads if ".ko" in (line.fields.file_path or "") and is_user_writable(line.fields.file_path)
    ]
    yield from findings_by_host_and_user(
        [*commands, *foreign], confirmed=lambda group: any(map(_is_module_foreign, group)), program=command_program
    )


def _is_module_foreign(line: Line) -> bool:
    return isinstance(line.fields, ModuleLoadFields) or any(map(is_user_writable, _texts(line)))


setuid_shell = command_rule(
    "setuid-shell",
    "T1548.001",
    "privilege_escalation",
    meaning="setuid-shell",
    confirmed=True,
    summary="chmod or install sets the set-uid bit on a shell or on a file in /tmp, /var/tmp or /dev/shm. Confirmed.",
    source="ATT&CK T1548.001; chmod(1)",
)
history_off = command_rule(
    "shell-history-off",
    "T1070.003",
    "defense_evasion",
    meaning="history-off",
    confirmed=False,
    summary="A shell's history is turned off or removed: HISTFILE unset, empty or /dev/null, HISTSIZE or HISTFILESIZE 0, set +o history, .bash_history (also zsh, ash) removed, emptied or linked to /dev/null. Suspicious.",
    source="ATT&CK T1070.003, T1562.003; GNU Bash manual, Bash History Facilities",
)


@rule(
    "host-from-container",
    "T1611",
    "privilege_escalation",
    on=(commands_that("container-left"),),
    summary="A command reaches out of a container: nsenter into process 1, docker, podman or nerdctl run with the host's root mounted to be written (not :ro) or with --pid host and nsenter or chroot, or a cgroup's release_agent is written. "
    "Suspicious. Confirmed: release_agent, or by a server program or one that it starts.",
    source="ATT&CK T1611, T1610; nsenter(1), Docker CLI reference",
)
def host_from_container(commands: Lines, window: Window) -> Findings:
    return findings_by_host_and_user(commands, confirmed=_has_left, program=command_program)


def _has_left(group: list[Line]) -> bool:
    written = any("release_agent" in text for line in group for text in _texts(line))
    return written or any(
        basename(getattr(line.fields, name, None)) in SERVER_PROGRAMS
        for line in group
        for name in ("process_path", "parent_path")
    )


process_memory_copied = command_rule(
    "process-memory-copied",
    "T1003.007",
    "credential_access",
    meaning="process-memory-copied",
    confirmed=False,
    summary="A command copies another process's memory: gcore, gdb -p with gcore, generate-core-file or dump memory, or dd, cat, cp, strings, xxd or grep of /proc/PID/mem. Suspicious.",
    source="ATT&CK T1003.007; proc(5), gcore(1)",
)

RULES = (
    shell_over_network,
    library_preloaded,
    sudoers_changed,
    unit_written,
    kernel_module_inserted,
    setuid_shell,
    history_off,
    host_from_container,
    process_memory_copied,
)
