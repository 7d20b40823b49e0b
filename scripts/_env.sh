# Sourced by the other scripts: finds Python, makes virtual environments, installs what is pinned.
# shellcheck shell=bash

set -o pipefail # pip's failure is to be seen at the end of its pipe, whoever sources this
unset CDPATH         # `cd` would go elsewhere, and print where it went
ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
cd "$ROOT" || exit 1
# These are for a Python of the machine's: PYTHONHOME alone would end ours before it begins.
LEFT_OUT=""
for name in "${!PYTHON@}"; do
  case "$name" in
    PYTHON311) continue ;;
    PYTHONPATH) [ "$PYTHONPATH" = "$ROOT" ] || LEFT_OUT="$LEFT_OUT $name" ;;
    PYTHONHOME | PYTHONPLATLIBDIR) LEFT_OUT="$LEFT_OUT $name" ;;
  esac
  unset "$name"
done
export PYTHONPATH="$ROOT"
export PYTHONUNBUFFERED=1

say() { printf '%s\n' "$*" >&2; }
die() { say "error: $*"; exit 1; }

find_python() {
  local candidate
  for candidate in ${PYTHON311:-} python3.11 python3.12 python3.13 python3; do
    if command -v "$candidate" >/dev/null 2>&1 &&
      "$candidate" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null; then
      command -v "$candidate"
      return
    fi
  done
  die "Python 3.11 or newer is needed (up to 3.13); python3 here is $(python3 --version 2>/dev/null || echo missing)"
}

# run_group COMMAND...: run it in a process group of its own, so that a signal ends it and all it started.
# bash by itself would first wait for it (SIGTERM) or leave it behind.
run_group() {
  local status=0
  trap 'end_group 129' HUP
  trap 'end_group 130' INT
  trap 'end_group 143' TERM
  set -m
  "$@" </dev/null &
  set +m
  wait "$!" || status=$?
  trap - HUP INT TERM
  return "$status"
}

# SIGINT first: pip and the packing clean up after themselves on that one.
end_group() {
  trap '' HUP INT TERM
  local signal group="-${!:-none}"
  for signal in INT TERM KILL; do
    kill "-$signal" -- "$group" 2>/dev/null || break
    for _ in {1..50}; do
      kill -0 -- "$group" 2>/dev/null || break 2
      sleep 0.1
    done
  done
  exit "$1"
}

# One line for each package, instead of pip's many.
show_pip() {
  grep --line-buffered -E '^ *(Collecting|Downloading|ERROR|error)' |
    sed -u -E 's/^ *Collecting ([^ ]+).*/  \1/; s/^ *Downloading .*\((.*)\)$/    downloading \1/' >&2 || true
}

pip_install() {
  "$VENV/bin/python" -m pip install --disable-pip-version-check --progress-bar off "$@" 2>&1 |
    tee -a "$VENV/install.log" | show_pip
}

# torch from PyTorch's index of CPU builds where that can be reached; else from pip's own index, but
# never a CUDA build (several GB) unless asked for: asked before it is fetched, looked at afterwards.
install_torch() {
  local wanted index from=(-c requirements.lock) where="pip's index"
  wanted="$(sed -n 's/^torch==/torch==/p' requirements.lock)"
  index="${TORCH_INDEX_URL:-https://download.pytorch.org/whl/cpu}"
  if [ "$(uname -s)" = Linux ] && "$VENV/bin/python" - "$index" <<'PY' 2>/dev/null; then
import sys, urllib.request
urllib.request.urlopen(sys.argv[1].rstrip("/") + "/torch/", timeout=8)
PY
    from=(--no-deps --index-url "$index")
    where="$index"
  fi
  if [ "${ALLOW_CUDA_TORCH:-0}" = 1 ]; then
    pip_install "${from[@]}" "$wanted"
    return
  fi
  local choice="set TORCH_INDEX_URL to an index of CPU builds, or ALLOW_CUDA_TORCH=1 to take it"
  ! would_take_cuda "${from[@]}" "$wanted" ||
    die "only a CUDA build of $wanted was found at $where; $choice"
  pip_install "${from[@]}" "$wanted" || return
  if has_cuda_torch; then
    # Or the next run would find it there, and take it.
    "$VENV/bin/python" -m pip uninstall --yes --quiet torch >>"$VENV/install.log" 2>&1
    die "what $where has for $wanted is a CUDA build; $choice"
  fi
}

# By what pip tells of the torch that it would take: a version as 2.0+cu130, or NVIDIA's packages beside
# it on this machine. Where pip can not tell, no.
would_take_cuda() {
  "$VENV/bin/python" -m pip install --disable-pip-version-check --quiet --dry-run --no-deps \
    --report - "$@" 2>>"$VENV/install.log" | "$VENV/bin/python" -c '
import json, sys
from pip._vendor.packaging.requirements import Requirement
[torch] = (item["metadata"] for item in json.load(sys.stdin)["install"])
needed = [Requirement(line) for line in torch.get("requires_dist", [])]
beside = [r.name for r in needed if not r.marker or r.marker.evaluate()]
named = [name for name in beside if name.startswith(("nvidia-", "cuda-"))]
sys.exit(not (named or "+cu" in torch["version"]))
' 2>>"$VENV/install.log"
}

# Read, not imported: what it imports may come after it.
has_cuda_torch() {
  "$VENV/bin/python" -c '
import importlib.util, pathlib, runpy, sys
found = pathlib.Path(importlib.util.find_spec("torch").origin).with_name("version.py")
sys.exit(runpy.run_path(str(found))["cuda"] is None)
' 2>>"$VENV/install.log"
}

# With a torch of another version, pip would take the pinned one from its own index, past install_torch.
has_pinned_torch() {
  "$VENV/bin/python" - "$(sed -n 's/^torch==//p' requirements.lock)" <<'PY' 2>/dev/null
import sys, torch
sys.exit(torch.__version__.split("+")[0] != sys.argv[1])  # without +cpu
PY
}

# Which Python $VENV has; nothing where it does not run, as after an upgrade of the machine's.
venv_python() {
  "$VENV/bin/python" -SEc 'import sys; print(*sys.version_info[:2])' 2>/dev/null || true
}

# cause_of WORDS OTHERWISE: what to look at after these words of Python or pip. venv keeps to itself that
# a disk is full.
cause_of() {
  case "$1" in
    *'No space left'* | *'isk quota exceeded'*)
      echo "no space is left on the disk of $ROOT, or on that of ${TMPDIR:-/tmp}" ;;
    *'Permission denied'* | *'Read-only file system'*)
      echo "$ROOT can not be written: $(grep -o -m 1 -E "(Permission denied|Read-only file system).*" <<<"$1")" ;;
    *'PATH separator'*) echo "Python makes none in a folder with a ':' in its path; move $ROOT" ;;
    *)
      if has_space; then echo "$2"; else echo "no space is left on the disk of $VENV"; fi ;;
  esac
}

has_space() {
  "$(find_python)" -SEc 'import os, sys
at = os.statvfs(sys.argv[1] if os.path.exists(sys.argv[1]) else ".")
sys.exit(at.f_bavail * at.f_frsize < 20e6)' "$VENV"
}

# make_venv PYTHON: makes $VENV, or its Python anew; packages for the same version stay.
make_venv() {
  local python="$1"
  case "$python" in
    "$VENV"/*) python="$("$python" -SEc 'import sys; print(sys._base_executable)')" ;;
  esac
  rm -f "$VENV"/bin/python* # dangling links are not replaced
  local said
  said="$("$python" -m venv "$VENV" 2>&1)" ||
    die "a virtual environment could not be made; $(cause_of "$said" "is the package python3-venv installed?")"
}

# In a process group of its own: see run_group.
set_up_env() {
  local python="$1"
  shift
  trap 'exit 130' INT # not on to the next command once pip has cleaned up
  # pip asked for, too: a set-up that was ended early may have left a Python without it.
  "$PYTHON" -m pip --version >/dev/null 2>&1 || make_venv "$python"
  : >"$VENV/install.log"
  {
    pip_install "$(grep '^pip==' requirements.lock)" &&
      { has_pinned_torch || install_torch; } &&
      pip_install -c requirements.lock "$@"
  } || die "packages could not be installed; $(cause_of "$(grep -i error "$VENV/install.log")" \
    "is there a network?") (${VENV##*/}/install.log has pip's words)"
}

# ensure_env VENV GROUP...: a virtual environment with these dependency groups; sets PYTHON.
ensure_env() {
  VENV="$ROOT/$1"
  shift
  PYTHON="$VENV/bin/python"
  local stamp group groups=()
  for group in "$@"; do groups+=(--group "$group"); done
  stamp="$(cat pyproject.toml requirements.lock scripts/_env.sh | cksum) $*"
  if [ -f "$VENV/.stamp" ] && [ "$(cat "$VENV/.stamp")" = "$stamp $(venv_python)" ]; then
    return
  fi
  local python
  python="$(find_python)" || exit 1
  say "Setting up ${VENV##*/} ($*): once, one to five minutes, about 1.5 GB on the disk"
  run_group set_up_env "$python" "${groups[@]}" || exit
  echo "$stamp $(venv_python)" >"$VENV/.stamp"
}
