package method

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"

	"github.com/vkcome/vkcome/model/files"
)

// FromJSON is a method by its name, with the options of an object of JSON, whose keys are those of a lineage. Keys that mean nothing to the
// method are refused. Without JSON the options are the defaults.
func FromJSON(name string, raw []byte) (Method, error) {
	e, err := Lookup(name)
	if err != nil || len(raw) == 0 {
		if err == nil {
			return e.New(Options{}), nil
		}
		return nil, err
	}
	defaults := reflect.ValueOf(e.New(Options{}))
	into := reflect.New(defaults.Type())
	into.Elem().Set(defaults)
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	if err := d.Decode(into.Interface()); err != nil {
		return nil, fmt.Errorf("options of %s: %w", name, files.Plain(err))
	}
	m := into.Elem().Interface().(Method)
	if m.Name() != name { // one of its options makes another method of it
		return nil, fmt.Errorf("options of %s: they make it %s", name, m.Name())
	}
	return m, nil
}
