"""Persistence and privilege escalation: what makes code run again, and what lifts it."""

from __future__ import annotations

from schema import ACCOUNT_WORK, CLOUD_WORK, GROUP_WORK, WMI_WORK
from tasks.families.story import answer, choose_halves, launch, probe
from tasks.paths import EXPLORER, POWERSHELL, SYSTEM32
from tasks.scene import (
    ADDRESS,
    GRAVE,
    HOST,
    SOFT,
    TOOL,
    Family,
    Plan,
    Scene,
    TicketScope,
    actor,
    other_account,
    other_host,
)


def planted_task(scene: Scene, plan: Plan) -> TicketScope:
    """Tell how a scheduled task starts a foreign program that calls out."""
    who, at = actor(scene, plan), scene.moment(900)
    path = scene.installed_path() if plan.strength == "below" else scene.writable_path(who.user)
    name = f"\\{scene.word().title()}"
    scene.add(at, "task", "create", who.host, who.user, job_name=name, job_cmd_line=path, run_as=who.user)
    start = launch(scene, at + scene.between(30, 500), who, path, parent=SYSTEM32 + "svchost.exe")
    return who.scope(path, at, answer(scene, start, who, path, plan))


def autorun(scene: Scene, plan: Plan) -> TicketScope:
    """Tell how a program is set to start at sign-in; in the harmless strength, an installed one, or an uninstall entry."""
    who, at = actor(scene, plan), scene.moment(60)
    value, branch = scene.writable_path(who.user), "Run"
    path = (
        value if plan.strength != "suspicious" else scene.pick((SYSTEM32 + "msiexec.exe", "C:\\Windows\\regedit.exe"))
    )
    if plan.strength == "below":
        branch = scene.pick(("Run", "Uninstall"))
        value = scene.installed_path() if branch == "Run" else value
    key = f"HKU\\S-1-5-21\\Software\\Microsoft\\Windows\\CurrentVersion\\{branch}\\{scene.word().title()}"
    scene.add(at, "registry", "set", who.host, who.user, reg_key_path=key, reg_value_data=value, process_path=path)
    return who.scope(path, at, at)


def wmi_consumer(scene: Scene, plan: Plan) -> TicketScope:
    """Tell how a WMI subscription runs a command; in half of the story, its filter and binding are on another host."""
    who, at, name = actor(scene, plan), scene.moment(120), scene.word()
    location = other_host(scene, who) if plan.strength == "suspicious" else who
    consumer = (
        f"NTEventLogEventConsumer {name}"
        if plan.strength == "below"
        else f"CommandLineEventConsumer {name}: powershell.exe -File C:\\ProgramData\\{name}.ps1"
    )
    query = f"SELECT * FROM __InstanceModificationEvent WITHIN {scene.between(30, 90)} WHERE TargetInstance ISA 'Win32_LocalTime'"
    scene.add(at, "wmi", "filter", location.host, who.user, wmi_query=query)
    last = scene.add(at + scene.between(1, 30), "wmi", "consumer", who.host, who.user, wmi_consumer=consumer)
    bound = f"__EventFilter.Name={name}"
    last = scene.add(
        last + scene.between(1, 30), "wmi", "binding", location.host, who.user, wmi_consumer=name, wmi_query=bound
    )
    return who.scope(WMI_WORK, at, last)


def database_shell(scene: Scene, plan: Plan) -> TicketScope:
    """Tell how somebody makes a database server run commands."""
    who, at, name = actor(scene, plan), scene.moment(500), scene.word()
    order = f"xp_cmdshell 'dir D:\\{name}'" if plan.strength == "confirmed" else f"sp_helpdb '{name}'"
    scene.add(
        at,
        "control_change",
        "server_setting",
        who.host,
        who.user,
        control_name="xp_cmdshell",
        old_value="1" if plan.strength == "below" else "0",
        new_value="0" if plan.strength == "below" else "1",
    )
    last = scene.add(at + scene.between(5, 300), "script", "block", who.host, who.user, script_text=f"EXEC {order}")
    last = scene.add(
        last + scene.between(1, 60),
        "object_access",
        "open",
        who.host,
        who.user,
        object_name=f"D:\\{name}",
        object_type="File",
        access_mask="0x1",
        process_path="C:\\Program Files\\Microsoft SQL Server\\sqlservr.exe",
    )
    return who.scope("sqlservr.exe", at, last)


# ---------------------------------------------------------------- accounts
def new_administrator(scene: Scene, plan: Plan) -> TicketScope:
    """Tell how somebody makes an account and puts it into a privileged group; in half of the story, another account."""
    who, first = actor(scene, plan), scene.moment(1200)
    account = f"{scene.word()}.{scene.word()}"
    member = other_account(scene, who) if plan.strength == "suspicious" else account
    group = scene.pick(("Domain Admins", "Administrators", "Backup Operators"))
    if plan.strength == "below":
        group = scene.pick(("Remote Desktop Users", "Sales Readers", "Printer Users"))
    scene.add(first, "account", "create", who.host, who.user, user_name=account, attributes="SAM account enabled")
    last = scene.add(
        first + scene.between(30, 900), "group", "member_add", who.host, who.user, group_name=group, user_name=member
    )
    return who.scope(GROUP_WORK, first, last)


def borrowed_key(scene: Scene, plan: Plan) -> TicketScope:
    """Tell how somebody makes a key for another account; in the harmless strength, for their own."""
    who, at = actor(scene, plan), scene.moment(60)
    other = who.user if plan.strength == "below" else other_account(scene, who)
    scene.add(at, "account", "key_create", who.host, who.user, user_name=other, attributes="access key", src_ip=who.ip)
    return who.scope(CLOUD_WORK, at, at)


def visited_account(scene: Scene, plan: Plan) -> TicketScope:
    """Tell how somebody outside finds a host's services, and an account lives there for minutes; in half of it, they find none."""
    who, at = actor(scene, plan), scene.moment(1500)
    probed = probe(scene, at, who, scene.public_address(), hostile=plan.strength == "confirmed")
    account = f"{scene.word()}.{scene.word()}"
    leaver = other_account(scene, who) if plan.strength == "below" else account
    last = scene.add(
        probed + scene.between(10, 300),
        "account",
        "create",
        who.host,
        who.user,
        user_name=account,
        attributes="SAM account enabled",
    )
    last = scene.add(
        last + scene.between(60, 900),
        "account",
        "delete",
        who.host,
        who.user,
        user_name=leaver,
        attributes="SAM account removed",
    )
    return who.scope(ACCOUNT_WORK, at, last)


# ---------------------------------------------------------------- privilege escalation
def caught_client(scene: Scene, plan: Plan) -> TicketScope:
    """Tell how a program with a system privilege makes a pipe to catch a privileged client."""
    who, at = actor(scene, plan), scene.moment(300)
    path = scene.installed_path() if plan.strength == "below" else f"D:\\Tools\\{scene.word()}.exe"
    pipe = f"\\{scene.word()}\\pipe\\{scene.pick(('spoolss', 'srvsvc', 'samr', 'lsarpc'))}"
    scene.add(
        at,
        "privilege",
        "token_adjusted",
        who.host,
        who.user,
        user_name=who.user,
        privileges=f"{scene.pick(('SeDebugPrivilege', 'SeTcbPrivilege'))} SeImpersonatePrivilege",
        process_path=path,
    )
    activity = "create" if plan.strength == "confirmed" else "connect"
    last = scene.add(
        at + scene.between(1, 120), "pipe", activity, who.host, who.user, pipe_name=pipe, process_path=path
    )
    return who.scope(path, at, last)


def elevated_shell(scene: Scene, plan: Plan) -> TicketScope:
    """Tell how somebody redefines a class, and a program that Windows elevates starts a shell."""
    who, at = actor(scene, plan, "powershell.exe"), scene.moment(300)
    redefined, lifted = choose_halves(scene, plan)
    name = scene.pick(("ms-settings", "mscfile")) if redefined else f"{scene.word()}.document"
    scene.add(
        at,
        "registry",
        "set",
        who.host,
        who.user,
        reg_key_path=f"HKCU\\Software\\Classes\\{name}\\Shell\\Open\\command\\(Default)",
        reg_value_data=scene.writable_path(who.user),
        process_path=POWERSHELL,
    )
    parent = SYSTEM32 + scene.pick(("fodhelper.exe", "eventvwr.exe")) if lifted else EXPLORER
    script = f"powershell.exe -File C:\\Scripts\\{scene.word()}.ps1"
    last = launch(scene, at + scene.between(2, 200), who, POWERSHELL, script, parent)
    return who.scope("powershell.exe", at, last)


FAMILIES = (
    Family(
        "planted_task",
        "T1053.005",
        "persistence",
        planted_task,
        HOST,
        rules=("task-runs-foreign-program",),
        split="test_family",
    ),
    Family(
        "autorun", "T1547.001", "persistence", autorun, HOST, single=True, rules=("autorun-entry",), split="val_family"
    ),
    Family(
        "wmi_consumer", "T1546.003", "persistence", wmi_consumer, HOST, rules=("wmi-subscription",), split="val_family"
    ),
    Family("database_shell", "T1505.001", "persistence", database_shell, HOST, rules=("database-shell",)),
    Family("new_administrator", "T1136", "persistence", new_administrator, GRAVE, rules=("new-privileged-account",)),
    Family(
        "borrowed_key",
        "T1098.001",
        "persistence",
        borrowed_key,
        (),
        SOFT,
        single=True,
        rules=("key-for-another",),
        platform="cloud",
    ),
    Family(
        "visited_account",
        "T1136",
        "persistence",
        visited_account,
        ADDRESS,
        explanations=(),
        names_account=False,
        rules=("odd-account", "service-probing"),
    ),
    Family(
        "caught_client",
        "T1134.001",
        "privilege_escalation",
        caught_client,
        HOST,
        rules=("pipe-impersonation", "privilege-of-foreign-program"),
    ),
    Family(
        "elevated_shell",
        "T1548.002",
        "privilege_escalation",
        elevated_shell,
        HOST,
        explanations=TOOL,
        rules=("elevation-bypass",),
        split="test_family",
    ),
)
