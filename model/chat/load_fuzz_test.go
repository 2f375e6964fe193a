package chat

import (
	"strings"
	"testing"
	"testing/fstest"
)

// FuzzTemplates reads the files that a chat template may be in.
func FuzzTemplates(f *testing.F) {
	f.Add([]byte(`{"chat_template":"{{ messages }}"}`), []byte(`{"chat_template":"x"}`))
	f.Add([]byte(`{"chat_template":[{"name":"default","template":"{{ bos_token }}"},{"name":"rag","template":"x"}],"bos_token":"<s>"}`), []byte(nil))
	f.Add([]byte(`{"chat_template":[null]}`), []byte(`{"chat_template":null}`))
	f.Fuzz(func(t *testing.T, config, older []byte) {
		templates, err := Load(fstest.MapFS{configFile: {Data: config}, olderFile: {Data: older}})
		if err != nil {
			if strings.Contains(err.Error(), "\n") {
				t.Errorf("an error of several lines: %q", err)
			}
			return
		}
		for _, name := range []string{"", defaultName, "\x1b[31m"} {
			source, err := templates.Source(name, false)
			if err == nil {
				_, err = New(source, nil)
			}
			if err != nil && strings.Contains(err.Error(), "\n") {
				t.Errorf("an error of several lines: %q", err)
			}
		}
	})
}
