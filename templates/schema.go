package templates

import (
	"encoding/json"
	"maps"
	"reflect"
	"slices"
	"strconv"
)

type schema = map[string]any

// Schema returns the JSON schema (draft 7, which yaml-language-server takes) of
// the templates that Parse accepts with lang. It knows the form of a template
// and nothing of what its expressions give.
func Schema(lang Language) []byte {
	lang = lang.withBuild()
	single := objectSchema(typeOf[singleDoc](), blockSchemas())
	graph := objectSchema(typeOf[graphDoc](), blockSchemas())
	build := objectSchema(typeOf[buildDoc](), blockSchemas())
	root := schema{
		"$schema": "http://json-schema.org/draft-07/schema#",
		"title":   "bake template",
		"type":    "object",
		"if":      schema{"required": []any{"builds"}},
		"then":    graph, "else": single,
		// Editors that do not look into if and then find the keys here.
		"properties": allProperties(single, graph),
		"definitions": schema{
			"build":   build,
			"source":  sourceSchema(lang.Sources),
			"step":    stepSchema(lang.Steps),
			"output":  kindsSchema(lang.Outputs, typeOf[outputDoc](), "one output: one kind, and what holds for any"),
			"include": objectSchema(typeOf[includeDoc](), schema{"with": schema{"type": []any{"object", "null"}}}),
		},
	}
	out, err := json.MarshalIndent(root, "", "  ")
	if err != nil {
		panic(err) // maps of strings always encode
	}
	return append(out, '\n')
}

func allProperties(objects ...schema) schema {
	out := schema{}
	for _, o := range objects {
		for name := range o["properties"].(schema) {
			out[name] = true
		}
	}
	return out
}

// blockSchemas says what the keys take that Parse reads by hand.
func blockSchemas() schema {
	entry := schema{"if": schema{"required": []any{"include"}}, "then": refTo("include"), "else": refTo("step")}
	steps := orNull(schema{"type": "array", "items": entry})
	return schema{
		"name": textSchema(nil), "description": orNull(textSchema(nil)),
		"variables": orNull(schema{"type": "object", "propertyNames": schema{"pattern": variableName.String()}, "additionalProperties": structSchema(typeOf[variableDoc](), nil)}),
		"builds":    schema{"type": "object", "minProperties": 1, "propertyNames": schema{"pattern": buildName.String()}, "additionalProperties": refTo("build")},
		"source":    refTo("source"),
		"steps":     steps, "tests": steps,
		"config":  orNull(structSchema(typeOf[Config](), nil)),
		"outputs": orNull(schema{"type": "array", "items": refTo("output")}),
		"squash":  anyOf(schema{"type": "boolean"}, expressionSchema()),
		"matrix":  matrixSchema(),
	}
}

func matrixSchema() schema {
	combinations := orNull(schema{"type": "array", "items": schema{"type": "object", "minProperties": 1, "additionalProperties": textSchema(nil)}})
	return orNull(schema{"type": "object", "minProperties": 1,
		"properties":           schema{"include": combinations, "exclude": combinations},
		"additionalProperties": anyOf(schema{"type": "array", "minItems": 1, "items": textSchema(nil)}, expressionSchema()),
	})
}

// kindsSchema describes a block that has exactly one of the kinds as a key,
// and the keys of the struct shared beside it.
func kindsSchema(kinds map[string]any, shared reflect.Type, description string) schema {
	all := objectSchema(shared, schema{"if": anyOf(schema{"type": []any{"string", "boolean", "null"}})})
	props := all["properties"].(schema)
	both := map[string]bool{} // `user` is a kind and a shared key
	for _, name := range sortedKeys(kinds) {
		body := structSchema(reflect.TypeOf(kinds[name]).Elem(), nil)
		if old, isShared := props[name]; isShared {
			both[name] = true
			body = anyOf(body, old.(schema))
		}
		props[name] = body
	}
	var one []any
	for _, name := range sortedKeys(kinds) {
		choice := schema{"required": []any{name}}
		if both[name] {
			choice["not"] = schema{"anyOf": requiredEach(kinds, both)}
		}
		one = append(one, choice)
	}
	all["description"] = description
	if len(one) > 0 {
		all["oneOf"] = one
	}
	return all
}

func requiredEach(kinds map[string]any, except map[string]bool) []any {
	out := []any{false}
	for _, name := range sortedKeys(kinds) {
		if !except[name] {
			out = append(out, schema{"required": []any{name}})
		}
	}
	return out
}

func stepSchema(kinds map[string]any) schema {
	return kindsSchema(kinds, typeOf[stepDoc](), "one step: one kind, and what holds for any")
}

// sourceSchema lifts the keys that stand beside their kind out of it.
func sourceSchema(kinds map[string]any) schema {
	all := kindsSchema(kinds, typeOf[sourceDoc](), "what the build starts from: one kind, and what holds for any")
	props, needs := all["properties"].(schema), map[string][]any{}
	lifted := map[string][]schema{}
	for _, name := range sortedKeys(kinds) {
		t := reflect.TypeOf(kinds[name]).Elem()
		beside := map[string]bool{}
		for _, s := range specs(t) {
			if s.beside {
				beside[s.name] = true
				lifted[s.name] = append(lifted[s.name], fieldSchema(&s, nil))
				needs[s.name] = append(needs[s.name], schema{"required": []any{name}})
			}
		}
		if len(beside) > 0 {
			props[name] = structSchema(t, beside)
		}
	}
	dependencies := schema{}
	for name, besides := range needs {
		if kinds[name] == nil {
			props[name] = lifted[name][0] // it says the same beside every kind that has it
			dependencies[name] = schema{"anyOf": besides}
			continue
		}
		// `ssh` is a kind, and a key beside others.
		props[name] = anyOf(props[name].(schema), lifted[name][0])
		for _, choice := range all["oneOf"].([]any) {
			if choice := choice.(schema); slices.Contains(choice["required"].([]any), any(name)) {
				choice["not"] = schema{"anyOf": besides}
			}
		}
	}
	if len(dependencies) > 0 {
		all["dependencies"] = dependencies
	}
	return all
}

// objectSchema describes the mapping form of a struct. blocks describes its
// fields of type Block.
func objectSchema(t reflect.Type, blocks schema) schema {
	props, required := schema{}, []any{}
	for _, s := range specs(t) {
		props[s.name] = fieldSchema(&s, blocks)
		if s.required {
			required = append(required, s.name)
		}
	}
	out := schema{"type": "object", "properties": props, "additionalProperties": false}
	if len(required) > 0 {
		out["required"] = required
	}
	return out
}

func fieldSchema(s *fieldSpec, blocks schema) schema {
	var out schema
	if given, ok := blocks[s.name].(schema); ok && s.typ == blockType {
		out = maps.Clone(given)
	} else {
		out = typeSchema(s.typ, s)
		if !s.required {
			out = orNull(out)
		}
	}
	if s.doc() != "" {
		out["description"] = s.doc()
	}
	if text, is := s.tag.Lookup("default"); is {
		out["default"] = parsePlain(text).data()
	}
	return out
}

// structSchema describes a struct in all its forms, without the fields in except.
func structSchema(t reflect.Type, except map[string]bool) schema {
	object := objectSchema(t, nil)
	for name := range except {
		delete(object["properties"].(schema), name)
		if required, ok := object["required"].([]any); ok {
			object["required"] = slices.DeleteFunc(slices.Clone(required), func(r any) bool { return r == name })
		}
	}
	forms := []any{object}
	all := specs(t)
	if main := mainField(all); main != nil {
		short := typeSchema(main.typ, main)
		if main.typ == blockType { // anything but the long form
			short = schema{"type": []any{"string", "number", "boolean", "array"}}
		}
		forms = append(forms, short)
		// The short form has no room for other required keys.
		if required, _ := object["required"].([]any); slices.ContainsFunc(required, func(r any) bool { return r != main.name }) {
			forms = forms[:1]
		}
	}
	if required, _ := object["required"].([]any); len(required) == 0 {
		forms = append(forms, schema{"type": "null"})
	}
	return anyOf(append(forms, expressionSchema())...)
}

func typeSchema(t reflect.Type, s *fieldSpec) schema {
	switch t {
	case blockType:
		return schema{}
	case durationType:
		return durationSchema()
	case sizeType:
		return anyOf(schema{"type": "integer", "minimum": 0}, schema{"type": "string", "pattern": `^[0-9.]+ *([kKMGT]?B|[KMGT]iB)?$`}, expressionSchema())
	case modeType:
		return anyOf(schema{"type": "integer", "minimum": 0}, schema{"type": "string", "pattern": "^(0o)?[0-7]+$"}, expressionSchema())
	case stringsType:
		return anyOf(textSchema(s), schema{"type": "array", "items": textSchema(s)})
	}
	if describer, is := reflect.New(t).Interface().(interface{ JSONSchema() map[string]any }); is {
		return maps.Clone(describer.JSONSchema())
	}
	if reflect.PointerTo(t).Implements(unmarshalerType) {
		return schema{}
	}
	switch t.Kind() {
	case reflect.Pointer:
		return typeSchema(t.Elem(), s)
	case reflect.String:
		return textSchema(s)
	case reflect.Bool:
		return anyOf(schema{"type": "boolean"}, expressionSchema())
	case reflect.Float32, reflect.Float64:
		return anyOf(bounded("number", s), expressionSchema())
	case reflect.Slice:
		return anyOf(schema{"type": "array", "items": typeSchema(t.Elem(), s)}, expressionSchema())
	case reflect.Map:
		return anyOf(schema{"type": "object", "additionalProperties": orNull(typeSchema(t.Elem(), s))}, expressionSchema())
	case reflect.Struct:
		return structSchema(t, nil)
	case reflect.Interface:
		return schema{}
	}
	return anyOf(bounded("integer", s), expressionSchema())
}

// expressionSchema matches a text with an expression: its value is not known here.
func expressionSchema() schema { return schema{"type": "string", "pattern": `\$\{\{`} }

func durationSchema() schema {
	return anyOf(schema{"type": "string", "pattern": `^(([0-9]+\.?[0-9]*|\.[0-9]+)(ns|us|µs|ms|s|m|h))+$|^[0-9]+d$|^0$`},
		schema{"const": 0}, expressionSchema())
}

// textSchema describes a string. Numbers and truth values are taken as text.
func textSchema(s *fieldSpec) schema {
	switch {
	case s != nil && len(s.enum()) > 0:
		values := make([]any, len(s.enum()))
		for i, v := range s.enum() {
			values[i] = v
		}
		return anyOf(schema{"enum": values}, expressionSchema())
	case s != nil && s.pattern() != "":
		return anyOf(schema{"type": []any{"string", "number", "boolean"}, "pattern": s.pattern()}, expressionSchema())
	}
	return schema{"type": []any{"string", "number", "boolean"}}
}

func bounded(kind string, s *fieldSpec) schema {
	out := schema{"type": kind}
	if s == nil {
		return out
	}
	if n, err := strconv.ParseFloat(s.min(), 64); err == nil {
		out["minimum"] = n
	}
	if n, err := strconv.ParseFloat(s.max(), 64); err == nil {
		out["maximum"] = n
	}
	return out
}

func refTo(name string) schema { return schema{"$ref": "#/definitions/" + name} }

func orNull(s schema) schema {
	if len(s) == 0 {
		return s
	}
	if list, is := s["anyOf"].([]any); is && len(s) == 1 {
		if slices.ContainsFunc(list, isNullSchema) {
			return s
		}
		return anyOf(append(slices.Clone(list), schema{"type": "null"})...)
	}
	return anyOf(s, schema{"type": "null"})
}

func isNullSchema(s any) bool { m, is := s.(schema); return is && m["type"] == "null" }

func anyOf(forms ...any) schema {
	var flat []any
	for _, f := range forms {
		if m, is := f.(schema); is && len(m) == 1 {
			if inner, is := m["anyOf"].([]any); is {
				flat = append(flat, inner...)
				continue
			}
		}
		flat = append(flat, f)
	}
	return schema{"anyOf": flat}
}
