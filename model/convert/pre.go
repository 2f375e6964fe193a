package convert

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/vkcome/vkcome/model/gguf"
)

// component is the part of a tokenizer.json's component that decides how llama.cpp has to cut text.
type component struct {
	Type          string      `json:"type"`
	PreTokenizers []component `json:"pretokenizers"`
	Processors    []component `json:"processors"`
	Normalizers   []component `json:"normalizers"`
	Decoders      []component `json:"decoders"`
	Pattern       struct {
		String *string
		Regex  *string
	} `json:"pattern"`
	Behavior       string     `json:"behavior"`
	Invert         bool       `json:"invert"`
	Individual     bool       `json:"individual_digits"`
	UseRegex       *bool      `json:"use_regex"`
	AddPrefixSpace *bool      `json:"add_prefix_space"`
	PrependScheme  string     `json:"prepend_scheme"`
	Single         []template `json:"single"`
	Pair           []template `json:"pair"`
}

// template is an entry of a TemplateProcessing: one of the two.
type template struct {
	SpecialToken *struct {
		ID string `json:"id"`
	}
	Sequence *struct {
		ID string `json:"id"`
	}
}

const maxDepth = 8 // of components in one another; real ones nest two deep

// preTokenizer finds what llama.cpp calls a tokenizer's way to cut text, by its patterns; bos says whether that puts BOS before a text.
func preTokenizer(pre *component, ignoreMerges bool, architecture string) (name string, bos bool, err error) {
	patterns, err := wordPatterns(pre, 0)
	if err != nil {
		return "", false, fmt.Errorf("pre_tokenizer: %w", err)
	}
	for _, p := range gguf.PreTokenizers {
		if slices.Equal(p.Patterns, patterns) && p.IgnoreMerges == ignoreMerges {
			return cmp.Or(p.Of[architecture], p.Name), p.BOS, nil
		}
	}
	return "", false, fmt.Errorf("pre_tokenizer: llama.cpp is not known to cut text by the patterns %.300q (ignore_merges %v)", patterns, ignoreMerges)
}

// wordPatterns lists the patterns by which a pre-tokenizer cuts text, each of whose matches is a word.
func wordPatterns(c *component, depth int) (list []string, err error) {
	switch {
	case c == nil:
		return nil, nil
	case depth > maxDepth:
		return nil, fmt.Errorf("nested more than %d deep", maxDepth)
	case c.Type == "Sequence":
		for i := range c.PreTokenizers {
			part, err := wordPatterns(&c.PreTokenizers[i], depth+1)
			if err != nil {
				return nil, err
			}
			list = append(list, part...)
		}
		return list, nil
	case c.Type == "ByteLevel":
		if c.AddPrefixSpace != nil && *c.AddPrefixSpace {
			return nil, fmt.Errorf("add_prefix_space of a ByteLevel, which llama.cpp lacks")
		}
		if c.UseRegex == nil || *c.UseRegex {
			return []string{gguf.GPT2Words}, nil
		}
		return nil, nil
	case c.Type == "Digits" && c.Individual:
		return []string{gguf.OneDigit}, nil
	case c.Type == "Split" && c.Pattern.Regex != nil:
		// Removed with invert keeps what matches, as Isolated does, and drops what lies between, of which these patterns leave nothing.
		if c.Behavior == "Isolated" && !c.Invert || c.Behavior == "Removed" && c.Invert {
			return []string{*c.Pattern.Regex}, nil
		}
		return nil, fmt.Errorf("a Split with behavior %.40q, invert %v, which llama.cpp lacks", c.Behavior, c.Invert)
	}
	return nil, fmt.Errorf("type %.40q, which llama.cpp lacks", c.Type)
}
