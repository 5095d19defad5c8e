#!/usr/bin/env bash
# Installs the foreign programs that tests talk to: from Debian what is missing, from npm into tests/peers.
# A test that lacks one is skipped and named in the summary (with CI=true it fails). Safe to run again.
set -euo pipefail
cd "$(dirname "$0")/.."

# program:Debian package, one line each; a program is looked for on PATH, in /usr/sbin and beside PostgreSQL's own
needed=(
  mbpoll:mbpoll         # a Modbus client in C
  initdb:postgresql     # a cluster of its own per test run, see tests/services.py
  node:nodejs           # runs the npm peers
  npm:npm
  nmap:nmap             # its script modbus-discover
  openssl:openssl       # a TLS client
  mosquitto:mosquitto   # an MQTT broker; the tests start their own, on free ports
  chromium:chromium     # a browser; tests of the dashboard drive it
  spin:spin             # a model checker; it writes C, so it needs a compiler, see below
)

say() { printf 'services: %s\n' "$*"; }
die() { printf 'services: %s\n' "$*" >&2; exit 1; }

present() {
  local program=$1
  PATH="$PATH:/usr/sbin:/sbin" command -v "$program" >/dev/null && return
  compgen -G "/usr/lib/postgresql/*/bin/$program" >/dev/null
}

missing=()
for entry in "${needed[@]}"; do
  present "${entry%%:*}" || missing+=("${entry#*:}")
done
# Debian ships Python without the module that `make` builds the environment with.
"${PYTHON:-python3}" -c 'import ensurepip' 2>/dev/null || missing+=(python3-venv)
# gcc without the headers of the C library, which Debian only recommends, compiles nothing.
gcc -E -include stdio.h -x c /dev/null >/dev/null 2>&1 || missing+=(gcc libc6-dev)

if ((${#missing[@]})); then
  command -v apt-get >/dev/null || die "cannot install ${missing[*]}: this is no Debian or Ubuntu; install them by hand"
  as_root=()
  if ((EUID != 0)); then
    command -v sudo >/dev/null || die "cannot install ${missing[*]}: neither root nor sudo here"
    as_root=(sudo)
  fi
  say "installing ${missing[*]} (Debian)"
  # Under `sudo` the environment is not handed on, so the variable stands behind it.
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get update -qq </dev/null
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
    apt-get install -qq -y --no-install-recommends "${missing[@]}" </dev/null
fi

# Packages from npm stay in one folder, which git ignores; they are complete when the stamp holds the lock's sum.
peers=tests/peers
stamp=$peers/node_modules/.calejo-stamp
sum=$(sha256sum <"$peers/package-lock.json")
if [[ ! -f $stamp || $(<"$stamp") != "$sum" ]]; then
  say "installing the npm peers into $peers/node_modules"
  (cd "$peers" && npm ci --loglevel=error </dev/null)
  printf '%s\n' "$sum" >"$stamp"
fi
say 'all present'
