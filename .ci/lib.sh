# What the scripts in this folder share. They source it from the root of the repository.

# fail MESSAGE... says why, and ends the script.
fail() {
  echo "$*" >&2
  exit 1
}

# quiet COMMAND... fails when the command fails, and also when it has something to say.
quiet() {
  local out
  out=$("$@" 2>&1) || fail "$out"
  [[ -z $out ]] || fail "$out"
}

# have COMMAND succeeds where a command is there: in the PATH, or where Debian keeps servers of several versions.
have() { command -v "$1" >/dev/null || compgen -G "/usr/lib/*/*/bin/$1" >/dev/null; }

# need COMMAND PACKAGE... makes sure that a command is there. Where it is missing, Debian's packages are installed.
need() {
  local command=$1 out sudo=
  shift
  ! have "$command" || return 0
  command -v apt-get >/dev/null || fail "$command is missing: install $*"
  ((EUID == 0)) || sudo=sudo
  echo "    $command is missing: installing $*"
  out=$({ $sudo apt-get update && $sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "$@"; } 2>&1) ||
    fail "$out"
  have "$command" || fail "$command is still missing after installing $*"
}

# need_programs makes sure that the real servers and the browser that tests start are there.
need_programs() {
  need nginx nginx-light
  need haproxy haproxy
  need promtool prometheus
  need chromium chromium
  need postgres postgresql
  need redis-server redis-server
  need redis-cli redis-tools
}
