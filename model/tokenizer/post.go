package tokenizer

import (
	"errors"
	"fmt"
	"slices"
)

// aroundText gives the tokens that a post-processor puts before and after a single text.
func aroundText(c *component) (prefix, suffix []int, err error) {
	parts, err := flatten(c, func(c *component) []*component { return c.Processors })
	if err != nil {
		return nil, nil, err
	}
	for _, p := range parts {
		var before, after []int
		switch p.Type {
		case "ByteLevel": // moves offsets only
		case "RobertaProcessing", "BertProcessing":
			before, after = []int{p.CLS.id}, []int{p.SEP.id}
		case "TemplateProcessing":
			if before, after, err = p.template(); err != nil {
				return nil, nil, err
			}
		default:
			return nil, nil, fmt.Errorf("type %q is not supported", short(p.Type))
		}
		prefix, suffix = slices.Concat(before, prefix), slices.Concat(suffix, after)
	}
	return prefix, suffix, nil
}

// template reads the template of a single text, which has the text in it once.
func (c *component) template() (before, after []int, err error) {
	text := false
	for _, p := range c.Single {
		switch {
		case p.SpecialToken != nil:
			token, ok := c.SpecialTokens[p.SpecialToken.ID]
			if !ok {
				return nil, nil, fmt.Errorf("token %q of the template has no ids", short(p.SpecialToken.ID))
			}
			if text {
				after = append(after, token.IDs...)
			} else {
				before = append(before, token.IDs...)
			}
		case p.Sequence != nil && p.Sequence.ID == "A" && !text:
			text = true
		default:
			return nil, nil, errors.New("the template of a single text has another text in it")
		}
	}
	if !text {
		return nil, nil, errors.New("the template of a single text has no text in it")
	}
	return before, after, nil
}
