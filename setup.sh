#!/usr/bin/env bash
# Makes the two environments of this checkout: .venv (pipelines) and .venv-serving (gateway and engine).
#
# Two, because ZenML's server and vLLM want different versions of FastAPI. uv installs them in about a
# minute, where pip looks for a matching set for a quarter of an hour; if there is no uv, pip brings one
# into .tuneline/tools. A stamp is written after the last step only, so whatever was interrupted is
# done again and whatever is complete is left alone.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

readonly PYTHONS=(python3 python python3.12 python3.11 python3.13) # those that will do are 3.11 to 3.13
readonly UV_VERSION=0.9.8                                          # --torch-backend needs 0.6.9
readonly TOOLS=.tuneline/tools

usage() {
  cat <<'TEXT'
usage: ./setup.sh [options]

Makes .venv (pipelines) and .venv-serving (gateway and engine). Safe to run again: what is complete is
left alone, what was interrupted or whose pins have changed is installed again.

  --force           remove both environments and make them from nothing
  --only NAME       make only one of them: pipelines or serving
  --cpu | --gpu     do not ask nvidia-smi whether there is a GPU
  --repin           after a change in pyproject.toml: write constraints/*.txt anew, moving what must move only
  --remove          stop this checkout's local endpoints, then remove .venv, .venv-serving and .tuneline
  --help            this text

environment:
  PYTHON            the interpreter for new environments (3.11, 3.12 or 3.13); if there is none, uv fetches 3.12
  PIP_INDEX_URL, PIP_FIND_LINKS, PIP_CERT   what pip is told, uv is told too
TEXT
}

say() { printf '%s\n' "$*"; }
step() { printf '[%3ds] %s\n' "$SECONDS" "$*"; }
fail() {
  printf 'setup: %s\n' "$1" >&2
  [ -z "${2:-}" ] || printf '       %s\n' "$2" >&2
  exit "${3:-1}"
}

# ---- the endpoints and folders of this checkout ------------------------------------------------------

stop_endpoints() {
  local file pid group waited
  for file in "${TUNELINE_HOME:-.tuneline}"/endpoints/*/endpoint.json; do
    [ -f "$file" ] || continue
    pid=$(sed -n 's/.*"pid": *\([0-9][0-9]*\).*/\1/p' "$file" | head -n 1)
    group=$(sed -n 's/.*"pgid": *\([0-9][0-9]*\).*/\1/p' "$file" | head -n 1)
    # A number in a file may belong to somebody else by now: only our serving process of our checkout counts.
    case "$(ps -o command= -p "${pid:-0}" 2>/dev/null || true)" in *"-m serving "*) ;; *) continue ;; esac
    if [ -e "/proc/$pid/cwd" ] && [ "$(readlink "/proc/$pid/cwd")" != "$(pwd -P)" ]; then continue; fi
    step "stopping the endpoint of $file (process $pid)"
    kill -TERM "$pid" 2>/dev/null || true
    for ((waited = 0; waited < 150; waited++)); do
      case "$(ps -o stat= -p "$pid" || true)" in "" | Z*) break ;; esac
      sleep 0.1
    done
    [ -z "$group" ] || kill -KILL -- "-$group" 2>/dev/null || true
  done
}

remove_everything() {
  stop_endpoints
  rm -rf .venv .venv-serving .tuneline
  say "removed .venv, .venv-serving and .tuneline"
}

# ---- what is there: GPU, Python, uv -------------------------------------------------------------------

has_gpu() {
  command -v nvidia-smi >/dev/null 2>&1 || return 1
  case "$(nvidia-smi -L 2>/dev/null || true)" in "GPU "*) return 0 ;; *) return 1 ;; esac
}

fits() { "$1" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' >/dev/null 2>&1; }

find_python() { # prints the interpreter, or nothing; a PYTHON that will not do is no reason to take another
  local candidate
  for candidate in ${PYTHON:+"$PYTHON"} "${PYTHONS[@]}"; do
    if fits "$candidate"; then
      "$candidate" -c 'import sys; print(sys.executable)'
      return
    fi
    if [ "$candidate" = "${PYTHON:-}" ]; then return 1; fi
  done
}

any_pip() { # prints a Python, of any version, that has pip
  local candidate
  for candidate in ${PYTHON:+"$PYTHON"} "${PYTHONS[@]}"; do
    if "$candidate" -m pip --version >/dev/null 2>&1; then printf '%s' "$candidate" && return; fi
  done
}

find_uv() { # sets UV
  local pip_python
  for UV in "$(command -v uv || true)" "$TOOLS/bin/uv"; do
    [ -n "$UV" ] || continue
    case "$("$UV" pip install --help 2>/dev/null || true)" in *--torch-backend*) return ;; esac
  done
  pip_python=$(any_pip)
  [ -n "$pip_python" ] || fail "there is neither uv nor pip here" \
    "install one of them, e.g. apt install python3-pip, or see https://docs.astral.sh/uv" 2
  step "uv $UV_VERSION into $TOOLS"
  PIP_ROOT_USER_ACTION=ignore "$pip_python" -m pip install --quiet --upgrade --target "$TOOLS" "uv==$UV_VERSION" ||
    fail "pip could not install uv" "check the network, or install uv yourself: https://docs.astral.sh/uv"
  UV=$TOOLS/bin/uv
}

tell_uv_what_pip_knows() {
  local pip_python links
  pip_python=$(any_pip)
  links=${PIP_FIND_LINKS:-}
  if [ -z "$links" ] && [ -n "$pip_python" ]; then
    links=$("$pip_python" -m pip config get global.find-links 2>/dev/null || true)
  fi
  [ -z "$links" ] || export UV_FIND_LINKS="${UV_FIND_LINKS:-${links// /,}}"
  [ -z "${PIP_INDEX_URL:-}" ] || export UV_DEFAULT_INDEX="${UV_DEFAULT_INDEX:-$PIP_INDEX_URL}"
  [ -z "${PIP_CERT:-}" ] || export SSL_CERT_FILE="${SSL_CERT_FILE:-$PIP_CERT}"
}

# A torch build among the find-links is the one that is meant. Without one, uv takes torch's own index:
# its CPU build, or the one that fits the driver.
torch_backend() {
  local folder links
  links=${UV_FIND_LINKS:-}
  for folder in ${links//,/ }; do
    if compgen -G "${folder#file://}/torch-*.whl" >/dev/null; then return; fi
  done
  if [ "$ACCELERATOR" = gpu ]; then say "--torch-backend=auto"; else say "--torch-backend=cpu"; fi
}

# ---- one environment ---------------------------------------------------------------------------------

wanted_stamp() { # folder, extras: changes when the pins, this script, the accelerator or the interpreter do
  { cat setup.sh pyproject.toml constraints/*.txt && "$1/bin/python" -V && say "$ACCELERATOR $2"; } 2>/dev/null | cksum
}

is_complete() { # folder, extras
  [ -f "$1/.complete" ] && [ -x "$1/bin/python" ] && [ "$(cat "$1/.complete")" = "$(wanted_stamp "$1" "$2")" ]
}

install() { # folder, what it is, constraints file, extras...
  local folder=$1 what=$2 constraints=$3 python began=$SECONDS
  shift 3
  if is_complete "$folder" "$*"; then
    step "$folder is complete"
    return
  fi
  [ -n "${UV:-}" ] || { find_uv && tell_uv_what_pip_knows; }
  if ! fits "$folder/bin/python"; then
    python=$(find_python || true)
    "$UV" venv --quiet --clear --python "${python:-3.12}" "$folder" || fail "could not make $folder"
  fi
  rm -f "$folder/.complete"
  step "$folder: $what"
  # Compiled now, by all cores: else every first start pays for it, and where PYTHONDONTWRITEBYTECODE is set (in
  # containers, mostly) every start does, 4 s of each command.
  run_uv pip install --compile-bytecode --python "$folder/bin/python" -r pyproject.toml $(printf -- '--extra %s ' "$@") \
    --constraints "$constraints" --overrides constraints/overrides.txt $(torch_backend) ||
    fail "the installation of $folder did not finish" "run ./setup.sh again: it goes on where this one stopped"
  wanted_stamp "$folder" "$*" >"$folder/.complete"
  step "$folder is complete, $((SECONDS - began)) s"
}

run_uv() { # on a terminal uv draws its own progress; in a log, its list of 200 packages is noise
  if [ -t 2 ]; then "$UV" "$@"; else "$UV" "$@" 2>&1 | { grep -vE '^ [-+~] |^Using Python' || true; }; fi
}

# ---- the pins ----------------------------------------------------------------------------------------

# Left to torch, because each of its builds names its own: CUDA libraries, and triton.
readonly TORCHS_OWN='^(triton|cuda-[a-z]+|nvidia-(cublas|cuda|cudnn|cufft|cufile|curand|cusolver|cusparse|nccl|nv)[a-z0-9-]*)=='

repin() {
  local environment file
  find_uv && tell_uv_what_pip_knows
  for environment in pipelines serving-cpu serving-gpu; do
    file=constraints/$environment.txt
    step "$file"
    if [ $environment = serving-gpu ]; then unset UV_FIND_LINKS; fi # a CPU build of torch among them is not meant
    "$UV" pip compile --quiet pyproject.toml --extra $environment $([ $environment != pipelines ] || say --extra dev) \
      --python-version 3.11 --no-header --no-annotate --overrides constraints/overrides.txt \
      $([ $environment = serving-gpu ] || torch_backend) --output-file "$file" >/dev/null
    {
      say "# Names and versions of everything that [$environment] in pyproject.toml brings."
      say "# Written by \`./setup.sh --repin\`; setup.sh installs with it."
      grep -vE "$TORCHS_OWN" "$file" | sed 's/+[a-z0-9]*$//' # a build tag such as +cpu is this machine's
    } >"$file.part"
    mv "$file.part" "$file"
  done
}

# ---- the order of things -----------------------------------------------------------------------------

install_all() {
  if [ -n "${PYTHON:-}" ] && ! find_python >/dev/null; then
    fail "PYTHON=$PYTHON does not run, or is not Python 3.11, 3.12 or 3.13" "name another one, or unset PYTHON" 2
  fi
  if [ "$FORCE" = yes ] && [ "$ONLY" != serving ]; then rm -rf .venv; fi
  if [ "$FORCE" = yes ] && [ "$ONLY" != pipelines ]; then
    stop_endpoints
    rm -rf .venv-serving
  fi
  if [ "$ONLY" != serving ]; then
    install .venv "pipelines (ZenML, torch, transformers, PEFT, MLflow) and the tests' tools" \
      constraints/pipelines.txt pipelines dev
  fi
  if [ "$ONLY" != pipelines ]; then
    install .venv-serving "gateway and engine (BentoML, vLLM for $ACCELERATOR)" \
      "constraints/serving-$ACCELERATOR.txt" "serving-$ACCELERATOR"
  fi
  step "ready. Next: make demo, or .venv/bin/python run.py --help"
}

ACCELERATOR="" ONLY=both FORCE=no ACTION=install_all UV=""
while [ $# -gt 0 ]; do
  case "$1" in
    --force) FORCE=yes ;;
    --only) ONLY=${2:-nothing} && shift ;;
    --cpu) ACCELERATOR=cpu ;;
    --gpu) ACCELERATOR=gpu ;;
    --repin) ACTION=repin ;;
    --remove) ACTION=remove_everything ;;
    -h | --help) usage && exit 0 ;;
    *) usage >&2 && fail "unknown option: $1" "" 2 ;;
  esac
  shift || true
done
case "$ONLY" in both | pipelines | serving) ;; *) fail "--only takes pipelines or serving, not '$ONLY'" "" 2 ;; esac
if [ -z "$ACCELERATOR" ]; then if has_gpu; then ACCELERATOR=gpu; else ACCELERATOR=cpu; fi; fi
$ACTION
