package tokenizer

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode"
)

// translate writes a pattern of Oniguruma, whose Ruby syntax Hugging Face tokenizers use, as one of regexp2. What means another thing there
// is written out: possessive quantifiers, anchors, classes, case. What neither has, or has only nearly, is an error.
// With newer, classes have the characters that are newer than Go's tables, which makes them slow.
func translate(pattern string, newer bool) (string, error) {
	p := &onig{in: []rune(pattern), newer: newer}
	err := p.alternatives(onigFlags{}, 0)
	if err == nil && p.at < len(p.in) {
		err = errors.New("missing opening (")
	}
	return p.out.String(), err
}

// onig reads a pattern while it writes the other.
type onig struct {
	in    []rune
	at    int
	out   strings.Builder
	newer bool
}

// newerThan are the newer characters of a class, where they are wanted.
func (p *onig) newerThan(name string) string {
	if !p.newer {
		return ""
	}
	return newerThan(name)
}

// word is \w in a class.
func (p *onig) word() string {
	return onigWord + p.newerThan("L") + p.newerThan("M") + p.newerThan("Nd")
}

// onigFlags are those of (?i) and, in Ruby's sense, (?m), and where they hold.
type onigFlags struct {
	ignoreCase, dotAll bool
	fixed              bool // in a lookbehind, whose length must be known
}

const (
	maxNesting = 32 // groups in groups
	maxRepeat  = 1000

	maxTranslated = 1 << 18
)

func (p *onig) more() bool { return p.at < len(p.in) }

func (p *onig) peek(text string) bool {
	r := []rune(text)
	return len(p.in)-p.at >= len(r) && string(p.in[p.at:p.at+len(r)]) == text
}

func (p *onig) skip(text string) bool {
	if !p.peek(text) {
		return false
	}
	p.at += len([]rune(text))
	return true
}

// alternatives reads up to the end of a group or of the pattern.
func (p *onig) alternatives(f onigFlags, depth int) error {
	if depth > maxNesting {
		return errors.New("groups nest too deep")
	}
	last := rune(-1) // the literal before, for foldings of two characters
	for p.more() && !p.peek(")") {
		if p.out.Len() > maxTranslated {
			return fmt.Errorf("pattern grows beyond %d bytes", maxTranslated)
		}
		if p.skip("|") {
			p.out.WriteByte('|')
			last = -1
			continue
		}
		// Options without a group hold to its end, across alternatives.
		if on, ok, err := p.options(&f); err != nil {
			return err
		} else if ok {
			p.out.WriteString("(?:")
			err := p.alternatives(on, depth+1)
			p.out.WriteByte(')')
			return err
		}
		start := p.out.Len()
		r, err := p.atom(f, depth)
		if err != nil {
			return err
		}
		if f.ignoreCase && last >= 0 && r >= 0 && strings.Contains(" ss ff fi fl st ", " "+strings.ToLower(string([]rune{last, r}))+" ") {
			return fmt.Errorf("ignoring the case of %q, which one character stands for too, is not supported", string([]rune{last, r}))
		}
		last = r
		if quantified, err := p.quantifier(start, f); err != nil {
			return err
		} else if quantified {
			last = -1
		}
	}
	return nil
}

// options reads (?i), (?m), (?-i) and the like.
func (p *onig) options(f *onigFlags) (on onigFlags, ok bool, err error) {
	if !p.peek("(?") {
		return on, false, nil
	}
	on, at := *f, p.at+2
	set := true
	for ; at < len(p.in); at++ {
		switch p.in[at] {
		case '-':
			set = false
		case 'i':
			on.ignoreCase = set
		case 'm':
			on.dotAll = set
		case ')':
			p.at = at + 1
			return on, true, nil
		default:
			return on, false, nil
		}
	}
	return on, false, nil
}

// atom reads one thing that may be repeated. It gives the character that the thing is, -1 for others.
func (p *onig) atom(f onigFlags, depth int) (rune, error) {
	r := p.in[p.at]
	p.at++
	switch r {
	case '(':
		return -1, p.group(f, depth)
	case '[':
		set, err := p.class(f, 0)
		if err == nil {
			p.out.WriteString(set.String())
		}
		return -1, err
	case '.':
		if f.dotAll {
			p.out.WriteString(`[\s\S]`)
		} else {
			p.out.WriteString(`[^\n]`)
		}
		return -1, nil
	case '^':
		p.out.WriteString(`(?:\A|(?<=\n)(?!\z))`)
		return -1, nil
	case '$':
		p.out.WriteString(`(?=\n|\z)`)
		return -1, nil
	case '*', '+', '?':
		return -1, errors.New("nothing to repeat")
	case '\\':
		return p.escape(f)
	}
	return p.literal(r, f)
}

// literal writes a character.
func (p *onig) literal(r rune, f onigFlags) (rune, error) {
	set := onigSet{}
	if err := set.add(r, r, f); err != nil {
		return -1, err
	}
	if len(set.parts) == 1 {
		p.out.WriteString(quote(r))
	} else {
		p.out.WriteString(set.String())
	}
	return r, nil
}

func quote(r rune) string {
	if strings.ContainsRune(`\*+?|{}[]()^$.#-&~`, r) {
		return `\` + string(r)
	}
	return string(r)
}

// group reads what follows an opening bracket.
func (p *onig) group(f onigFlags, depth int) error {
	open := "(?:" // no pattern refers back to a group, so none needs to be kept
	if p.skip("?") {
		found := false
		for _, kind := range []string{":", "=", "!", ">", "<=", "<!"} {
			if p.skip(kind) {
				open, found = "(?"+kind, true
				f.fixed = f.fixed || kind == "<=" || kind == "<!"
				break
			}
		}
		switch {
		case found:
		case p.skip("#"):
			for p.more() && !p.peek(")") {
				p.at++
			}
			open = "(?:"
		default:
			set := true
			for p.more() && !p.skip(":") {
				r := p.in[p.at]
				p.at++
				switch r {
				case '-':
					set = false
				case 'i':
					f.ignoreCase = set
				case 'm':
					f.dotAll = set
				default:
					return fmt.Errorf("group (?%c is not supported", r)
				}
			}
		}
	}
	p.out.WriteString(open)
	if err := p.alternatives(f, depth+1); err != nil {
		return err
	}
	if !p.skip(")") {
		return errors.New("missing closing )")
	}
	p.out.WriteByte(')')
	return nil
}

// quantifier reads how often the thing that begins at start may come, and says whether there was anything to read.
func (p *onig) quantifier(start int, f onigFlags) (bool, error) {
	what := p.out.String()[start:]
	var how string
	interval := false
	switch {
	case p.skip("*"), p.skip("+"), p.skip("?"):
		how = string(p.in[p.at-1])
	default:
		var err error
		if how, err = p.interval(); err != nil || how == "" {
			return false, err
		}
		interval = true
	}
	if f.fixed && (!interval || strings.Contains(how, ",")) {
		return false, errors.New("a lookbehind of unknown length is not supported")
	}
	possessive := false
	switch {
	case p.peek("?") && interval && !strings.Contains(how, ","):
		return false, fmt.Errorf("quantifier %s? is not supported", how)
	case p.skip("?"):
		how += "?"
	case p.peek("+") && interval: // Ruby's {2}+ is not possessive: it repeats the repetition
		p.at++
		p.again(start, "(?:"+what+how+")+")
		return true, p.noMore()
	case p.skip("+"):
		possessive = true
	}
	if possessive {
		p.again(start, "(?>"+what+how+")")
	} else {
		p.out.WriteString(how)
	}
	return true, p.noMore()
}

// again writes anew from start.
func (p *onig) again(start int, text string) {
	before := p.out.String()[:start]
	p.out.Reset()
	p.out.WriteString(before)
	p.out.WriteString(text)
}

func (p *onig) noMore() error {
	at := p.at
	if p.peek("*") || p.peek("+") || p.peek("?") {
		return errors.New("a quantifier of a quantifier is not supported")
	}
	if how, err := p.interval(); err != nil || how != "" {
		return errors.New("a quantifier of a quantifier is not supported")
	}
	p.at = at
	return nil
}

// interval reads {2}, {2,}, {,3} or {2,3}; a brace that is none of these is a literal.
func (p *onig) interval() (string, error) {
	if !p.peek("{") {
		return "", nil
	}
	end := p.at + 1
	for end < len(p.in) && (p.in[end] >= '0' && p.in[end] <= '9' || p.in[end] == ',') {
		end++
	}
	if end == len(p.in) || p.in[end] != '}' {
		return "", nil
	}
	low, high, two := strings.Cut(string(p.in[p.at+1:end]), ",")
	if low == "" && high == "" || strings.Contains(high, ",") {
		return "", nil
	}
	if low == "" {
		low = "0"
	}
	for _, n := range []string{low, high} {
		if v, err := strconv.Atoi(n); n != "" && (err != nil || v > maxRepeat) {
			return "", fmt.Errorf("{%s}: more than %d repetitions", n, maxRepeat)
		}
	}
	p.at = end + 1
	if two {
		return "{" + low + "," + high + "}", nil
	}
	return "{" + low + "}", nil
}

// escape reads what follows a backslash outside a class.
func (p *onig) escape(f onigFlags) (rune, error) {
	if !p.more() {
		return -1, errors.New(`a \ at the end`)
	}
	word := p.word() + onigLatin
	switch r := p.in[p.at]; r {
	case 'A', 'z':
		p.at++
		p.out.WriteString(`\` + string(r))
		return -1, nil
	case 'Z':
		p.at++
		p.out.WriteString(`(?=\n?\z)`)
		return -1, nil
	case 'b', 'B':
		p.at++
		if r == 'b' {
			p.out.WriteString("(?:(?<=[" + word + "])(?![" + word + "])|(?<![" + word + "])(?=[" + word + "]))")
		} else {
			p.out.WriteString("(?:(?<=[" + word + "])(?=[" + word + "])|(?<![" + word + "])(?![" + word + "]))")
		}
		return -1, nil
	case 'R':
		if p.at++; f.fixed {
			return -1, errors.New("a lookbehind of unknown length is not supported")
		}
		p.out.WriteString(`(?>\r\n|[\n-\r\u0085\u2028\u2029])`)
		return -1, nil
	}
	var set onigSet
	single, err := p.classEscape(&set, f, true)
	if err != nil {
		return -1, err
	}
	if single >= 0 {
		return p.literal(single, f)
	}
	p.out.WriteString(set.String())
	return -1, nil
}

// onigSet is a class of characters: parts of regexp2's syntax.
type onigSet struct {
	negated bool
	parts   []string
	minus   string // what a part counts that it should not
	many    bool   // a part stands for characters that minus could take from it
}

func (s *onigSet) String() string {
	open, minus := "[", ""
	if s.negated {
		open = "[^"
	}
	if s.minus != "" {
		minus = "-[" + s.minus + "]"
	}
	return open + strings.Join(s.parts, "") + minus + "]"
}

// check refuses what regexp2's subtraction cannot express.
func (s *onigSet) check() error {
	if s.minus != "" && (s.many || s.negated) {
		return errors.New(`\P or \D beside other classes is not supported`)
	}
	return nil
}

// property enters a class of Unicode by the name that regexp2 knows, with the characters that are newer than its tables.
func (s *onigSet) property(name, newer string, negated, alone bool) {
	switch {
	case !negated:
		s.parts = append(s.parts, `\p{`+name+`}`+newer)
		s.many = true
	case alone:
		s.negated = true
		s.parts = append(s.parts, `\p{`+name+`}`+newer)
	default:
		s.parts = append(s.parts, `\P{`+name+`}`)
		s.minus += newer
	}
}

// add enters a range of characters, with those that differ in case only where that is asked for.
func (s *onigSet) add(low, high rune, f onigFlags) error {
	if low > high {
		return fmt.Errorf("range %q to %q is empty", low, high)
	}
	if low == high {
		s.parts = append(s.parts, quote(low))
	} else {
		s.parts = append(s.parts, quote(low)+"-"+quote(high))
	}
	if !f.ignoreCase {
		return nil
	}
	for r := low; r <= high; r++ {
		if r >= 0x80 && unicode.SimpleFold(r) != r || r >= 0x80 && high-low > 256 {
			return fmt.Errorf("ignoring the case of %q is not supported", r)
		}
		for other := unicode.SimpleFold(r); other != r; other = unicode.SimpleFold(other) {
			s.parts = append(s.parts, quote(other))
		}
	}
	return nil
}

// class reads a class behind its opening bracket.
func (p *onig) class(f onigFlags, depth int) (onigSet, error) {
	var set onigSet
	if depth > maxNesting {
		return set, errors.New("classes nest too deep")
	}
	set.negated = p.skip("^")
	if p.peek("]") {
		return set, errors.New("an empty class, or one that begins with ], is not supported")
	}
	for {
		switch {
		case !p.more():
			return set, errors.New("missing closing ]")
		case p.skip("]"):
			return set, set.check()
		case p.peek("&&"):
			return set, errors.New("the intersection && of classes is not supported")
		case p.peek("[:"):
			if err := p.posix(&set, f); err != nil {
				return set, err
			}
		case p.skip("["):
			inner, err := p.class(f, depth+1)
			if err == nil && inner.negated {
				err = errors.New("a negated class in a class is not supported")
			}
			if err != nil {
				return set, err
			}
			set.parts, set.minus, set.many = append(set.parts, inner.parts...), set.minus+inner.minus, set.many || inner.many
		default:
			if err := p.classRange(&set, f); err != nil {
				return set, err
			}
		}
	}
}

// classRange reads a character, a range or an escape of a class.
func (p *onig) classRange(set *onigSet, f onigFlags) error {
	low, err := p.classChar(set, f)
	if err != nil || low < 0 {
		return err
	}
	if !p.peek("-") || p.at+1 < len(p.in) && p.in[p.at+1] == ']' {
		return set.add(low, low, f)
	}
	p.at++
	if !p.more() || p.peek("[") || p.peek("&&") {
		return errors.New("a range without an end")
	}
	high, err := p.classChar(set, f)
	if err == nil && high < 0 {
		err = errors.New("a range that ends in a class")
	}
	if err != nil {
		return err
	}
	return set.add(low, high, f)
}

// classChar reads a character of a class, or enters an escape that stands for several and gives -1.
func (p *onig) classChar(set *onigSet, f onigFlags) (rune, error) {
	r := p.in[p.at]
	p.at++
	if r != '\\' {
		return r, nil
	}
	if !p.more() {
		return -1, errors.New("missing closing ]")
	}
	if p.peek("b") {
		p.at++
		return '\b', nil
	}
	return p.classEscape(set, f, false)
}

// onigWord is \w: letters and what counts as such, marks, digits, connectors. Circled letters are symbols that count. Outside of classes
// some digits of Latin 1 count as well.
const (
	onigWord  = `\p{L}\p{M}\p{Nl}\p{Nd}\p{Pc}\u24B6-\u24E9` + "\U0001F130-\U0001F149\U0001F150-\U0001F169\U0001F170-\U0001F189"
	onigLatin = `\u00B2\u00B3\u00B9\u00BC-\u00BE`
)

// classEscape reads an escape behind its backslash, alone or in a class: it gives the one character, or enters several and gives -1.
func (p *onig) classEscape(set *onigSet, f onigFlags, alone bool) (rune, error) {
	r := p.in[p.at]
	p.at++
	switch r {
	case 's', 'S':
		set.parts = append(set.parts, `\`+string(r))
		set.many = true
		return -1, nil
	case 'd', 'D':
		set.property("Nd", p.newerThan("Nd"), r == 'D', alone)
		return -1, nil
	case 'w', 'W':
		set.parts, set.many = append(set.parts, p.word()), true
		if alone {
			set.parts = append(set.parts, onigLatin)
		}
		if set.negated = set.negated || r == 'W'; r == 'W' && !alone {
			return -1, errors.New(`\W in a class is not supported`)
		}
		return -1, nil
	case 'h':
		set.parts = append(set.parts, "0-9a-fA-F")
		return -1, nil
	case 'p', 'P':
		return -1, p.property(set, r == 'P', f, alone)
	case 'x', 'u':
		return p.code(r)
	}
	if control := strings.IndexRune("tnrfvae", r); control >= 0 {
		return rune("\t\n\r\f\v\a\x1b"[control]), nil
	}
	if r >= '0' && r <= '9' || r < 0x80 && isWord(r) && r != '_' {
		return -1, fmt.Errorf(`escape \%c is not supported`, r)
	}
	return r, nil
}

// code reads \x41, \x{1F600} or \u0041.
func (p *onig) code(kind rune) (rune, error) {
	digits, max := "", 2
	if kind == 'u' {
		max = 4
	}
	braces := kind == 'x' && p.skip("{")
	if braces {
		max = 8
	}
	for p.more() && len(digits) < max && strings.ContainsRune("0123456789abcdefABCDEF", p.in[p.at]) {
		digits += string(p.in[p.at])
		p.at++
	}
	code, err := strconv.ParseUint(digits, 16, 32)
	if err != nil || code > unicode.MaxRune || braces && !p.skip("}") || kind == 'u' && len(digits) < 4 || kind == 'x' && !braces && code >= 0x80 {
		return -1, fmt.Errorf(`\%c is not followed by the number of a character`, kind)
	}
	return rune(code), nil
}

// property reads \p{Lu}, \p{^Lu}, \P{Lu} or \p{Han}.
func (p *onig) property(set *onigSet, negated bool, f onigFlags, alone bool) error {
	if !p.skip("{") {
		return errors.New(`\p without {`)
	}
	if p.skip("^") {
		negated = !negated
	}
	name := ""
	for p.more() && !p.peek("}") {
		name += string(p.in[p.at])
		p.at++
	}
	if !p.skip("}") {
		return errors.New(`\p{ without }`)
	}
	if !judged[name] {
		return fmt.Errorf("class %q of characters is not supported", short(name))
	}
	if f.ignoreCase && !strings.HasPrefix(name, "N") && !strings.HasPrefix(name, "P") && !strings.HasPrefix(name, "Z") {
		return fmt.Errorf("ignoring the case of %s is not supported", name)
	}
	set.property(name, p.newerThan(name), negated, alone)
	return nil
}

// posixClass enters a class of POSIX by its name.
func (p *onig) posixClass(set *onigSet, name string, negated bool, f onigFlags) error {
	parts, ok := map[string]string{
		"word": p.word(), "digit": `\p{Nd}` + p.newerThan("Nd"), "space": `\s`, "xdigit": "0-9a-fA-F",
		"punct": `\p{P}\p{S}` + p.newerThan("P") + p.newerThan("S"), "cntrl": `\p{Cc}`, "blank": `\p{Zs}\t`,
	}[name]
	switch {
	case !ok:
		return fmt.Errorf("class %q of characters is not supported", short(name))
	case negated && name == "space":
		parts = `\S`
	case negated:
		return fmt.Errorf("what is not in %q is not supported", short(name))
	case f.ignoreCase && name != "digit" && name != "space":
		return fmt.Errorf("ignoring the case of %q is not supported", short(name))
	}
	set.parts, set.many = append(set.parts, parts), true
	return nil
}

// posix reads [:space:] in a class.
func (p *onig) posix(set *onigSet, f onigFlags) error {
	rest := string(p.in[p.at:])
	end := strings.Index(rest, ":]")
	if end < 0 {
		return errors.New("[: without :]")
	}
	name := rest[2:end]
	p.at += len([]rune(rest[:end+2]))
	name, negated := strings.CutPrefix(name, "^")
	return p.posixClass(set, name, negated, f)
}
