package corpus

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/vkcome/vkcome/model/chat"
	"github.com/vkcome/vkcome/model/embedded"
)

// TestConversations: rows of messages become the template's text, whose special tokens count; what holds no messages is refused.
func TestConversations(t *testing.T) {
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
	template, err := chat.New("{% for m in messages %}{{ m.role }}: {{ m.content if m.content is string else m.content[0].text }}"+end+"{% endfor %}", nil)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	load := func(file, text string, o Options) (*Corpus, error) {
		path := filepath.Join(dir, file)
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		o.Sources, o.Window = []string{path}, 2
		return Load(t.Context(), tok, o)
	}
	rows := `{"id": 1, "messages": [{"role": "user", "content": "one two"}, {"role": "assistant", "content": "three"}]}
{"messages": null}
{"messages": [{"role": "user", "content": [{"type": "text", "text": "four"}]}]}
`
	c, err := load("a.jsonl", rows, Options{Chat: template})
	if err != nil {
		t.Fatal(err)
	}
	var want []uint32
	for _, text := range []string{"user: one two" + end + "assistant: three" + end, "user: four" + end} {
		for _, id := range must(tok.EncodeSpecial(text)) {
			want = append(want, uint32(id))
		}
	}
	var got []uint32
	for _, w := range c.Windows {
		got = append(got, w...)
	}
	if !reflect.DeepEqual(got, want[:len(want)/2*2]) || c.Nulls != 1 {
		t.Errorf("%v, expected %v; %d null rows", got, want, c.Nulls)
	}
	for text, want := range map[string]string{
		`{"text": "x"}`:                    `no field "messages"`,
		`{"messages": "x"}`:                "expected a list of messages",
		`{"messages": [1]}`:                "expected a list of messages",
		`{"messages": []}`:                 "expected a list of messages",
		`{"messages": [{"role": "user"}]}`: "content is undefined",
		`{"messages": {"role": ["a", "b"], "content": ["c"]}}`: "nulls within messages",
	} {
		if _, err := load("b.jsonl", text, Options{Chat: template}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, expected %q", text, err, want)
		}
	}
	if _, err := load("c.txt", "text", Options{Chat: template}); err == nil || !strings.Contains(err.Error(), "rows of JSON or Parquet") {
		t.Error(err)
	}
	if _, err := Load(t.Context(), tok, Options{Sources: []string{"wiki2"}, Chat: template}); err == nil || !strings.Contains(err.Error(), "holds no conversations") {
		t.Error(err)
	}

	// Parquet has a record of lists.
	messages, err := messagesOf(Record{{"role", []any{"user", "assistant"}}, {"content", []any{"a", "b"}}})
	if err != nil || len(messages) != 2 {
		t.Fatalf("%v, %v", messages, err)
	}
	if text, err := template.Render(messages, chat.Options{}); err != nil || text != "user: a"+end+"assistant: b"+end {
		t.Errorf("%q, %v", text, err)
	}

	// Special tokens of plain texts count where that is asked for.
	count := func(o Options) int {
		c, err := load("d.txt", "a"+end+"b"+end+"c d e f", o)
		if err != nil {
			t.Fatal(err)
		}
		return c.Tokens
	}
	if plain, special := count(Options{}), count(Options{Special: true}); special >= plain {
		t.Errorf("%d tokens with special ones, %d without", special, plain)
	}
}
