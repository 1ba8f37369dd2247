#!/bin/sh
# Generates Go, gateway and OpenAPI from proto/. Needs nothing but Go.
set -eu
cd "$(dirname "$0")/.."
go tool -modfile=tools/go.mod buf lint
go tool -modfile=tools/go.mod buf generate "$@"
