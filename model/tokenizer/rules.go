package tokenizer

// The rules that classes of transformers 5.24 put in place of those in tokenizer.json.

// qwenPattern and qwen35Pattern split for Qwen 2 to 3 and for Qwen 3.5.
const (
	qwenPattern   = `(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`
	qwen35Pattern = `(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`
)

func (f *file) setRules(model modelPart, normalizer, pre, decoder *component) {
	model.Vocab, model.Merges = f.Model.Vocab, f.Model.Merges
	f.Model, f.Normalizer, f.PreTokenizer, f.Decoder = model, normalizer, pre, decoder
	f.Added = nil
}

func normalizers(parts ...*component) *component {
	return &component{Type: "Sequence", Normalizers: parts}
}
func preTokenizers(parts ...*component) *component {
	return &component{Type: "Sequence", PreTokenizers: parts}
}
func decoders(parts ...*component) *component { return &component{Type: "Sequence", Decoders: parts} }

func replaceText(what, with string) *component {
	return &component{Type: "Replace", Pattern: pattern{String: &what}, Content: with}
}

func replaceRegex(what, with string) *component {
	return &component{Type: "Replace", Pattern: pattern{Regex: &what}, Content: with}
}

func splitRegex(pat string) *component {
	return &component{Type: "Split", Pattern: pattern{Regex: &pat}, Behavior: "Isolated"}
}

func byteLevelSplit(prefixSpace, regex bool) *component {
	return &component{Type: "ByteLevel", AddPrefixSpace: &prefixSpace, UseRegex: &regex}
}

func metaspace(scheme string) *component {
	split := false
	return &component{Type: "Metaspace", Replacement: space, PrependScheme: scheme, Split: &split}
}

func llamaRules(f *file, c *config, _ *specials) {
	scheme, prefix := "first", c.flag("add_prefix_space", true)
	parts := []*component{replaceText(space, " "), {Type: "ByteFallback"}, {Type: "Fuse"}}
	switch {
	case !prefix:
		scheme = "never"
	case c.flag("legacy", false):
		scheme = "always"
	}
	if prefix {
		parts = append(parts, &component{Type: "Strip", Content: " ", Start: 1})
	}
	f.setRules(modelPart{FuseUnk: true, ByteFallback: true}, nil, metaspace(scheme), decoders(parts...))
}

func gemmaRules(f *file, _ *config, s *specials) {
	unk := s.named["unk_token"].Content
	f.setRules(modelPart{FuseUnk: true, ByteFallback: true, Unk: &unk}, replaceText(" ", space), nil,
		decoders(replaceText(space, " "), &component{Type: "ByteFallback"}, &component{Type: "Fuse"}))
}

func gpt2Rules(f *file, c *config, _ *specials) {
	f.setRules(modelPart{}, nil, byteLevelSplit(c.flag("add_prefix_space", false), true), &component{Type: "ByteLevel"})
}

func neoxRules(f *file, c *config, _ *specials) {
	f.setRules(modelPart{}, &component{Type: "NFC"}, byteLevelSplit(c.flag("add_prefix_space", false), true), &component{Type: "ByteLevel"})
}

func cohereRules(f *file, c *config, _ *specials) {
	f.setRules(modelPart{}, &component{Type: "NFC"},
		preTokenizers(&component{Type: "Digits", Individual: true}, byteLevelSplit(c.flag("add_prefix_space", false), true)), &component{Type: "ByteLevel"})
}

func qwen2Rules(f *file, c *config, _ *specials)  { qwenRules(f, c, qwenPattern) }
func qwen35Rules(f *file, c *config, _ *specials) { qwenRules(f, c, qwen35Pattern) }

func qwenRules(f *file, c *config, pattern string) {
	f.setRules(modelPart{}, &component{Type: "NFC"},
		preTokenizers(splitRegex(pattern), byteLevelSplit(c.flag("add_prefix_space", false), false)), &component{Type: "ByteLevel"})
}
