"""Cloud Build's YAML against the published type."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import yaml
from google.cloud.devtools import cloudbuild_v1
from google.protobuf import json_format

from deploy.plan import CONFIG
from tests.conftest import ROOT
from tests.container.cloud import Cloud
from tests.container.conftest import Contract


def test_cloudbuild_fits_the_published_type(contract: Contract) -> None:
    build = yaml.safe_load((ROOT / CONFIG).read_text())
    parsed = json_format.ParseDict(build, cloudbuild_v1.Build.pb(cloudbuild_v1.Build()))
    logging = cloudbuild_v1.BuildOptions.LoggingMode.CLOUD_LOGGING_ONLY
    assert parsed.options.logging == logging  # asked of a build with an account of its own
    assert parsed.timeout.seconds == 2400
    contract.point("cloudbuild.yaml fits Cloud Build's type", "google-cloud-build 3.43")


def test_every_substitution_of_a_build_is_used(tmp_path: Path) -> None:
    # Cloud Build refuses one that steps and images do not name.
    build = yaml.safe_load((ROOT / CONFIG).read_text())
    printed = Cloud(tmp_path, "http://none").deploy("--dry-run").stdout
    submit = next(line for line in printed.splitlines() if " builds submit " in line)
    [given] = [w for w in shlex.split(submit) if w.startswith("--substitutions=")]
    pairs = dict(pair.split("=", 1) for pair in given.partition("=")[2].split(","))
    merged = build["substitutions"] | pairs
    body = json.dumps([build["steps"], build["images"]])
    used = set(re.findall(r"\$\{(\w+)\}", body))
    assert set(merged) == used
    assert set(pairs) <= set(build["substitutions"]), "one that the file does not define"
