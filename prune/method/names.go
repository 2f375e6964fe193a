package method

import (
	"reflect"
	"strings"
)

// OptionNames gives the Go names of a method's options, as in method.CoMe.RatioPower, by their keys in JSON.
func OptionNames(m Method) map[string]string {
	names, of := map[string]string{}, reflect.TypeOf(m)
	for _, field := range reflect.VisibleFields(of) {
		key, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		if key == "" {
			continue
		}
		owner := of
		for _, i := range field.Index[:len(field.Index)-1] {
			owner = owner.Field(i).Type
		}
		names[key] = owner.String() + "." + field.Name
	}
	return names
}
