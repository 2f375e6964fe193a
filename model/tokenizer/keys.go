package tokenizer

import (
	"encoding/json"
	"fmt"
	"strings"
)

// use is what becomes of a key of a file.
type use int

const (
	used    use = iota + 1 // read by this package
	copied                 // of no effect on ids or text: it goes into the new model's folder as it is
	refused                // it would change ids or text, and nothing here knows how
)

// keys is a table of what becomes of each key of a file.
type keys map[string]use

// check refuses a key that is not known, or known to be refused. Null and empty values say nothing and pass.
func (k keys) check(where, name string, value json.RawMessage) error {
	switch use := k[name]; {
	case use == used || use == copied:
		return nil
	case saysNothing(value):
		return nil
	case use == refused:
		return fmt.Errorf("%s: %s is not supported", where, name)
	}
	return fmt.Errorf("%s: key %q is not known", where, short(name))
}

func saysNothing(value json.RawMessage) bool {
	switch string(value) {
	case "", "null", "false", `""`, "[]", "{}":
		return true
	}
	return false
}

// fileKeys are the keys of tokenizer.json. Truncation and padding are for batches; of the latter, the pad token counts.
var fileKeys = keys{
	"version": copied, "truncation": copied, "padding": used, "added_tokens": used, "normalizer": used, "pre_tokenizer": used,
	"post_processor": used, "decoder": used, "model": used,
}

var modelKeys = keys{
	"type": used, "vocab": used, "merges": used, "unk_token": used, "fuse_unk": used, "byte_fallback": used, "ignore_merges": used,
	"dropout": used, "continuing_subword_prefix": used, "end_of_word_suffix": used, // these three: refused by value
}

// componentKeys are the types of components, with the keys that each may have. Those that move offsets only, and what the
// decoder of ByteLevel overlooks, are among them.
var componentKeys = map[string]map[string]string{
	"normalizer": {
		"Sequence": " normalizers ", "NFC": "", "NFD": "", "NFKC": "", "NFKD": "", "Lowercase": "",
		"Prepend": " prepend ", "Replace": " pattern content ", "Strip": " strip_left strip_right ",
	},
	"pre_tokenizer": {
		"Sequence": " pretokenizers ", "ByteLevel": " add_prefix_space trim_offsets use_regex ", "Split": " pattern behavior invert ",
		"Digits": " individual_digits ", "Punctuation": " behavior ", "Metaspace": " replacement str_rep add_prefix_space prepend_scheme split ",
		"Whitespace": "", "WhitespaceSplit": "", "CharDelimiterSplit": " delimiter ",
	},
	"post_processor": {
		"Sequence": " processors ", "ByteLevel": " add_prefix_space trim_offsets use_regex ", "TemplateProcessing": " single pair special_tokens ",
		"RobertaProcessing": " sep cls trim_offsets add_prefix_space ", "BertProcessing": " sep cls ",
	},
	"decoder": {
		"Sequence": " decoders ", "ByteLevel": " add_prefix_space trim_offsets use_regex ", "ByteFallback": "", "Fuse": "",
		"Replace": " pattern content ", "Strip": " content start stop ", "Metaspace": " replacement str_rep add_prefix_space prepend_scheme split ",
	},
}

// configKeys are the keys of tokenizer_config.json, which special_tokens_map.json may have as well. Beside these, each key that ends in
// _token is the name of a special token. transformers 5.24 hands any other key to nobody, so it is copied, unless its name says that it
// means ids: see mayMatter.
var configKeys = keys{
	"added_tokens_decoder": used, "additional_special_tokens": used, "extra_special_tokens": used, "model_specific_special_tokens": used,
	"add_bos_token": used, "add_eos_token": used, "add_prefix_space": used, "legacy": used, "tokenizer_class": used, "auto_map": used,
	"split_special_tokens": used, "clean_up_tokenization_spaces": used, "clean_up_tokenization_spaces_for_bpe_even_though_it_will_corrupt_output": used,

	// overwritten by transformers with what it finds in the folder
	"vocab_file": copied, "merges_file": copied, "tokenizer_file": copied, "special_tokens_map_file": copied, "name_or_path": copied,
	"is_local": copied, "local_files_only": copied, "backend": copied, "files_loaded": copied,
	// the chat template, which is read elsewhere, and what goes with it
	"chat_template": copied, "chat_control_tokens": copied, "response_template": copied, "response_schema": copied, "use_default_system_prompt": copied,
	// for batches, and lengths that only warn
	"model_max_length": copied, "max_len": copied, "max_length": copied, "padding_side": copied, "truncation_side": copied, "padding": copied,
	"truncation": copied, "truncation_strategy": copied, "stride": copied, "pad_to_multiple_of": copied, "pad_token_type_id": copied,
	"model_input_names": copied, "return_token_type_ids": copied, "processor_class": copied, "verbose": copied,
	// of tokenizers in Python, which 5.24 no longer has for these classes
	"errors": copied, "do_lower_case": copied, "sp_model_kwargs": copied, "spaces_between_special_tokens": copied, "remove_space": copied,
	"keep_accents": copied, "trim_offsets": copied, "from_slow": copied, "use_fast": copied, "add_dummy_prefix_space": copied, "add_eod_token": copied,
	"padding_token_id": copied, "bos_token_id": copied, "eos_token_id": copied, "pad_token_id": copied, "unk_token_id": copied, "unk_id": copied,

	"fast_tokenizer_files": refused, // names another tokenizer.json
	"fix_mistral_regex":    refused, // changes the pattern of some Mistral models
	"init_inputs":          refused, // arguments of the class by their place
	"vocab":                refused, "merges": refused, "post_processor": refused, "tokenizer_object": refused, "tokenizer_padding": refused,
	"tokenizer_truncation": refused, "gguf_file": refused, "trust_remote_code": copied,
}

// check is keys.check, for a file where an unknown key passes if nothing in its name speaks of ids.
func (k keys) checkOpen(where, name string, value json.RawMessage) error {
	if _, known := k[name]; known || mayMatter(name) {
		return k.check(where, name, value)
	}
	return nil
}

// mayMatter tells whether the name of a key sounds as if it changed ids.
func mayMatter(name string) bool {
	if strings.HasSuffix(name, "_token") {
		return false
	}
	for _, part := range []string{"add_", "split", "normaliz", "prefix", "strip", "lower", "unk", "byte", "regex", "pre_token", "tokenizer_", "merge", "vocab", "dropout", "space"} {
		if strings.Contains(name, part) {
			return true
		}
	}
	return false
}
