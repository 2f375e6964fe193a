package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/vkcome/vkcome/model/embedded"
)

// chatTurn is what a turn prints as JSON.
type chatTurn struct {
	Prompt string   `json:"prompt"`
	Tokens []uint32 `json:"prompt_tokens"`
	New    []uint32 `json:"new_tokens"`
	Text   string   `json:"text"`
}

// TestChat: lines are answered in turn, each with those before it in mind, as if the conversation were a prompt of its own.
func TestChat(t *testing.T) {
	template := filepath.Join(t.TempDir(), "t.jinja")
	if err := os.WriteFile(template, []byte("{{ bos_token }}{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}{{ tail }}{% if add_generation_prompt %}assistant:{% endif %}"), 0o644); err != nil {
		t.Fatal(err)
	}
	chat := []string{"generate", embedded.Name, "--chat", "--chat-template", template, "--system", "Be brief.", "--chat-vars", `{"tail": "~"}`, "-n", "6", "--json", "-q"}
	cmd := command(t.Context(), chat...)
	cmd.Stdin = strings.NewReader("The film\n\nAnd the end\n")
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	var turns []chatTurn
	for dec := json.NewDecoder(bytes.NewReader(out)); dec.More(); {
		var turn chatTurn
		if err := dec.Decode(&turn); err != nil {
			t.Fatal(err)
		}
		turns = append(turns, turn)
	}
	const system = "system: Be brief.\nuser: The film\n"
	if len(turns) != 2 || !strings.HasSuffix(turns[0].Prompt, system+"~assistant:") || !strings.HasSuffix(turns[1].Prompt, system+"assistant: "+turns[0].Text+"\nuser: And the end\n~assistant:") {
		t.Fatalf("%+v", turns)
	}
	for _, turn := range turns {
		var alone chatTurn
		parseJSON(t, vkcome(t, "generate", embedded.Name, "--prompt", turn.Prompt, "-n", "6", "--json", "-q"), &alone)
		if !reflect.DeepEqual(alone.Tokens, turn.Tokens) || !reflect.DeepEqual(alone.New, turn.New) {
			t.Errorf("in the chat %v %v, alone %v %v", turn.Tokens, turn.New, alone.Tokens, alone.New)
		}
	}
	var one chatTurn
	parseJSON(t, vkcome(t, append(chat, "--prompt", "The film")...), &one)
	if !reflect.DeepEqual(one, turns[0]) {
		t.Errorf("%+v, as the first line %+v", one, turns[0])
	}
	if text := string(vkcome(t, append(chat[:len(chat)-2:len(chat)-2], "-q", "--prompt", "The film")...)); text != one.Text+"\n" {
		t.Errorf("%q, as JSON %q", text, one.Text)
	}

	// Special tokens in a prompt count, and are text with --raw.
	m, err := embedded.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	tok, err := m.Tokenizer()
	if err != nil {
		t.Fatal(err)
	}
	eos, _ := tok.EOS()
	end, _ := tok.Token(eos)
	var special, raw chatTurn
	parseJSON(t, vkcome(t, "generate", embedded.Name, "--prompt", "a"+end+"b", "-n", "1", "--json", "-q"), &special)
	parseJSON(t, vkcome(t, "generate", embedded.Name, "--prompt", "a"+end+"b", "-n", "1", "--json", "-q", "--raw"), &raw)
	if len(special.Tokens) >= len(raw.Tokens) {
		t.Errorf("%v, raw %v", special.Tokens, raw.Tokens)
	}

	refusing := filepath.Join(t.TempDir(), "r.jinja")
	if err := os.WriteFile(refusing, []byte("{{ raise_exception('not today') }}"), 0o644); err != nil {
		t.Fatal(err)
	}
	for want, args := range map[string][]string{
		"no chat template":                 {"--chat", "-p", "x"},
		"not today":                        {"--chat", "-p", "x", "--chat-template", refusing},
		"no such file":                     {"--chat", "-p", "x", "--chat-template", "missing.jinja"},
		"--chat-vars: expected JSON":       {"--chat", "-p", "x", "--chat-template", template, "--chat-vars", "[]"},
		"--raw has no meaning with --chat": {"--chat", "--raw"},
		"--system has no meaning without":  {"--system", "x"},
	} {
		_, stderr, code := try(t, append([]string{"generate", embedded.Name, "-n", "1", "-q"}, args...)...)
		if code == 0 || !strings.Contains(stderr, want) {
			t.Errorf("%v: exit %d: %s, expected %q", args, code, stderr, want)
		}
	}
}
