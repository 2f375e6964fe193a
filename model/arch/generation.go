package arch

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"

	"github.com/vkcome/vkcome/model/internal/lfs"
)

// GenerationFile is the name of a model's defaults for generation in its folder. A model without it has them in config.json.
const GenerationFile = "generation_config.json"

// Generation is what a model's files say of the choice of tokens, where that does not depend on sampling: temperature, top_k and their like
// are the caller's. The zero value of a number says that nothing of that kind happens.
type Generation struct {
	File              string  // that said so
	BOS, EOS          []int   // token ids; EOS ends a text
	RepetitionPenalty float64 // that logits of tokens which are there already are divided by, negative ones multiplied; 1: nothing
	NoRepeatNGram     int     // no sequence of so many tokens occurs twice
	MinLength         int     // tokens, prompt included, before which no EOS is chosen
	MinNewTokens      int     // the same without the prompt
	Suppress          []int   // token ids that are never chosen
	BeginSuppress     []int   // token ids that are not chosen first
}

// generationKeys are the keys of generation_config.json, with the value at which one that is not read changes nothing; "" stands for every
// value. Sources: GenerationConfig of transformers 5.24 and what its generate makes of it.
var generationKeys = func() map[string]string {
	keys := map[string]string{
		"bad_words_ids": "null", "constraints": "null", "diversity_penalty": "0", "dola_layers": "null", "encoder_no_repeat_ngram_size": "0",
		"encoder_repetition_penalty": "1", "exponential_decay_length_penalty": "null", "force_words_ids": "null", "forced_bos_token_id": "null",
		"forced_eos_token_id": "null", "guidance_scale": "1", "num_beam_groups": "1", "num_beams": "1", "penalty_alpha": "0", "sequence_bias": "null",
		"stop_strings": "null", "token_healing": "false", "watermarking_config": "null",
	}
	for k := range words(`begin_suppress_tokens min_length min_new_tokens no_repeat_ngram_size repetition_penalty suppress_tokens
		assistant_confidence_threshold assistant_early_exit assistant_ensemble_weight assistant_lookbehind cache_config cache_implementation
		chat_format compile_config continuous_batching_config decoder_start_token_id disable_compile do_sample early_stopping epsilon_cutoff eta_cutoff generation_mode
		is_assistant length_penalty low_memory max_cache_len max_context_size max_length max_matching_ngram_size max_new_tokens max_time max_window_size
		min_p num_assistant_tokens num_assistant_tokens_schedule num_return_sequences output_attentions output_hidden_states output_logits output_scores
		pad_token_id prefill_chunk_size prompt_lookup_num_tokens remove_invalid_values renormalize_logits return_dict_in_generate speculation_type
		target_lookbehind temperature top_h top_k top_p transformers_version trust_remote_code typical_p use_cache use_mtp`) {
		keys[k] = ""
	}
	return keys
}()

// ParseGeneration reads a generation_config.json, or the same keys of a config.json; name stands for it in messages. What would change the
// choice of tokens and is not supported, or not known, is an error; of a config.json only what is not supported, since it has other keys.
func ParseGeneration(name string, raw []byte, ofConfig bool) (*Generation, error) {
	g, err := parseGeneration(raw, ofConfig)
	if err != nil {
		return nil, fmt.Errorf("model: %s: %w", name, err)
	}
	return g, nil
}

func parseGeneration(raw []byte, ofConfig bool) (*Generation, error) {
	f := Fields{}
	if err := f.parse(raw); err != nil {
		return nil, err
	}
	g := &Generation{File: GenerationFile, BOS: f.ids("bos_token_id"), EOS: f.ids("eos_token_id")}
	if ofConfig {
		g.File = ConfigFile
	}
	if g.RepetitionPenalty = f.number("repetition_penalty", 1); !(g.RepetitionPenalty > 0 && g.RepetitionPenalty <= 1e9) {
		f.fail("repetition_penalty %v, expected more than 0", g.RepetitionPenalty)
	}
	for key, n := range map[string]*int{"no_repeat_ngram_size": &g.NoRepeatNGram, "min_length": &g.MinLength, "min_new_tokens": &g.MinNewTokens} {
		if f.get(key, n); *n < 0 || *n > 1<<30 {
			f.fail("%s %d, expected 0 to %d", key, *n, 1<<30)
		}
	}
	g.Suppress, g.BeginSuppress = f.ids("suppress_tokens"), f.ids("begin_suppress_tokens")
	for _, key := range slices.Sorted(maps.Keys(f.values)) {
		neutral, known := generationKeys[key]
		value := string(f.values[key])
		switch {
		case f.read[key] || !f.has(key) || known && (neutral == "" || sameNumber(value, neutral)):
		case known:
			f.fail("%s %s: not supported, and it would change which tokens are chosen: remove it to do without", key, clip(value))
		case !ofConfig && key[:min(1, len(key))] != "_":
			f.fail("%s %s: an unknown key, which may change which tokens are chosen: remove it if it does not", clip(key), clip(value))
		}
	}
	return g, f.err
}

// sameNumber compares values of JSON, 1 and 1.0 being one.
func sameNumber(a, b string) bool {
	x, err := strconv.ParseFloat(a, 64)
	y, err2 := strconv.ParseFloat(b, 64)
	return a == b || err == nil && err2 == nil && x == y
}

// parse decodes the object that a file holds.
func (f *Fields) parse(raw []byte) error {
	if len(raw) > MaxConfig {
		return fmt.Errorf("larger than %d bytes", MaxConfig)
	}
	if err := lfs.Check(raw); err != nil {
		return err
	}
	return json.Unmarshal(raw, &f.values)
}
