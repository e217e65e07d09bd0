"""Ordinary lines of the network: connections, names looked up, web requests."""

from __future__ import annotations

from tasks.noise.rows import table

_OUT = "src_ip | dst_ip | dst_port | direction | process_path | dst_scope"
_IN = "src_ip | dst_ip | dst_port | direction | dst_scope"
_SITES = "<cdn.example-static.com;login.example-id.com;updates.example-os.com;mail.example-office.com;api.example-crm.com;telemetry.example-apps.net;registry.example-pkg.org>"
_WEB = r"""
    C:\Program Files\Google\Chrome\Application\chrome.exe
    C:\Program Files\Mozilla Firefox\firefox.exe
    C:\Program Files\Microsoft Office\OUTLOOK.EXE
    C:\Program Files\Teams\teams.exe
    C:\Windows\System32\svchost.exe
    C:\ProgramData\Microsoft\Windows Defender\Platform\4.18.<24010..25090>\MsMpEng.exe
    C:\Program Files\<Word>\<word>.exe
    C:\Program Files\Git\mingw64\libexec\git-core\git-remote-https.exe
    /usr/bin/<curl;apt-get;python3;dockerd;kubelet>
"""
_LATERAL = r"""
    <ip> | <peer_ip> | 88 | lateral | C:\Windows\System32\lsass.exe | internal
    <ip> | <peer_ip> | 389 | lateral | C:\Windows\System32\svchost.exe | internal
    <ip> | <peer_ip> | 445 | lateral | System | internal
    <ip> | <peer_ip> | <135;49664;49670> | lateral | C:\Windows\System32\svchost.exe | internal
    <ip> | <peer_ip> | 1433 | lateral | C:\Windows\System32\inetsrv\w3wp.exe | internal
    <ip> | <peer_ip> | <10050;10051> | lateral | C:\Program Files\Zabbix Agent 2\zabbix_agent2.exe | internal
    <ip> | <peer_ip> | 3389 | lateral | C:\Windows\System32\mstsc.exe | internal
    <ip> | <peer_ip> | <22;5432;9100> | lateral | /usr/bin/<ssh;psql;prometheus> | internal
"""
_INBOUND = r"""
    <public> | <ip> | <22;80;443;443;3389;8080> | inbound | internal
    <public> | <ip> | <443;443;25;587;993> | inbound | internal
"""
_SEEN = r"""
    <ip> | <public> | <443;80;53;123> | outbound | external
    <public> | <ip> | <443;80;25> | inbound | internal
    <ip> | <peer_ip> | <88;389;445;53> | lateral | internal
    <public> | <ip> | <1024..9999> | inbound | internal
    <ip> | <public> | <8000..8500> | outbound | external
"""


def _each(cells: str) -> str:
    """Write a row for each program: it makes a web connection to an address on the internet."""
    rows = (
        f"<ip> | <public> | <443;443;443;80> | outbound | {program.strip()} | external"
        for program in cells.strip().splitlines()
    )
    return "\n".join(rows)


CONNECTIONS = (
    *table("net_conn open", _OUT, _each(_WEB)),
    *table(
        "net_conn open",
        "src_ip | dst_ip | dst_port | dst_hostname | bytes_out | direction | process_path | dst_scope",
        f"<ip> | <public> | 443 | {_SITES} | <400..90000> | outbound | C:\\Program Files\\Google\\Chrome\\Application\\chrome.exe | external",
    ),
    *table(
        "net_conn open",
        "src_ip | src_port | dst_ip | dst_port | dst_hostname | direction | process_path | dst_scope",
        r"""
        <ip> | <49152..65535> | <public> | <443;5223;5228> | <word>.example-static.com | outbound | C:\Program Files\<Word>\<word2>.exe | external
        <ip> | <49152..65535> | <public> | 123 | time.example-os.com | outbound | C:\Windows\System32\svchost.exe | external
        """,
    ),
    *table("net_conn open", _OUT, _LATERAL),
    *table(
        "net_conn open",
        f"{_OUT} | bytes_out | bytes_in",
        r"""
        <ip> | <public> | 443 | outbound | C:\Program Files\<Word>\<word>.exe | external | <400..9000000> | <400..900000>
        <ip> | <peer_ip> | 445 | lateral | System | internal | <400..90000000> | <400..900000>
        """,
    ),
    *table("net_conn open", _IN, _SEEN, actor_user=""),
    *table("net_conn allow", _IN, _INBOUND, actor_user=""),
    *table("net_conn allow", _IN, _SEEN, actor_user=""),
    *table(
        "net_conn flow",
        f"{_IN} | conn_state",
        """
        <public> | <ip> | <80;443;25;8080> | inbound | internal | <SF;S1;RSTO>
        <public> | <ip> | <22;23;445;3389> | inbound | internal | <S0;REJ>
        <ip> | <public> | <80;443;53> | outbound | external | <SF;RSTR;S3>
        <ip> | <public> | <8000..8500> | outbound | external | SF
        <ip> | <peer_ip> | <53;88;445> | lateral | internal | SF
        """,
        actor_user="",
    ),
    *table("net_conn flow", _IN, _INBOUND, actor_user=""),
    *table("net_conn flow", _IN, _SEEN, actor_user=""),
    *table("net_conn block", _IN, _INBOUND, actor_user=""),
    *table("net_conn block", _IN, _SEEN, actor_user=""),
    *table(
        "net_conn block",
        _IN,
        "<public> | <ip> | <22;23;445;1433;3389;5900;8080> | inbound | internal",
        actor_user="",
    ),
    *table(
        "net_conn block",
        _OUT,
        r"""
        <ip> | <public> | <443;80;53;6881> | outbound | C:\Program Files\<Word>\<word>.exe | external
        <ip> | <public> | 443 | outbound | C:\Program Files\Google\Chrome\Application\chrome.exe | external
        """,
    ),
    *table(
        "net_conn block",
        "src_ip | src_port | dst_ip | dst_port | bytes_out | direction | dst_scope | conn_state",
        """
        <public> | <1024..65535> | <ip> | <22;23;445;3389;8080> | <0..60> | inbound | internal | <S0;REJ>
        <peer_ip> | <1024..65535> | <ip> | <137;5353;1900> | <40..400> | lateral | internal | S0
        """,
        actor_user="",
    ),
    *table(
        "net_conn allow",
        f"{_OUT} | src_port",
        r"""
        <ip> | <public> | 443 | outbound | C:\Windows\System32\svchost.exe | external | <49152..65535>
        <ip> | <peer_ip> | 445 | lateral | System | internal | <49152..65535>
        """,
    ),
    *table(
        "net_conn flow",
        "src_ip | dst_ip | dst_port | bytes_out | bytes_in | direction | process_path | dst_scope",
        r"""
        <ip> | <public> | 443 | <2000..900000> | <10000..4000000> | outbound | C:\Program Files\<Word>\<word>.exe | external
        <ip> | <public> | 443 | <1000000..60000000> | <10000..900000> | outbound | C:\Program Files\Microsoft Office\OUTLOOK.EXE | external
        <ip> | <peer_ip> | 445 | <2000..900000000> | <10000..900000> | lateral | C:\Windows\System32\robocopy.exe | internal
        <ip> | <peer_ip> | 9392 | <20000000..900000000> | <10000..900000> | lateral | C:\Program Files\Veeam\Endpoint Backup\Veeam.EndPoint.Manager.exe | internal
        """,
    ),
    *table(
        "net_conn flow",
        "src_ip | src_port | dst_ip | dst_port | bytes_out | bytes_in | direction | dst_scope | conn_state",
        """
        <public> | <1024..65535> | <ip> | <80;443;25> | <300..9000> | <500..900000> | inbound | internal | <SF;SF;S1;RSTO>
        <ip> | <1024..65535> | <public> | <443;80;853> | <300..900000> | <500..9000000> | outbound | external | <SF;SF;RSTR;S3>
        <ip> | <1024..65535> | <peer_ip> | <53;88;389;445> | <60..9000> | <60..90000> | lateral | internal | SF
        """,
        actor_user="",
    ),
    *table(
        "net_conn tls_session",
        "src_ip | dst_ip | dst_port | direction | tls_sni | process_path | dst_scope",
        rf"""
        <ip> | <public> | 443 | outbound | {_SITES} | C:\Program Files\Google\Chrome\Application\chrome.exe | external
        <ip> | <public> | 443 | outbound | www.<domain> | C:\Program Files\Mozilla Firefox\firefox.exe | external
        <ip> | <public> | 443 | outbound | <domain> | C:\Program Files\<Word>\<word>.exe | external
        <ip> | <public> | 443 | outbound | <domain> | C:\Users\<user>\AppData\Roaming\Zoom\bin\Zoom.exe | external
        <ip> | <public> | <443;993;8443> | outbound | <word>.example-apps.net | C:\Program Files\<Word>\<word2>.exe | external
        """,
    ),
    *table(
        "net_conn tls_session",
        "src_ip | dst_ip | dst_port | direction | tls_sni | dst_scope",
        f"""
        <ip> | <public> | 443 | outbound | {_SITES} | external
        <public> | <ip> | 443 | inbound | portal.corp.example | internal
        """,
        actor_user="",
    ),
    *table(
        "net_conn tls_session",
        "src_ip | src_port | dst_ip | dst_port | dst_hostname | bytes_out | bytes_in | direction | tls_sni | process_path | dst_scope | conn_state",
        r"<ip> | <49152..65535> | <public> | 443 | <word>.example-static.com | <300..90000> | <500..900000> | outbound | <word>.example-static.com | C:\Program Files\Google\Chrome\Application\chrome.exe | external | SF",
    ),
    *table(
        "net_conn listen",
        "src_ip | src_port | process_path",
        r"""
        <ip> | <80;443;8080> | C:\Windows\System32\inetsrv\w3wp.exe
        <ip> | <49664..49690> | C:\Windows\System32\<lsass;services;svchost;spoolsv>.exe
        <ip> | <5353;1900;3702> | C:\Windows\System32\svchost.exe
        <ip> | <3000;5173;8000> | C:\Program Files\nodejs\node.exe
        <ip> | <22;5432;9100> | /usr/sbin/<sshd;postgres;node_exporter>
        """,
    ),
    *table(
        "net_conn bind",
        "src_ip | src_port | process_path",
        r"""
        <ip> | <49152..65535> | C:\Windows\System32\svchost.exe
        <ip> | <49152..65535> | C:\Program Files\Google\Chrome\Application\chrome.exe
        """,
    ),
    *table(
        "net_conn bits_job",
        "url | bytes_in | process_path",
        r"""
        https://updates.example-os.com/d/msdownload/<hex8>/<word>.cab | <10000..90000000> | C:\Windows\System32\svchost.exe
        http://edge.example-apps.net/components/<word>_<1..90>.crx3 | <10000..9000000> | C:\Windows\System32\svchost.exe
        https://<domain>:8443/<word> | <10000..90000> | C:\Windows\System32\svchost.exe
        https://<domain>/<word>.<bin;cab;msi> | <10000..90000> | C:\Windows\System32\svchost.exe
        https://<word>.example-static.com/<word2>/setup.msi | <10000..90000000> | C:\Windows\CCM\CcmExec.exe
        """,
    ),
    *table(
        "net_conn bits_job",
        "src_ip | dst_hostname | url | bytes_in | process_path",
        r"""
        <ip> | updates.example-os.com | https://updates.example-os.com/c/<2024..2026>/<word>_<hex16>.cab | <10000..90000000> | C:\Windows\System32\svchost.exe
        <ip> | edge.example-apps.net | http://edge.example-apps.net/release2/<hex16>.crx3 | <10000..9000000> | C:\Windows\System32\svchost.exe
        <ip> | - | http://<peer>.corp.example/SMS_DP_SMSPKG$/<hex8>/<word>.cab | - | -
        """,
    ),
)
_QUERY = "query_hostname | src_ip | process_path"
_ASKERS = r"C:\<Program Files\Google\Chrome\Application\chrome;Program Files\Microsoft Office\OUTLOOK;Windows\System32\svchost;Program Files\Teams\teams>.exe"
QUERIES = (
    *table(
        "dns_query query",
        _QUERY,
        f"""
        {_SITES} | <ip> | {_ASKERS}
        <word>.example-static.com | <ip> | {_ASKERS}
        www.<domain> | <ip> | C:\\Program Files\\Mozilla Firefox\\firefox.exe
        <domain> | <ip> | {_ASKERS}
        <peer>.corp.example | <ip> | {_ASKERS}
        _ldap._tcp.dc._msdcs.corp.example | <ip> | C:\\Windows\\System32\\lsass.exe
        wpad.corp.example | <ip> | C:\\Windows\\System32\\svchost.exe
        <long>.<word>-cdn.net | <ip> | C:\\Program Files\\Google\\Chrome\\Application\\chrome.exe
        <long>.<domain> | <ip> | C:\\Program Files\\<Word>\\<word2>.exe
        <label>.x.<domain> | <ip> | C:\\Program Files\\<Word>\\<word2>.exe
        <label>.edge.<domain> | <ip> | {_ASKERS}
        <label>.<word>-cdn.net | <ip> | C:\\Program Files\\Mozilla Firefox\\firefox.exe
        <guid>.<word>-sync.com | <ip> | C:\\Program Files\\<Word>\\<word2>.exe
        """,
    ),
    *table(
        "dns_query query",
        "query_hostname | answers | src_ip | process_path",
        f"""
        {_SITES} | <public> | <ip> | {_ASKERS}
        <domain> | <public> | <ip> | {_ASKERS}
        <word>.<domain> | type: 5 <word2>.example-static.com; <public> | <ip> | C:\\Program Files\\Mozilla Firefox\\firefox.exe
        """,
    ),
    *table(
        "dns_query query",
        "query_hostname | answers | src_ip",
        """
        <word>.example-static.com | <public> | <ip>
        <word>.<domain> | - | <ip>
        """,
        actor_user="",
    ),
)
_BROWSER = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 Chrome/1<20..39>.0 Safari/537.36"
_REQUEST = "url | http_method | status_code | user_agent | src_ip | dst_ip"
_SCRIPTS = "<Mozilla/5.0;curl/8.5;python-requests/2.31>"  # what programs call themselves, and some browsers in short
REQUESTS = (
    *table(
        "http request",
        _REQUEST,
        f"""
        /<word>?run=<word2>%20<daily;weekly> | <GET;POST> | <200;403;404;500> | {_SCRIPTS} | <public> | <ip>
        /cgi-bin/<word>?host=<word2>.example-apps.net | <GET;POST> | <200;403;404> | {_SCRIPTS} | <public> | <ip>
        /index.php?page=<word>&lang=<en;de;fr> | GET | <200;404> | {_SCRIPTS} | <public> | <ip>
        /static/<word>/<word2>.<js;css;png> | <GET;POST> | <200;404> | {_SCRIPTS} | <public> | <ip>
        /api/<word>?id=<1..9000>&sort=<word2> | <GET;POST> | <200;403;500> | {_SCRIPTS} | <public> | <ip>
        /download?file=<word>/<word2>.<pdf;zip> | GET | <200;403;404> | {_SCRIPTS} | <public> | <ip>
        """,
        actor_user="",
    ),
    *table(
        "http request",
        _REQUEST,
        f"""
        /<word> | GET | 200 | Mozilla/5.0 | <public> | <ip>
        /<word>/<word2>?page=<1..40> | GET | <200;200;304;404> | {_BROWSER} | <public> | <ip>
        /search?q=<word>+<word2> | GET | 200 | {_BROWSER} | <public> | <ip>
        /login | POST | <200;302;401> | {_BROWSER} | <public> | <ip>
        /static/<word>.<js;css;png;woff2> | GET | <200;304> | {_BROWSER} | <public> | <ip>
        /api/v<1..3>/<orders;users;stock>/<1000..99999> | <GET;PUT;PATCH> | <200;204;404;429> | okhttp/4.<9..12>.0 | <public> | <ip>
        /robots.txt | GET | <200;404> | Mozilla/5.0 (compatible; <Word>bot/2.1) | <public> | <ip>
        /favicon.ico | GET | 404 | {_BROWSER} | <public> | <ip>
        /health | GET | <200;503> | kube-probe/1.<27..32> | <peer_ip> | <ip>
        /wsman?PSVersion=5.1 | POST | <200;401> | Microsoft WinRM Client | <peer_ip> | <ip>
        """,
        actor_user="",
    ),
    *table(
        "http request",
        _REQUEST,
        f"""
        /reports/<word>?year=<2020..2026> | GET | 200 | {_BROWSER} | <public> | <ip>
        /owa/auth.owa | POST | 302 | {_BROWSER} | <public> | <ip>
        /Microsoft-Server-ActiveSync?Cmd=Sync&DeviceType=phone | POST | 200 | Outlook-iOS/2.0 | <public> | <ip>
        """,
    ),
    *table(
        "http request",
        f"{_REQUEST} | bytes_out | bytes_in",
        f"""
        /upload/<word> | POST | 201 | {_BROWSER} | <public> | <ip> | <200..900000> | <100..900>
        http://<word>.example-static.com/<word2>.<js;png;cab> | GET | <200;304> | {_BROWSER} | <ip> | <public> | <0..900> | <500..900000>
        http://ocsp.example-id.com/<hex32> | GET | 200 | Microsoft-CryptoAPI/10.0 | <ip> | <public> | 0 | <400..2400>
        http://archive.example-pkg.org/ubuntu/dists/noble/InRelease | GET | <200;304> | Debian APT-HTTP/1.3 (2.7.14) | <ip> | <public> | 0 | <0..300000>
        http://updates.example-os.com/<hex8>/<word>.cab | HEAD | 200 | Microsoft BITS/7.8 | <ip> | <public> | 0 | 0
        """,
        actor_user="",
    ),
)
ROWS = (*CONNECTIONS, *QUERIES, *REQUESTS)
