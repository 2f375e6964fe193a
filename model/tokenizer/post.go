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
			before, after = []int{int(p.CLS.id)}, []int{int(p.SEP.id)}
		case "TemplateProcessing":
			if before, after, err = p.template(); err != nil {
				return nil, nil, err
			}
		default:
			return nil, nil, fmt.Errorf("type %q is not supported", short(p.Type))
		}
		prefix, suffix = slices.Concat(before, prefix), slices.Concat(suffix, after)
		if len(prefix)+len(suffix) > maxAround {
			return nil, nil, errAround
		}
	}
	return prefix, suffix, nil
}

var errAround = fmt.Errorf("more than %d tokens around a text", maxAround)

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
			if len(before)+len(after)+len(token.IDs) > maxAround {
				return nil, nil, errAround
			}
			for _, id := range token.IDs {
				if text {
					after = append(after, int(id))
				} else {
					before = append(before, int(id))
				}
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
