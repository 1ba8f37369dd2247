package service

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
)

// Addresses is the first line on the standard output of `tms serve`, and the
// content of --addr-file. It holds no secret, only where secrets are.
type Addresses struct {
	GRPC string `json:"grpc_addr"` // host:port
	HTTP string `json:"http_addr"` // host:port
	TLS  bool   `json:"tls,omitempty"`
	// The rest is set with --dev only.
	ElasticURLs     []string `json:"elastic_urls,omitempty"`
	DevDir          string   `json:"dev_dir,omitempty"`
	AdminKeyFile    string   `json:"admin_key_file,omitempty"`
	InstanceKeyFile string   `json:"instance_key_file,omitempty"`
}

// Line is the addresses as one line of JSON, with its end.
func (a Addresses) Line() []byte {
	line, err := json.Marshal(a)
	if err != nil {
		panic(err) // strings only
	}
	return append(line, '\n')
}

// WriteFile writes the line; a reader sees all of it or nothing.
func (a Addresses) WriteFile(path string) error {
	draft, err := os.CreateTemp(filepath.Dir(path), ".tms-addr-*")
	if err != nil {
		return fmt.Errorf("--addr-file: %w", err)
	}
	_, err = draft.Write(a.Line())
	if closeErr := draft.Close(); err == nil {
		err = closeErr
	}
	if err == nil {
		err = os.Rename(draft.Name(), path)
	}
	if err != nil {
		_ = os.Remove(draft.Name())
		return fmt.Errorf("--addr-file: %w", err)
	}
	return nil
}

// dialable is an address under which this machine reaches the listener.
func dialable(l net.Listener) string {
	addr, ok := l.Addr().(*net.TCPAddr)
	if !ok || !addr.IP.IsUnspecified() {
		return l.Addr().String()
	}
	return fmt.Sprintf("localhost:%d", addr.Port)
}

// beyond says whether other machines reach the listener.
func beyond(l net.Listener) bool {
	addr, ok := l.Addr().(*net.TCPAddr)
	return ok && !addr.IP.IsLoopback()
}
