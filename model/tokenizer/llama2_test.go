//go:build llama2

package tokenizer

import (
	"flag"
	"slices"
	"testing"
)

// Llama 2's tokenizer.model is a third party's and not in the repository: go test -tags llama2 ./model/tokenizer -llama2 FILE
var llama2File = flag.String("llama2", "", "Llama 2's tokenizer.model")

func llama2(t testing.TB) Tokenizer {
	t.Helper()
	tok, err := Parse(Files{Model: read(t, *llama2File), Config: []byte(`{"add_bos_token": true}`)})
	if err != nil {
		t.Fatal(err)
	}
	return tok
}

func TestGoldenLlama2(t *testing.T) { check(t, llama2(t), golden(t).Llama2) }

func TestLlama2(t *testing.T) {
	tok := llama2(t)
	bos, _ := tok.BOS()
	eos, _ := tok.EOS()
	if bos != 1 || eos != 2 || !tok.AddBOS() || tok.VocabSize() != 32000 {
		t.Errorf("BOS %d, EOS %d, add %v, size %d", bos, eos, tok.AddBOS(), tok.VocabSize())
	}
	if got := must(tok.EncodeSpecial("<s>Hello</s>")); !slices.Equal(got, []int{1, 15043, 2}) {
		t.Errorf("special tokens: %v", got)
	}
}
