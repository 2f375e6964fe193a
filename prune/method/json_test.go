package method

import (
	"reflect"
	"strings"
	"testing"
)

// TestFromJSON makes each method without options and with its own as a lineage has them, and refuses what is not its own.
func TestFromJSON(t *testing.T) {
	for _, e := range Registry {
		for _, raw := range []string{"", "{}"} {
			m, err := FromJSON(e.Name, []byte(raw))
			if err != nil || !reflect.DeepEqual(m, e.New(Options{})) {
				t.Errorf("%s with %q: %+v, %v", e.Name, raw, m, err)
			}
		}
		if _, err := FromJSON(e.Name, []byte(`{"granulation": 3}`)); err == nil || !strings.Contains(err.Error(), `unknown key "granulation"`) {
			t.Errorf("%s: %v", e.Name, err)
		}
	}
	if m, err := FromJSON("come", []byte(`{"psu": 2, "repeat": true}`)); err != nil || !reflect.DeepEqual(m, CoMe{RatioPower: 2, Repeat: true}) {
		t.Errorf("%+v, %v", m, err)
	}
	for name, raw := range map[string]string{"come": `{"psu": "2"}`, "comet": "", "magnitude": `{"plus": true}`, "reverse": `{"psu": 2}`} {
		if m, err := FromJSON(name, []byte(raw)); err == nil {
			t.Errorf("%s with %s: %+v", name, raw, m)
		}
	}
}
