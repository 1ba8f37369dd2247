#!/bin/sh
# Makes sure that what `make demo` and `make test` need besides Go is there:
# JDK 17 (java, javac), Maven, the PostgreSQL server programs, make and gcc
# (for `go test -race`), curl (for the examples of the README) and Python 3 with
# venv (for the tests of the Python client). As root on a machine with apt what is missing is installed;
# elsewhere one sentence says what it is, and the exit code is 1.
# Silent and quick when nothing is missing.
set -eu

have() { command -v "$1" >/dev/null 2>&1; }

have_jdk() {
	{ [ -n "${JAVA_HOME:-}" ] && [ -x "$JAVA_HOME/bin/java" ] && [ -x "$JAVA_HOME/bin/javac" ]; } ||
		{ have java && have javac; }
}

have_postgres() {
	if [ -n "${TMS_DEV_POSTGRES_BIN:-}" ]; then
		[ -x "$TMS_DEV_POSTGRES_BIN/initdb" ]
		return
	fi
	have postgres && return
	for program in /usr/lib/postgresql/*/bin/initdb; do
		[ -x "$program" ] && return
	done
	return 1
}

# Debian splits off ensurepip, without which venv makes nothing useful.
have_python() {
	have python3 && python3 -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 10))' 2>/dev/null
}

# What is missing, as names of Debian packages and in words.
packages=
words=
miss() {
	packages="$packages $1"
	words="${words:+$words, }$2"
}
look() {
	packages=
	words=
	have_jdk || miss openjdk-17-jdk-headless "a JDK 17 (java and javac)"
	have mvn || miss maven "Maven (mvn)"
	have_postgres || miss postgresql "the PostgreSQL server (initdb and postgres)"
	have make || miss make "make"
	have curl || miss curl "curl"
	have_python || miss "python3 python3-venv" "Python 3.10 or later with venv"
	have gcc || have clang || miss "gcc libc6-dev" "a C compiler (gcc, for go test -race)"
}

# Debian's package creates and starts a database cluster unless this file says
# no; ours is private and nobody needs another one.
no_default_cluster() {
	file=/etc/postgresql-common/createcluster.conf
	[ -e "$file" ] && return
	mkdir -p "${file%/*}"
	echo "create_main_cluster = false" >"$file"
}

install_packages() {
	case $packages in *postgresql*) no_default_cluster ;; esac
	export DEBIAN_FRONTEND=noninteractive UCF_FORCE_CONFFOLD=1
	log=$(mktemp)
	# shellcheck disable=SC2086 # the list is meant to be split
	if { apt-get update && apt-get install -y --no-install-recommends \
		-o Dpkg::Options::=--force-confold $packages; } >"$log" 2>&1; then
		rm -f "$log"
		return
	fi
	tail -n 20 "$log" >&2
	rm -f "$log"
	echo "setup: apt-get could not install$packages; see above." >&2
	exit 1
}

look
[ -z "$packages" ] && exit 0

if [ "$(id -u)" -eq 0 ] && have apt-get; then
	echo "setup: installing$packages" >&2
	install_packages
	look
	[ -z "$packages" ] && exit 0
fi
echo "setup: missing: $words; on Debian: apt-get install$packages." >&2
exit 1
