package vk

import (
	"reflect"
	"testing"
)

func TestParseReport(t *testing.T) {
	good := "executable 32 main\nstatistic 12 Registers used\nstatistic 0.5 Share\ncode 11 Assembly\nadd\nstatistcode 0 Empty\n"
	r, err := parseReport([]byte(good))
	want := Report{Subgroup: 32, Statistics: map[string]float64{"Registers used": 12, "Share": 0.5}, Code: []Code{{"Assembly", "add\nstatist"}, {"Empty", ""}}}
	if err != nil || !reflect.DeepEqual(r, want) {
		t.Errorf("%+v, %v; want %+v", r, err, want)
	}
	for what, text := range map[string]string{
		"nothing": "", "no executable": "code 1 Assembly\nx", "a line cut": "executable 32", "no number": "executable x main\n",
		"code cut": "executable 1 main\ncode 5 Assembly\nadd", "another line": "executable 1 main\nother 1 x\n",
	} {
		if _, err := parseReport([]byte(text)); err == nil {
			t.Errorf("%s: %v", what, err)
		}
	}
}
