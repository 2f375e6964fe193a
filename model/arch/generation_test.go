package arch

import (
	"reflect"
	"testing"
)

func TestParseGeneration(t *testing.T) {
	for _, c := range []struct {
		text string
		of   bool
		want Generation
	}{
		{`{}`, false, Generation{File: GenerationFile, RepetitionPenalty: 1}},
		{`{"eos_token_id": [5, -1, 7], "bos_token_id": 0, "do_sample": true, "temperature": 0.6, "num_beams": 1, "_from_model_config": true, "transformers_version": "4.1"}`, false,
			Generation{File: GenerationFile, BOS: []int{0}, EOS: []int{5, 7}, RepetitionPenalty: 1}},
		{`{"repetition_penalty": 1.05, "no_repeat_ngram_size": 3, "min_length": 4, "min_new_tokens": 5, "suppress_tokens": [1, 2], "begin_suppress_tokens": [3], "forced_eos_token_id": null,
			"encoder_repetition_penalty": 1.0}`, false,
			Generation{File: GenerationFile, RepetitionPenalty: 1.05, NoRepeatNGram: 3, MinLength: 4, MinNewTokens: 5, Suppress: []int{1, 2}, BeginSuppress: []int{3}}},
		{`{"hidden_size": 8, "eos_token_id": 2, "repetition_penalty": 2}`, true, Generation{File: ConfigFile, EOS: []int{2}, RepetitionPenalty: 2}},
	} {
		got, err := ParseGeneration("x", []byte(c.text), c.of)
		if err != nil || !reflect.DeepEqual(*got, c.want) {
			t.Errorf("%s: %+v, %v, want %+v", c.text, got, err, c.want)
		}
	}
	for text, want := range map[string]string{
		`{"num_beams": 4}`:          "model: x: num_beams 4: not supported, and it would change which tokens are chosen: remove it to do without",
		`{"bad_words_ids": [[1]]}`:  "model: x: bad_words_ids [[1]]: not supported, and it would change which tokens are chosen: remove it to do without",
		`{"a_new_penalty": 4}`:      "model: x: a_new_penalty 4: an unknown key, which may change which tokens are chosen: remove it if it does not",
		`{"repetition_penalty": 0}`: "model: x: repetition_penalty 0, expected more than 0",
		`{"min_new_tokens": -1}`:    "model: x: min_new_tokens -1, expected 0 to 1073741824",
		`{"eos_token_id": "</s>"}`:  `model: x: eos_token_id "</s>": json: cannot unmarshal string into Go value of type int`,
		`[1]`:                       "model: x: json: cannot unmarshal array into Go value of type map[string]json.RawMessage",
	} {
		if _, err := ParseGeneration("x", []byte(text), false); err == nil || err.Error() != want {
			t.Errorf("%s: %v, want %s", text, err, want)
		}
	}
}
