#!/usr/bin/env python3
"""Write sbom.cdx.json, the server's bill of materials in CycloneDX 1.6: python scripts/make_sbom.py [--check]

It lists the packages of requirements.txt with version, licence and what each needs, read by cyclonedx-py from an environment that has them
installed; a package for another system alone has no licence there. The hashes of the files stand in requirements.txt, whose own hash is in the metadata.
"""

import argparse
import hashlib
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
SBOM = ROOT / "sbom.cdx.json"
LOCK = ROOT / "requirements.txt"
_PIN = re.compile(r"^([A-Za-z0-9._-]+)(?:\[[^\]]*\])?==([^ ;]+)", re.M)
_KEPT = ("bom-ref", "licenses", "name", "purl", "type", "version")


def pins() -> set[tuple[str, str]]:
    """Return normal name (PEP 503) and version of each package of the lock; a name has two where systems differ."""
    return {(_normal(name), version) for name, version in _PIN.findall(LOCK.read_text("utf-8"))}


def build() -> str:
    """Return the bill of materials as JSON.

    Raises:
        SystemExit: a package is installed in a version that the lock does not have.
    """
    listed, pinned = _environment(), pins()
    components = []
    installed = {_normal(component["name"]): component for component in listed["components"]}
    for name, version in sorted(pinned):
        component = installed.get(name, {})
        if component and (name, component["version"]) not in pinned:
            sys.exit(f"Expected {name} {version}, and {component['version']} is installed: install requirements.txt.")
        if component.get("version") != version:
            component = _elsewhere(name, version)
        components.append({key: component[key] for key in _KEPT if key in component})
    refs = {component["bom-ref"] for component in components}
    edges = [
        {"ref": edge["ref"], "dependsOn": sorted(refs.intersection(edge.get("dependsOn", [])))}
        for edge in listed["dependencies"]
        if edge["ref"] in refs
    ]
    root = {
        "bom-ref": "opensoc",
        "name": "opensoc",
        "type": "application",
        "licenses": [{"license": {"id": "BSD-3-Clause"}}],
    }
    lock = {"name": "opensoc:requirements.txt:sha256", "value": hashlib.sha256(LOCK.read_bytes()).hexdigest()}
    bill = {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": root, "properties": [lock]},
        "components": components,
        "dependencies": [{"ref": "opensoc", "dependsOn": sorted(refs)}, *edges],
    }
    return json.dumps(bill, indent=1, sort_keys=True) + "\n"


def _environment() -> dict[str, Any]:
    command = [
        sys.executable,
        "-m",
        "cyclonedx_py",
        "environment",
        "--output-reproducible",
        "--of",
        "JSON",
        sys.executable,
    ]
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT).stdout)


def _elsewhere(name: str, version: str) -> dict[str, Any]:
    """Return the component of a package that this system does not need."""
    return {
        "bom-ref": f"{name}=={version}",
        "name": name,
        "purl": f"pkg:pypi/{name}@{version}",
        "type": "library",
        "version": version,
    }


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def main() -> int:
    """Write the file, or say whether it is fresh."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 where the file is stale")
    args, made = parser.parse_args(), build()
    if args.check:
        fresh = SBOM.exists() and SBOM.read_text("utf-8") == made
        print("fresh" if fresh else f"{SBOM.name} is stale: run python scripts/make_sbom.py")
        return 0 if fresh else 1
    SBOM.write_text(made, "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
