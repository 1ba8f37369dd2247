package tmsv1

import (
	"bytes"
	"encoding/json"
	"fmt"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// JSON renders a message for scripts: field names as in the contract
// (fence_ms), zero values written out, and 64-bit integers as numbers. Proto
// JSON has them as strings, for the sake of languages whose numbers end at
// 2^53; documents are not counted that far, and scripts compare numbers.
// protojson reads both forms.
func JSON(m proto.Message) ([]byte, error) {
	raw, err := protojson.MarshalOptions{UseProtoNames: true, EmitDefaultValues: true}.Marshal(m)
	if err != nil {
		return nil, fmt.Errorf("render %s: %w", m.ProtoReflect().Descriptor().FullName(), err)
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return nil, fmt.Errorf("render %s: %w", m.ProtoReflect().Descriptor().FullName(), err)
	}
	numbers(v, m.ProtoReflect().Descriptor())
	return json.Marshal(v)
}

// numbers turns the strings of 64-bit integer fields into numbers, in place.
func numbers(v any, d protoreflect.MessageDescriptor) {
	obj, ok := v.(map[string]any)
	if !ok || d.FullName().Parent() == "google.protobuf" {
		return // well-known types have a form of their own
	}
	for name, value := range obj {
		if f := d.Fields().ByName(protoreflect.Name(name)); f != nil {
			obj[name] = fieldNumbers(value, f)
		}
	}
}

func fieldNumbers(v any, f protoreflect.FieldDescriptor) any {
	switch {
	case f.IsMap():
		m, _ := v.(map[string]any)
		for k := range m {
			m[k] = valueNumber(m[k], f.MapValue())
		}
		return v
	case f.IsList():
		l, _ := v.([]any)
		for i := range l {
			l[i] = valueNumber(l[i], f)
		}
		return v
	default:
		return valueNumber(v, f)
	}
}

func valueNumber(v any, f protoreflect.FieldDescriptor) any {
	switch f.Kind() {
	case protoreflect.MessageKind:
		numbers(v, f.Message())
	case protoreflect.Int64Kind, protoreflect.Uint64Kind, protoreflect.Sint64Kind, protoreflect.Fixed64Kind, protoreflect.Sfixed64Kind:
		if s, ok := v.(string); ok {
			return json.Number(s)
		}
	}
	return v
}
