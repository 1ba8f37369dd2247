#!/bin/sh
# Fails when what is committed differs from what the contract generates now.
# Works on a copy, so it neither needs git nor touches the tree.
set -eu
cd "$(dirname "$0")/.."
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
go tool -modfile=tools/go.mod buf lint
go tool -modfile=tools/go.mod buf generate -o "$tmp"
stale=0
for f in $(cd "$tmp" && find . -type f); do
	cmp -s "$tmp/$f" "$f" || { echo "stale: $f (run make generate)" >&2; stale=1; }
done
for f in $(find proto -name '*.pb.go' -o -name '*.pb.gw.go' -o -name '*.swagger.json'); do
	[ -e "$tmp/$f" ] || { echo "left over: $f (its .proto is gone)" >&2; stale=1; }
done
exit $stale
