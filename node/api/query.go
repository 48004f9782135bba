package api

import (
	"encoding"
	"net/url"
	"reflect"
	"strconv"
	"strings"

	"github.com/carecircle/carecircle/circle/machine"
)

// SetQuery fills a view's query struct from URL parameters named like its JSON fields.
func SetQuery(q any, values url.Values) error {
	v := reflect.ValueOf(q).Elem()
	for name, texts := range values {
		field, ok := fieldByJSON(v, name)
		if !ok {
			return machine.Refuse("bad_query", "This view has no parameter %.40q.", name)
		}
		if len(texts) != 1 {
			return machine.Refuse("bad_query", "Give the parameter %q once.", name)
		}
		if err := setField(field, texts[0]); err != nil {
			return machine.Refuse("bad_query", "The parameter %q cannot be %.60q.", name, texts[0])
		}
	}
	return nil
}

func fieldByJSON(v reflect.Value, name string) (reflect.Value, bool) {
	for i := range v.NumField() {
		tag, _, _ := strings.Cut(v.Type().Field(i).Tag.Get("json"), ",")
		if tag == name {
			return v.Field(i), true
		}
	}
	return reflect.Value{}, false
}

func setField(field reflect.Value, text string) error {
	if u, ok := field.Addr().Interface().(encoding.TextUnmarshaler); ok {
		return u.UnmarshalText([]byte(text))
	}
	switch field.Kind() {
	case reflect.String:
		field.SetString(text)
	case reflect.Bool:
		b, err := strconv.ParseBool(text)
		field.SetBool(b)
		return err
	case reflect.Int, reflect.Int32, reflect.Int64:
		n, err := strconv.ParseInt(text, 10, 64)
		field.SetInt(n)
		return err
	case reflect.Uint32, reflect.Uint64:
		n, err := strconv.ParseUint(text, 10, 64)
		field.SetUint(n)
		return err
	default:
		return machine.Refuse("bad_query", "not settable")
	}
	return nil
}
