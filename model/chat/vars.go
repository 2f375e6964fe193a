package chat

import (
	"errors"

	"github.com/vkcome/vkcome/model/chat/jinja"
)

// ParseVars reads variables of a template, an object of JSON.
func ParseVars(raw []byte) (map[string]any, error) {
	v, err := jinja.ParseJSON(raw)
	object, ok := v.(*jinja.Dict)
	if err != nil || !ok {
		return nil, errors.New(`expected JSON such as {"enable_thinking":false}`)
	}
	vars := map[string]any{}
	object.Each(func(name string, v any) bool {
		vars[name] = v
		return true
	})
	return vars, nil
}
