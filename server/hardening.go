package server

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"strings"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
)

// safeHeaders tell browsers to do nothing of their own with an answer. A
// handler that serves pages sets its own.
var safeHeaders = map[string]string{
	"X-Content-Type-Options":       "nosniff",
	"X-Frame-Options":              "DENY",
	"Content-Security-Policy":      "default-src 'none'; frame-ancestors 'none'",
	"Referrer-Policy":              "no-referrer", // paths of Tracardi's routes hold keys
	"Cross-Origin-Resource-Policy": "same-origin",
	"Cache-Control":                "no-store",
}

// hardened bounds what clients can do to the server: the size of bodies, the
// time they take to send one and to take the answer. Bodies are read before
// the handler runs, so that a slow client occupies no more than its
// connection; they are small.
func hardened(mux *http.ServeMux) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for name, value := range safeHeaders {
			w.Header().Set(name, value)
		}
		control := http.NewResponseController(w)
		if r.Body != nil && r.Body != http.NoBody {
			_ = control.SetReadDeadline(time.Now().Add(readBodyTimeout)) // only test recorders cannot
			body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
			if err != nil {
				refuseBody(w, r, err)
				return
			}
			// Without this the deadline would end long calls: the server reads
			// on, to notice when a client goes away.
			_ = control.SetReadDeadline(time.Time{})
			r.Body = io.NopCloser(bytes.NewReader(body))
		}
		if strings.HasSuffix(r.URL.Path, ":watch") {
			w = &streamWriter{w, control}
		} else {
			_ = control.SetWriteDeadline(time.Now().Add(writeTimeout))
		}
		if handler, pattern := mux.Handler(r); pattern == "" {
			refusePath(w, r, handler)
			return
		}
		mux.ServeHTTP(w, r)
	})
}

// refuseBody answers in the form of the routes that the path belongs to.
func refuseBody(w http.ResponseWriter, r *http.Request, err error) {
	w.Header().Set("Connection", "close")
	code, grpcCode, reason, message := http.StatusRequestTimeout, codes.DeadlineExceeded, reasonDeadline, "the body did not arrive in time or in full"
	var large *http.MaxBytesError
	if errors.As(err, &large) {
		code, grpcCode, reason, message = http.StatusRequestEntityTooLarge, codes.ResourceExhausted, reasonTooLarge, "the body is larger than 1 MiB"
	}
	switch {
	case strings.HasPrefix(r.URL.Path, "/v1/"):
		writeStatus(w, code, detailed(grpcCode, message, info(reason, nil)))
	case r.Method == http.MethodPost:
		writeViolations(w, []bodyError{{Loc: []any{"body"}, Msg: message, Type: "value_error.jsondecode"}})
	default:
		writeDetail(w, code, message)
	}
}

// writeStatus answers as the gateway does.
func writeStatus(w http.ResponseWriter, code int, st *status.Status) {
	b, err := protojson.MarshalOptions{UseProtoNames: true, EmitDefaultValues: true}.Marshal(st.Proto())
	if err != nil { // details of ours are always known
		b = []byte(`{"code":13,"message":"internal error"}`)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_, _ = w.Write(b) // the client went away
}

// refusePath answers 404 and 405 in the form of all other errors, and keeps
// the redirects of the multiplexer.
func refusePath(w http.ResponseWriter, r *http.Request, handler http.Handler) {
	out := &headersOnly{header: http.Header{}, code: http.StatusOK}
	handler.ServeHTTP(out, r)
	if allow := out.header.Get("Allow"); allow != "" {
		w.Header().Set("Allow", allow)
	}
	if out.code < http.StatusBadRequest {
		handler.ServeHTTP(w, r)
		return
	}
	writeDetail(w, out.code, strings.ToLower(http.StatusText(out.code)))
}

// headersOnly is an answer whose body nobody wants.
type headersOnly struct {
	header http.Header
	code   int
}

func (h *headersOnly) Header() http.Header         { return h.header }
func (h *headersOnly) WriteHeader(code int)        { h.code = code }
func (h *headersOnly) Write(b []byte) (int, error) { return len(b), nil }

// streamWriter gives every piece of a stream the time that a whole answer
// has: who takes none of it does not occupy a connection for ever.
type streamWriter struct {
	http.ResponseWriter
	control *http.ResponseController
}

func (w *streamWriter) Write(b []byte) (int, error) {
	_ = w.control.SetWriteDeadline(time.Now().Add(writeTimeout)) // only test recorders cannot
	return w.ResponseWriter.Write(b)
}

// Unwrap and Flush are as in statusWriter.
func (w *streamWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// Flush implements http.Flusher.
func (w *streamWriter) Flush() { _ = w.control.Flush() }
