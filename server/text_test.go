package server_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/dynamicpb"
)

// withNUL is a request whose named field, and nothing else, holds NUL; nil
// when the field can hold no text.
func withNUL(d protoreflect.MessageDescriptor, f protoreflect.FieldDescriptor) *dynamicpb.Message {
	const bad = "ac\x00me"
	m := dynamicpb.NewMessage(d)
	switch {
	case f.IsMap() && f.MapKey().Kind() == protoreflect.StringKind:
		value := m.NewField(f)
		v := value.Map().NewValue()
		if f.MapValue().Kind() == protoreflect.StringKind {
			v = protoreflect.ValueOfString("x")
		}
		value.Map().Set(protoreflect.ValueOfString(bad).MapKey(), v)
		m.Set(f, value)
	case f.Kind() == protoreflect.StringKind && f.IsList():
		m.Mutable(f).List().Append(protoreflect.ValueOfString(bad))
	case f.Kind() == protoreflect.StringKind:
		m.Set(f, protoreflect.ValueOfString(bad))
	case f.Kind() == protoreflect.MessageKind && !f.IsList() && !f.IsMap():
		for i := range f.Message().Fields().Len() {
			if inner := withNUL(f.Message(), f.Message().Fields().Get(i)); inner != nil {
				m.Set(f, protoreflect.ValueOfMessage(inner))
				return m
			}
		}
		return nil
	default:
		return nil
	}
	return m
}

// NUL in any text of any call is the caller's mistake.
func TestNULIsRefusedInEveryFieldOfEveryCall(t *testing.T) {
	t.Parallel()
	b := setup(t)
	seen := 0
	for _, m := range contract(t) {
		for i := range m.Input().Fields().Len() {
			f := m.Input().Fields().Get(i)
			request := withNUL(m.Input(), f)
			if request == nil {
				continue
			}
			seen++
			err := b.send(b.admin(), m, request)
			assert.Equal(t, codes.InvalidArgument, status.Code(err), "%s.%s: %v", callName(m), f.Name(), err)
			assert.Equal(t, "INVALID_FIELD", reasonOf(err), "%s.%s", callName(m), f.Name())
			assert.Contains(t, fmt.Sprint(err), string(f.Name()))
		}
	}
	assert.Greater(t, seen, 50)
}
