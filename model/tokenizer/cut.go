package tokenizer

import (
	"regexp/syntax"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/dlclark/regexp2"
)

// A long text is encoded in windows. It may be cut between two characters where no rule of the tokenizer sees both: then the tokens of the
// parts are those of the whole. That is proven for a tokenizer from its rules, of a few pairs that texts are full of; a tokenizer with a
// rule that is not known well enough here has no such place, and its text is encoded whole.

// lefts are the characters before a cut, as ranges: letters, marks after which a space follows in many scripts, and Chinese characters. None
// is white space, and normalizing leaves them as they are.
var lefts = [][]rune{{'A', 'Z', 'a', 'z'}, {',', ',', '.', '.'}, {'一', '龥'}}

// rights are those after it. None is part of a word or a number.
var rights = []rune{' ', '\n', '。'}

// places says of lefts and rights between which a text may be cut.
type places [][]bool

func (t *bpe) places() places {
	t.once.Do(func() {
		t.cuts = make(places, len(lefts))
		for i, left := range lefts {
			for _, right := range rights {
				t.cuts[i] = append(t.cuts[i], t.apart(left, right))
			}
		}
	})
	return t.cuts
}

// last is the last place to cut a text behind its byte from, 0 where there is none.
func (p places) last(text []byte, from int) int {
	for at := len(text) - 1; at > from && at > 0; at-- {
		if !utf8.RuneStart(text[at]) {
			continue
		}
		r, _ := utf8.DecodeRune(text[at:])
		right := slices.Index(rights, r)
		if right < 0 {
			continue
		}
		before, _ := utf8.DecodeLastRune(text[:at])
		for i, left := range lefts {
			if p[i][right] && within(left, before) {
				return at
			}
		}
	}
	return 0
}

func within(ranges []rune, r rune) bool {
	for i := 0; i < len(ranges); i += 2 {
		if ranges[i] <= r && r <= ranges[i+1] {
			return true
		}
	}
	return false
}

// apart says whether every text may be cut between a character of left and right: whether no rule joins or looks across, and one surely parts
// them. mark is what right has become on its way through the rules.
func (t *bpe) apart(left []rune, right rune) bool {
	if !t.raw.apart(left, right) {
		return false
	}
	mark := right
	for _, p := range t.parts.normalizers {
		switch p.Type {
		case "NFC", "NFD", "NFKC", "NFKD", "Lowercase", "Prepend": // each character of both sides stays; what follows a cut is not begun anew
		case "Replace":
			switch what := p.Pattern.String; {
			case what == nil:
				return false
			case mark == ' ' && *what == " " && p.Content == space:
				mark = '▁'
			case strings.ContainsFunc(*what, func(r rune) bool { return r == mark || within(left, r) }):
				return false
			}
		default:
			return false
		}
	}
	if !t.normalized.apart(left, mark) {
		return false
	}
	parted := false
	for i, p := range t.parts.splitters {
		switch p.Type {
		case "ByteLevel":
			if i < len(t.parts.splitters)-1 || p.spaced() && mark != ' ' && !parted { // a space would be put in front of what follows a cut
				return false
			}
			if p.UseRegex == nil || *p.UseRegex {
				safe, parts := seam(gpt2, left, mark)
				if !safe {
					return false
				}
				parted = parted || parts
			}
		case "Metaspace":
			if p.scheme() == "always" && mark != ' ' && !parted {
				return false
			}
			to, _ := utf8.DecodeRuneInString(p.Replacement)
			if within(left, to) {
				return false
			}
			if mark == ' ' {
				mark = to
			}
			parted = parted || mark == to && (p.Split == nil || *p.Split)
		case "Split":
			if p.Behavior != "Isolated" && p.Behavior != "Removed" {
				return false
			}
			safe, parts := false, false
			if p.Pattern.Regex != nil {
				safe, parts = seam(*p.Pattern.Regex, left, mark)
			} else {
				safe, parts = !spans(*p.Pattern.String, left, mark), *p.Pattern.String == string(mark)
			}
			if !safe {
				return false
			}
			parted = parted || parts
		case "Punctuation":
			if p.Behavior != "" && p.Behavior != "Isolated" && p.Behavior != "Removed" {
				return false
			}
		case "Digits":
		case "Whitespace", "WhitespaceSplit":
			parted = parted || unicode.IsSpace(mark)
		case "CharDelimiterSplit":
			parted = parted || p.Delimiter == string(mark)
		default:
			return false
		}
	}
	return parted || t.wordwise && mark == '▁'
}

// spaced says whether a ByteLevel puts a space in front of words.
func (c *component) spaced() bool { return c.AddPrefixSpace == nil || *c.AddPrefixSpace }

// spans says whether a character of left stands before mark in a text.
func spans(text string, left []rune, mark rune) bool {
	before := rune(-1)
	for _, r := range text {
		if r == mark && within(left, before) {
			return true
		}
		before = r
	}
	return false
}

// apart says whether no added token has both sides of a cut, takes white space along across it, or asks what stands on the other side.
func (m *matcher) apart(left []rune, right rune) bool {
	for i, a := range m.tokens {
		form := m.forms[i]
		first, _ := utf8.DecodeRuneInString(form)
		last, _ := utf8.DecodeLastRuneInString(form)
		if spans(form, left, right) || a.RStrip && within(left, last) || a.SingleWord && first == right {
			return false
		}
	}
	return true
}

// looking are alternatives that look at what follows white space. They read nothing across a cut, before which none stands.
var looking = []string{`\s+(?!\S)`, `\s++(?!\S)`, `\s+$`, `\s++$`}

// seam says whether a pattern is safe to search on both sides of a cut by itself: no attempt to match gets from a character of left to mark.
// parts says that each character of left is surely part of a match, which then ends there.
//
// The pattern is read as Go reads it, which takes it for what Oniguruma does, or for something that matches more, as far as these
// characters are concerned. Whatever might be read otherwise counts as unsafe.
func seam(pattern string, left []rune, mark rune) (safe, parts bool) {
	if strings.Contains(pattern, "[]") || strings.Contains(pattern, "[^]") {
		return false, false
	}
	var kept []string
	for _, a := range alternatives(pattern) {
		if !slices.Contains(looking, a) {
			kept = append(kept, a)
		}
	}
	if len(kept) == 0 {
		return true, false
	}
	own := strings.Join(kept, "|")
	plain, ok := unpossessed(own)
	if !ok {
		return false, false
	}
	tree, err := syntax.Parse(plain, syntax.Perl)
	if err != nil {
		return false, false
	}
	if r := reaches(tree, left, mark); r.across || r.empty {
		return false, false
	}
	translated, err := translate(own, false)
	if err != nil {
		return false, false
	}
	re, err := regexp2.Compile(translated, regexp2.None)
	if err != nil {
		return false, false
	}
	re.MatchTimeout = matchTime
	for i := 0; i < len(left); i += 2 {
		for r := left[i]; r <= left[i+1]; r++ {
			if m, err := re.FindRunesMatch([]rune{r}); err != nil || m == nil || m.Length != 1 {
				return err == nil, false
			}
		}
	}
	return true, true
}

// alternatives cuts a pattern at the | that stand in no group and no class.
func alternatives(pattern string) (list []string) {
	depth, class, begin := 0, false, 0
	for i := 0; i < len(pattern); i++ {
		switch c := pattern[i]; {
		case c == '\\':
			i++
		case class:
			class = c != ']'
		case c == '[':
			class = true
		case c == '(':
			depth++
		case c == ')':
			depth--
		case c == '|' && depth == 0:
			list = append(list, pattern[begin:i])
			begin = i + 1
		}
	}
	return append(list, pattern[begin:])
}

// unpossessed writes possessive quantifiers of single characters as greedy ones, which match more; ok is false where a pattern has what Go and
// Oniguruma read differently: classes in classes, anchors, words, intervals without a beginning, possessive groups.
func unpossessed(pattern string) (plain string, ok bool) {
	var out strings.Builder
	class := false
	last, before := byte(0), byte(0) // the two characters before, an escaped one being 'x'
	for i := 0; i < len(pattern); i++ {
		c := pattern[i]
		out.WriteByte(c)
		switch {
		case c == '\\':
			if i++; i == len(pattern) || strings.IndexByte("AbBEGKQRwXyYzZ0123456789", pattern[i]) >= 0 {
				return "", false
			}
			out.WriteByte(pattern[i])
			c = 'x'
		case class:
			if c == '[' || c == '&' && last == '&' {
				return "", false
			}
			class = c != ']'
		case c == '[':
			class = true
		case c == '^' || c == '$' || c == ',' && last == '{':
			return "", false
		case c == '+' && strings.IndexByte("?*+", last) >= 0 && last != 0:
			if before == ')' || before == '}' {
				return "", false
			}
			s := out.String()
			out.Reset()
			out.WriteString(s[:len(s)-1])
			c = 'x'
		}
		last, before = c, last
	}
	return out.String(), !class
}

// reach is how a part of a pattern meets a cut.
type reach struct {
	empty  bool // it may match nothing
	begins bool // it may begin with the character after the cut
	ends   bool // it may end with one of those before
	across bool // it may go over it, or look at what is around it
}

func reaches(re *syntax.Regexp, left []rune, mark rune) reach {
	switch re.Op {
	case syntax.OpNoMatch:
		return reach{}
	case syntax.OpEmptyMatch:
		return reach{empty: true}
	case syntax.OpLiteral:
		r := reach{empty: true}
		for _, c := range re.Rune {
			r = r.then(single(c, re.Flags&syntax.FoldCase != 0, left, mark))
		}
		return r
	case syntax.OpCharClass:
		r := reach{begins: within(re.Rune, mark)}
		for i := 0; i < len(left); i += 2 {
			for j := 0; j < len(re.Rune); j += 2 {
				r.ends = r.ends || left[i] <= re.Rune[j+1] && re.Rune[j] <= left[i+1]
			}
		}
		return r
	case syntax.OpAnyChar, syntax.OpAnyCharNotNL:
		return reach{begins: true, ends: true}
	case syntax.OpCapture:
		return reaches(re.Sub[0], left, mark)
	case syntax.OpStar, syntax.OpPlus, syntax.OpQuest, syntax.OpRepeat:
		r := reaches(re.Sub[0], left, mark)
		if re.Op != syntax.OpQuest && !(re.Op == syntax.OpRepeat && re.Max >= 0 && re.Max <= 1) {
			r.across = r.across || r.begins && r.ends
		}
		r.empty = r.empty || re.Op == syntax.OpStar || re.Op == syntax.OpQuest || re.Op == syntax.OpRepeat && re.Min == 0
		return r
	case syntax.OpConcat:
		r := reach{empty: true}
		for _, sub := range re.Sub {
			r = r.then(reaches(sub, left, mark))
		}
		return r
	case syntax.OpAlternate:
		var r reach
		for _, sub := range re.Sub {
			s := reaches(sub, left, mark)
			r = reach{r.empty || s.empty, r.begins || s.begins, r.ends || s.ends, r.across || s.across}
		}
		return r
	}
	return reach{across: true} // anchors
}

// then is a part with another behind it.
func (r reach) then(s reach) reach {
	return reach{r.empty && s.empty, r.begins || r.empty && s.begins, s.ends || s.empty && r.ends, r.across || s.across || r.ends && s.begins}
}

// single is a character of a pattern, or with fold any that differs from it in case alone.
func single(c rune, fold bool, left []rune, mark rune) reach {
	r := reach{begins: c == mark, ends: within(left, c)}
	if fold {
		for f := unicode.SimpleFold(c); f != c; f = unicode.SimpleFold(f) {
			r.begins, r.ends = r.begins || f == mark, r.ends || within(left, f)
		}
	}
	return r
}
