package main

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestParse(t *testing.T) {
	t.Parallel()
	got := parse([]byte("goos: linux\n" +
		"BenchmarkCheck/grpc/empty-2         \t   23456\t     51234 ns/op\n" +
		"BenchmarkCheck/http/bare            \t   10000\t     99.5 ns/op\t 12 B/op\n" +
		"BenchmarkOther/x-2 \t 1 \t 5 ns/op\nPASS\n"))
	require.Equal(t, map[string]float64{"grpc/empty": 51234, "http/bare": 99.5}, got)
}
