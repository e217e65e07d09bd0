"""Where programs lie, and other names that many stories write."""

SYSTEM32 = "C:\\Windows\\System32\\"
POWERSHELL = SYSTEM32 + "WindowsPowerShell\\v1.0\\powershell.exe"
EXPLORER = "C:\\Windows\\explorer.exe"
START_MENU = "Microsoft\\Windows\\Start Menu\\Programs\\"  # below a profile's AppData\Roaming, or ProgramData
OWN_FOLDER = "C:\\Users\\{user}\\AppData\\Local\\{word}\\"  # of a program that is installed for one user, with blanks
REPLICA_RIGHT = "9923a32a-3607-11d2-b9be-0000f87a36b2"  # to install a replica (MS-ADTS 5.1.3.2.1)
BROWSERS = (
    "C:\\Program Files\\Mozilla Firefox\\firefox.exe",
    "C:\\Program Files\\Google\\Chrome\\chrome.exe",
    "C:\\Program Files\\Microsoft Office\\OUTLOOK.EXE",
)
