package server

import (
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/tracardi/tms/tenants"
)

// refuseNUL refuses a request with the character NUL anywhere: Postgres can
// hold it in no text, and no text of ours has a use for it.
func refuseNUL(m proto.Message) error {
	field := findNUL(m.ProtoReflect())
	if field == "" {
		return nil
	}
	const message = "holds the character NUL"
	return &tenants.Error{
		Code: tenants.CodeInvalid, Reason: tenants.ReasonInvalidField, Field: field, Message: message, Remedy: "leave it out",
		Violations: []tenants.Violation{{Field: field, Message: message}},
	}
}

// findNUL is the path of the first text with NUL, "" without one.
func findNUL(m protoreflect.Message) (path string) {
	m.Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		var below string
		bad := false
		switch {
		case f.IsMap():
			v.Map().Range(func(k protoreflect.MapKey, v protoreflect.Value) bool {
				bad = f.MapKey().Kind() == protoreflect.StringKind && strings.Contains(k.String(), "\x00")
				if !bad {
					below, bad = nulIn(f.MapValue(), v)
				}
				return !bad
			})
		case f.IsList():
			for i := 0; i < v.List().Len() && !bad; i++ {
				below, bad = nulIn(f, v.List().Get(i))
			}
		default:
			below, bad = nulIn(f, v)
		}
		if !bad {
			return true
		}
		if path = string(f.Name()); below != "" {
			path += "." + below
		}
		return false
	})
	return path
}

// nulIn looks at one value; below is the path within it.
func nulIn(f protoreflect.FieldDescriptor, v protoreflect.Value) (below string, bad bool) {
	switch f.Kind() {
	case protoreflect.StringKind:
		return "", strings.Contains(v.String(), "\x00")
	case protoreflect.MessageKind:
		below = findNUL(v.Message())
		return below, below != ""
	}
	return "", false
}
