package api

import (
	"encoding"
	"encoding/json"
	"reflect"
	"strings"

	"github.com/carecircle/carecircle/circle/coin"
	"github.com/carecircle/carecircle/circle/machine"
)

// object is a piece of an OpenAPI document.
type object = map[string]any

// Describe returns the OpenAPI 3.1 document of a machine: one operation a command, one a view.
func Describe(m *machine.Machine, title, version string) any {
	paths := object{}
	for _, r := range m.Rules() {
		paths["/api/v1/do/"+r.Kind] = object{"post": object{
			"operationId": strings.ReplaceAll(r.Kind, ".", "_"), "summary": r.Doc,
			"description": "Who: " + r.Policy.Name + ".", "tags": []string{feature(r.Kind)},
			"requestBody": object{"required": true, "content": jsonContent(object{
				"type": "object", "additionalProperties": false, "properties": object{
					"id": object{
						"type": "string", "format": "uuid",
						"description": "repeat it to repeat the request",
					},
					"onBehalfOf": object{"type": "string", "description": "the person acted for"},
					"body":       schema(r.Body),
				},
			})},
			"responses": responses(answer(r.Result)),
		}}
	}
	for _, v := range m.Views() {
		paths["/api/v1/view/"+v.Name] = object{"get": object{
			"operationId": strings.ReplaceAll(v.Name, ".", "_"), "summary": v.Doc,
			"description": "Who: " + v.Policy.Name + ".", "tags": []string{feature(v.Name)},
			"parameters": parameters(v.Query), "responses": responses(schema(v.Answer)),
		}}
	}
	paths["/api/v1/bulk"] = object{"post": object{
		"operationId": "bulk", "summary": "Many transfers as one coin.import.",
		"description": "Who: as coin.import.", "tags": []string{"coin"},
		"requestBody": object{"required": true, "content": jsonContent(schema(reflect.TypeFor[Bulk]()))},
		"responses":   responses(answer(reflect.TypeFor[coin.Imported]())),
	}}
	return object{
		"openapi": "3.1.0", "info": object{"title": title, "version": version}, "paths": paths,
		"components": object{
			"schemas": object{"Error": object{
				"type": "object", "required": []string{"code", "message"}, "properties": object{
					"code": object{"type": "string"}, "message": object{"type": "string"},
					"because": object{"type": "string", "description": "the decision behind the rule"},
				},
			}},
			"securitySchemes": object{"bearer": object{"type": "http", "scheme": "bearer"}},
		},
		"security": []object{{"bearer": []string{}}},
	}
}

// answer is the schema of Answer with a result of some type.
func answer(result reflect.Type) object {
	return object{
		"type": "object", "required": []string{"id", "position", "result"}, "properties": object{
			"id": object{"type": "string"}, "position": object{"type": "integer"},
			"repeated": object{"type": "boolean"}, "result": schema(result),
		},
	}
}

func feature(name string) string {
	f, _, _ := strings.Cut(name, ".")
	return f
}

func jsonContent(s any) object { return object{"application/json": object{"schema": s}} }

func responses(s any) object {
	return object{
		"200": object{"description": "done", "content": jsonContent(s)},
		"default": object{
			"description": "refused",
			"content":     jsonContent(object{"$ref": "#/components/schemas/Error"}),
		},
	}
}

func parameters(query reflect.Type) []object {
	out := []object{}
	for i := range query.NumField() {
		f := query.Field(i)
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if name == "" || name == "-" {
			continue
		}
		out = append(out, object{
			"name": name, "in": "query", "schema": schema(f.Type),
			"description": f.Tag.Get("doc"),
		})
	}
	return out
}

var (
	textType = reflect.TypeFor[encoding.TextMarshaler]()
	jsonType = reflect.TypeFor[json.Marshaler]()

	transfersType = reflect.TypeFor[coin.Transfers]()
)

// schema is the JSON Schema of a Go type, as encoding/json writes it.
func schema(t reflect.Type) object {
	if t.Kind() == reflect.Pointer {
		return schema(t.Elem())
	}
	if t == transfersType {
		return object{"type": "array", "items": object{
			"type": "array", "minItems": 3, "maxItems": 4,
			"prefixItems": []object{
				{"type": "string"}, {"type": "string"}, {"type": "integer"}, {"type": "integer"},
			},
		}}
	}
	if t.Implements(textType) || t.Implements(jsonType) {
		return object{"type": "string"}
	}
	switch t.Kind() {
	case reflect.Bool:
		return object{"type": "boolean"}
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64, reflect.Uint, reflect.Uint8,
		reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return object{"type": "integer"}
	case reflect.String:
		return object{"type": "string"}
	case reflect.Slice, reflect.Array:
		if t.Elem().Kind() == reflect.Uint8 && t.Kind() == reflect.Slice {
			return object{"type": "string", "contentEncoding": "base64"}
		}
		return object{"type": "array", "items": schema(t.Elem())}
	case reflect.Struct:
		properties := object{}
		addFields(t, properties)
		return object{"type": "object", "properties": properties}
	default:
		return object{}
	}
}

func addFields(t reflect.Type, properties object) {
	for i := range t.NumField() {
		f := t.Field(i)
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch {
		case name == "-" || !f.IsExported():
		case f.Anonymous && name == "":
			addFields(f.Type, properties)
		case name != "":
			s := schema(f.Type)
			if doc := f.Tag.Get("doc"); doc != "" {
				s["description"] = doc
			}
			properties[name] = s
		}
	}
}
