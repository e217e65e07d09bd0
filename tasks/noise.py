"""Ordinary lines: what a healthy organisation logs all day. None of them is near any rule."""

from __future__ import annotations

from collections.abc import Callable

from schema import Account, Host
from tasks.scene import Scene

_PROGRAMS = (
    "C:\\Program Files\\Google\\Chrome\\chrome.exe",
    "C:\\Program Files\\Microsoft Office\\OUTLOOK.EXE",
    "C:\\Program Files\\Teams\\teams.exe",
    "C:\\Windows\\System32\\svchost.exe",
    "C:\\Windows\\System32\\conhost.exe",
    "C:\\Windows\\explorer.exe",
    "C:\\Windows\\System32\\notepad.exe",
)
_SITES = (
    "cdn.example-static.com",
    "login.example-id.com",
    "updates.example-os.com",
    "mail.example-office.com",
    "api.example-crm.com",
)


def _host_user(scene: Scene) -> tuple[Host, Account]:
    return scene.pick(scene.cast_hosts), scene.pick(scene.cast_accounts)


def _program_start(scene: Scene, at: float) -> None:
    host, user = _host_user(scene)
    path = scene.pick((*_PROGRAMS[:3], *_PROGRAMS[4:5], _PROGRAMS[6]))
    scene.add(
        at,
        "process",
        "launch",
        host["name"],
        user["name"],
        process_path=path,
        process_cmd_line=path,
        parent_path="C:\\Windows\\explorer.exe",
    )


def _program_end(scene: Scene, at: float) -> None:
    host, user = _host_user(scene)
    scene.add(
        at,
        "process",
        "terminate",
        host["name"],
        user["name"],
        process_path=scene.pick(_PROGRAMS),
        process_pid=scene.between(400, 20_000),
    )


def _web_visit(scene: Scene, at: float) -> None:
    host, user = _host_user(scene)
    scene.add(
        at,
        "net_conn",
        scene.pick(("open", "open", "open", "block")),
        host["name"],
        user["name"],
        src_ip=host["ip"],
        dst_ip=scene.public_address(),
        dst_port=443,
        dst_hostname=scene.pick(_SITES),
        bytes_out=scene.between(400, 90_000),
        direction="outbound",
        process_path=_PROGRAMS[0],
        dst_scope="external",
    )


def _lookup(scene: Scene, at: float) -> None:
    host, user = _host_user(scene)
    scene.add(
        at,
        "dns_query",
        "query",
        host["name"],
        user["name"],
        query_hostname=scene.pick(_SITES),
        src_ip=host["ip"],
        process_path=scene.pick(_PROGRAMS),
    )


def _page(scene: Scene, at: float) -> None:
    host = scene.pick(scene.cast_hosts)
    scene.add(
        at,
        "http",
        "request",
        host["name"],
        url=f"/{scene.word()}",
        http_method="GET",
        status_code=200,
        user_agent="Mozilla/5.0",
        src_ip=scene.public_address(),
        dst_ip=host["ip"],
    )


def _sign_in(scene: Scene, at: float) -> None:
    host, user = _host_user(scene)
    scene.add(
        at, "logon", "success", host["name"], user_name=user["name"], logon_type=scene.pick((2, 5, 7, 11)), status="0x0"
    )


def _other_name(scene: Scene, at: float) -> None:
    host, user = _host_user(scene)
    scene.add(
        at,
        "logon",
        "explicit_credentials",
        host["name"],
        user["name"],
        user_name=scene.pick(scene.cast_accounts)["name"],
        target_hostname=scene.pick(scene.cast_hosts)["name"],
        process_path=_PROGRAMS[3],
    )


def _sign_off(scene: Scene, at: float) -> None:
    host, user = _host_user(scene)
    scene.add(at, "logon", "logoff", host["name"], user_name=user["name"], logon_type=scene.pick((2, 3)))


def _ticket(scene: Scene, at: float) -> None:
    host, user = _host_user(scene)
    name, service = scene.pick(((user["name"], f"cifs/{host['name']}"), (f"{host['name']}$", f"{host['name']}$")))
    scene.add(
        at,
        "kerberos",
        "tgs",
        host["name"],
        user_name=name,
        service_name=service,
        ticket_encryption=scene.pick(("0x12", "0x12", "0x17")),
        src_ip=host["ip"],
    )


def _document(scene: Scene, at: float) -> None:
    host, user = _host_user(scene)
    scene.add(
        at,
        "file",
        scene.pick(("create", "modify")),
        host["name"],
        user["name"],
        file_path=f"D:\\Shares\\{scene.word()}\\{scene.word()}.docx",
        process_path=_PROGRAMS[5],
    )


def _setting(scene: Scene, at: float) -> None:
    host, user = _host_user(scene)
    scene.add(
        at,
        "registry",
        "set",
        host["name"],
        user["name"],
        reg_key_path=f"HKLM\\Software\\{scene.word().title()}\\LastRun",
        reg_value_data=f"DWORD {scene.between(1, 90_000)}",
        process_path=_PROGRAMS[3],
    )


def _share(scene: Scene, at: float) -> None:
    host, user = _host_user(scene)
    scene.add(
        at,
        "share",
        "access",
        host["name"],
        user["name"],
        share_name="\\\\*\\Public",
        file_path=f"{scene.word()}.pdf",
        src_ip=scene.pick(scene.cast_hosts)["ip"],
    )


def _service(scene: Scene, at: float) -> None:
    host = scene.pick(scene.cast_hosts)
    if scene.chance(0.5):
        name = scene.pick(("wuauserv", "Spooler", "BITS"))
        scene.add(at, "service", "state", host["name"], "SYSTEM", service_name=name, status="running")
        return
    path, user = scene.installed_path(), scene.pick(scene.cast_accounts)["name"]
    scene.add(
        at,
        "service",
        "install",
        host["name"],
        user,
        service_name=scene.word(),
        service_cmd_line=path,
        start_type="demand start",
    )


def _module(scene: Scene, at: float) -> None:
    host, user = _host_user(scene)
    scene.add(
        at,
        "module_load",
        "dll",
        host["name"],
        user["name"],
        file_path=f"C:\\Windows\\System32\\{scene.pick(('urlmon', 'winhttp', 'dbghelp', 'samlib'))}.dll",
        signature_state=scene.pick(("signed", "signed", "unsigned")),
        process_path=scene.pick(_PROGRAMS),
    )


def _script(scene: Scene, at: float) -> None:
    host, user = _host_user(scene)
    scene.add(
        at,
        "script",
        "block",
        host["name"],
        user["name"],
        script_text=scene.pick(
            ("Get-Service | Where-Object Status -eq Running", "Get-EventLog -Newest 20", "Test-NetConnection")
        ),
    )


def _job(scene: Scene, at: float) -> None:
    host = scene.pick(scene.cast_hosts)
    path = scene.pick(("C:\\Windows\\System32\\defrag.exe", scene.installed_path()))
    name = f"\\{scene.word().title()}"
    if scene.chance(0.5):
        scene.add(at, "task", "run", host["name"], "SYSTEM", job_name=name, job_cmd_line=path)
    else:
        user = scene.pick(scene.cast_accounts)["name"]
        scene.add(at, "task", "create", host["name"], user, job_name=name, job_cmd_line=path, run_as=user)


def _members(scene: Scene, at: float) -> None:
    host, user = _host_user(scene)
    if scene.chance(0.5):
        scene.add(
            at,
            "group",
            "enumerate",
            host["name"],
            user["name"],
            group_name=scene.pick(("Administrators", "Domain Admins", "Users")),
            process_path=_PROGRAMS[3],
        )
    else:
        group, member = scene.pick(("Remote Desktop Users", "Sales Readers")), scene.pick(scene.cast_accounts)["name"]
        scene.add(at, "group", "member_add", host["name"], user["name"], group_name=group, user_name=member)


def _privileges(scene: Scene, at: float) -> None:
    host, user = _host_user(scene)
    scene.add(
        at,
        "privilege",
        scene.pick(("special_logon", "token_adjusted")),
        host["name"],
        user["name"],
        user_name=user["name"],
        privileges=scene.pick(("SeBackupPrivilege SeRestorePrivilege", "SeDebugPrivilege")),
        process_path=scene.pick((_PROGRAMS[3], scene.installed_path())),
    )


def _query(scene: Scene, at: float) -> None:
    host, user = _host_user(scene)
    kind = scene.between(0, 5)
    if kind == 0:
        text = "SELECT * FROM __InstanceModificationEvent WITHIN 60 WHERE TargetInstance ISA 'Win32_Processor'"
        scene.add(at, "wmi", "filter", host["name"], user["name"], wmi_query=text)
    elif kind == 1:
        name = f"NTEventLogEventConsumer {scene.word()}"
        activity = scene.pick(("consumer", "binding"))
        scene.add(at, "wmi", activity, host["name"], user["name"], wmi_consumer=name, wmi_query="__EventFilter")
    else:
        text = scene.pick(("SELECT FreeSpace FROM Win32_LogicalDisk", "SELECT Name FROM Win32_Printer"))
        scene.add(at, "wmi", "query", host["name"], user["name"], wmi_query=text)


def _cloud(scene: Scene, at: float) -> None:
    host, user = _host_user(scene)
    scene.add(
        at,
        "cloud_api",
        "call",
        host["name"],
        user["name"],
        src_ip=host["ip"],
        api_service=scene.pick(("ec2.amazonaws.com", "s3.amazonaws.com", "iam.amazonaws.com")),
        api_operation=scene.pick(("DescribeInstances", "ListBuckets", "GetUser")),
        user_agent="aws-cli/2.15",
    )


def _object(scene: Scene, at: float) -> None:
    host, user = _host_user(scene)
    scene.add(
        at,
        "object_access",
        "open",
        host["name"],
        user["name"],
        object_name=f"D:\\Shares\\{scene.word()}",
        object_type="File",
        access_mask="0x1",
        process_path=_PROGRAMS[5],
    )


def _control(scene: Scene, at: float) -> None:
    host, user = _host_user(scene)
    activity, name, value = scene.pick(
        (
            ("firewall", "Rule Core Networking", "updated"),
            ("firewall", "AuthorizeSecurityGroupIngress", '{"fromPort":443,"toPort":443,"cidrIp":"0.0.0.0/0"}'),
            ("av_setting", "Defender", "signatures updated"),
            ("audit_policy", "Logon", "success and failure"),
            ("server_setting", "max server memory", "4096"),
            ("log_clear", scene.pick(("Security", "System", "Application")), "archived"),
        )
    )
    who = "SYSTEM" if activity == "log_clear" else user["name"]
    scene.add(at, "control_change", activity, host["name"], who, control_name=name, new_value=value)


def _password(scene: Scene, at: float) -> None:
    """Write one change of an account: its own password or key, a new account, or a removed one."""
    host, user = _host_user(scene)
    activity, name, attributes = scene.pick(
        (
            ("password_change", user["name"], "password last set"),
            ("key_create", user["name"], "access key"),
            ("create", f"{scene.word()}.{scene.word()}", "SAM account enabled"),
            ("delete", scene.pick(tuple(scene.organisation.accounts)), "SAM account removed"),
        )
    )
    scene.add(at, "account", activity, host["name"], user["name"], user_name=name, attributes=attributes)


def _opened(scene: Scene, at: float) -> None:
    host, user = _host_user(scene)
    scene.add(
        at,
        "process_access",
        "open",
        host["name"],
        user["name"],
        process_path=_PROGRAMS[3],
        target_path=scene.pick(_PROGRAMS),
        access_mask=scene.pick(("0x1000", "0x1010", "0x1410", "0x1fffff")),
    )


def _directory(scene: Scene, at: float) -> None:
    host, user = _host_user(scene)
    scene.add(
        at,
        "directory",
        "access",
        host["name"],
        user["name"],
        object_dn=f"CN={scene.word()},OU=Staff,DC=corp,DC=example",
        object_type="user",
        properties="Read Property",
        access_mask="0x10",
    )


def _notice(scene: Scene, at: float) -> None:
    host = scene.pick(scene.cast_hosts)
    scene.add(
        at,
        "detection",
        "ids_notice",
        host["name"],
        finding_title=scene.pick(("TLS certificate expires soon", "Old protocol version", "Policy: file sharing")),
        severity=scene.pick(("informational", "low", "medium")),
    )


def _thread(scene: Scene, at: float) -> None:
    host, user = _host_user(scene)
    scene.add(
        at,
        "process_inject",
        "remote_thread",
        host["name"],
        user["name"],
        process_path="C:\\Windows\\System32\\csrss.exe",
        target_path=scene.pick(_PROGRAMS),
    )


def _pipe(scene: Scene, at: float) -> None:
    host, user = _host_user(scene)
    scene.add(
        at,
        "pipe",
        scene.pick(("connect", "create")),
        host["name"],
        user["name"],
        pipe_name=scene.pick(("\\wkssvc", "\\srvsvc", "\\lsass", f"\\{scene.word()}")),
        process_path=scene.pick((_PROGRAMS[3], scene.installed_path())),
    )


def _visitor(scene: Scene, at: float) -> None:
    host = scene.pick(scene.cast_hosts)
    scene.add(
        at,
        "net_conn",
        scene.pick(("flow", "allow", "block")),
        host["name"],
        src_ip=scene.public_address(),
        dst_ip=host["ip"],
        dst_port=scene.pick((22, 80, 443, 443, 3389, 8080)),
        direction="inbound",
        dst_scope="internal",
    )


def _mistyped(scene: Scene, at: float) -> None:
    host, user = _host_user(scene)
    source = scene.public_address() if scene.chance(0.5) else scene.pick(scene.cast_hosts)["ip"]
    scene.add(
        at,
        "logon",
        "failure",
        host["name"],
        user_name=user["name"],
        logon_type=scene.pick((3, 10)),
        src_ip=source,
        status="0xc000006a",
    )


NOISE: tuple[Callable[[Scene, float], None], ...] = (
    _program_start,
    _program_end,
    _web_visit,
    _lookup,
    _page,
    _sign_in,
    _other_name,
    _sign_off,
    _ticket,
    _document,
    _setting,
    _share,
    _service,
    _module,
    _script,
    _job,
    _members,
    _privileges,
    _query,
    _cloud,
    _object,
    _control,
    _password,
    _opened,
    _directory,
    _notice,
    _thread,
    _pipe,
    _visitor,
    _mistyped,
    # again, as most lines of a window, and of most stories, are program starts and connections
    _web_visit,
    _web_visit,
    _visitor,
    _visitor,
    _program_start,
)
