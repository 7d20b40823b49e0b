# Sourced by the other scripts. `start COMMAND ARGUMENTS...` finds a Python and hands on to commands/.
# shellcheck shell=bash
set -euo pipefail
unset CDPATH # `cd` would go elsewhere, and print where it went
ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"

# start COMMAND ARGUMENTS...: OLDEST and NEWEST bound the Pythons that are taken.
start() {
  local name python
  # These are for a Python of the machine's: PYTHONHOME alone would end ours before it begins.
  export GPT2_PASSED_OVER="" GPT2_STARTED_IN="$PWD" GPT2_PROGRAM="./scripts/${0##*/}"
  for name in "${!PYTHON@}"; do
    case "$name" in
      PYTHON311) continue ;;
      PYTHONPATH) [ "$PYTHONPATH" = "$ROOT" ] || GPT2_PASSED_OVER+=" $name" ;;
      PYTHONHOME | PYTHONPLATLIBDIR) GPT2_PASSED_OVER+=" $name" ;;
    esac
    unset "$name"
  done
  export PYTHONPATH="$ROOT" PYTHONUNBUFFERED=1
  python="$(find_python "${OLDEST:-3.11}" "${NEWEST:-3.14}")"
  cd "$ROOT" # Python looks for modules where it is started
  exec "$python" -m commands "$@"
}

# find_python OLDEST NEWEST: the first on the PATH between these.
find_python() {
  local candidate check='import sys
oldest, newest = (tuple(map(int, word.split("."))) for word in sys.argv[1:])
sys.exit(not oldest <= sys.version_info[:2] <= newest)'
  for candidate in ${PYTHON311:-} python3.{11,12,13,14,10,9} python3; do
    if command -v "$candidate" >/dev/null 2>&1 && "$candidate" -c "$check" "$@" 2>/dev/null; then
      command -v "$candidate"
      return
    fi
  done
  echo "error: Python $1 or newer is needed (up to $2); python3 here is" \
    "$(python3 --version 2>/dev/null || echo missing)" >&2
  exit 1
}
