package jinja

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

type tokenKind uint8

const (
	tokEnd   tokenKind = iota
	tokData            // text outside of tags
	tokOpen            // {%
	tokClose           // %}
	tokPrint           // {{
	tokShut            // }}
	tokName
	tokString
	tokInt
	tokFloat
	tokOp
)

type token struct {
	kind tokenKind
	text string // of a name, an operator, a string without its quotes, data
	num  any    // int64 or float64
	line int
}

func (t token) String() string {
	switch t.kind {
	case tokEnd:
		return "the end"
	case tokData:
		return "text"
	case tokOpen:
		return "{%"
	case tokClose:
		return "%}"
	case tokPrint:
		return "{{"
	case tokShut:
		return "}}"
	case tokString:
		return "a string"
	case tokInt, tokFloat:
		return "a number"
	}
	return "'" + t.text + "'"
}

// lexer cuts a template into tokens, with what Jinja's options trim_blocks and lstrip_blocks and the signs + and - say about white
// space around tags.
type lexer struct {
	src       string
	pos       int
	tokens    []token
	fresh     bool // what was read last ended a line, or nothing was read
	line      int
	lineUntil int // where line was counted
}

func lex(source string) ([]token, error) {
	source = strings.ReplaceAll(strings.ReplaceAll(source, "\r\n", "\n"), "\r", "\n")
	l := &lexer{src: strings.TrimSuffix(source, "\n"), fresh: true, line: 1}
	for l.pos < len(l.src) {
		if err := l.next(); err != nil {
			return nil, fmt.Errorf("line %d: %w", l.lineAt(l.pos), err)
		}
	}
	l.add(token{kind: tokEnd})
	return l.tokens, nil
}

func (l *lexer) lineAt(pos int) int {
	pos = min(pos, len(l.src))
	l.line += strings.Count(l.src[l.lineUntil:pos], "\n")
	l.lineUntil = pos
	return l.line
}

func (l *lexer) add(t token) {
	t.line = l.lineAt(l.pos)
	l.tokens = append(l.tokens, t)
}

// next reads text up to a tag, and the tag.
func (l *lexer) next() error {
	rest := l.src[l.pos:]
	at := strings.IndexByte(rest, '{')
	for at >= 0 && !(at+1 < len(rest) && strings.IndexByte("%{#", rest[at+1]) >= 0) {
		more := strings.IndexByte(rest[at+1:], '{')
		if more < 0 {
			at = -1
		} else {
			at += 1 + more
		}
	}
	if at < 0 {
		l.data(rest)
		l.pos = len(l.src)
		return nil
	}
	mark := rest[at+1]
	l.data(l.before(rest[:at], rest[at+2:], mark == '{'))
	l.pos += at + 2
	if l.pos < len(l.src) && (l.src[l.pos] == '-' || l.src[l.pos] == '+') {
		l.pos++
	}
	switch mark {
	case '#':
		return l.comment()
	case '{':
		l.add(token{kind: tokPrint})
		return l.tag(tokShut)
	}
	if end := l.rawTag("raw", l.pos); end >= 0 {
		return l.raw(end)
	}
	l.add(token{kind: tokOpen})
	return l.tag(tokClose)
}

// before is the text in front of a tag with the white space gone that the tag's sign, or lstrip_blocks, takes; after is what follows
// the tag's two characters.
func (l *lexer) before(text, after string, variable bool) string {
	switch {
	case strings.HasPrefix(after, "-"):
		return strings.TrimRightFunc(text, isSpace)
	case strings.HasPrefix(after, "+"), variable:
		return text
	}
	start := strings.LastIndexByte(text, '\n') + 1
	if (start > 0 || l.fresh) && strings.TrimLeftFunc(text[start:], isSpace) == "" {
		return text[:start]
	}
	return text
}

func (l *lexer) data(text string) {
	if text != "" {
		l.add(token{kind: tokData, text: text})
	}
}

// close passes a tag's end at pos, if it is there: a sign, the two characters, and the white space that they take with them.
func (l *lexer) close(end string, trim bool) bool {
	start := l.pos
	sign := byte(0)
	if strings.HasPrefix(l.src[l.pos:], "-") || trim && strings.HasPrefix(l.src[l.pos:], "+") {
		sign = l.src[l.pos]
		l.pos++
	}
	if !strings.HasPrefix(l.src[l.pos:], end) {
		l.pos = start
		return false
	}
	l.pos += len(end)
	switch {
	case sign == '-':
		l.space()
	case sign == 0 && trim && strings.HasPrefix(l.src[l.pos:], "\n"):
		l.pos++
	}
	l.fresh = l.src[l.pos-1] == '\n'
	return true
}

func (l *lexer) space() {
	l.pos = len(l.src) - len(strings.TrimLeftFunc(l.src[l.pos:], isSpace))
}

func (l *lexer) comment() error {
	for ; l.pos < len(l.src); l.pos++ {
		if l.close("#}", true) {
			return nil
		}
	}
	return fmt.Errorf("a comment without its end")
}

// rawTag is where a tag's end stands whose one word is name, counted from behind its sign; -1 if it is another tag.
func (l *lexer) rawTag(name string, pos int) int {
	rest := strings.TrimLeftFunc(l.src[pos:], isSpace)
	if !strings.HasPrefix(rest, name) {
		return -1
	}
	rest = strings.TrimLeftFunc(rest[len(name):], isSpace)
	if strings.HasPrefix(rest, "%}") || strings.HasPrefix(rest, "-%}") || name == "endraw" && strings.HasPrefix(rest, "+%}") {
		return len(l.src) - len(rest)
	}
	return -1
}

func (l *lexer) raw(end int) error {
	l.pos = end
	l.close("%}", false)
	for at := l.pos; at < len(l.src); at++ {
		if !strings.HasPrefix(l.src[at:], "{%") {
			continue
		}
		inner := at + 2
		if inner < len(l.src) && (l.src[inner] == '-' || l.src[inner] == '+') {
			inner++
		}
		if stop := l.rawTag("endraw", inner); stop >= 0 {
			l.data(l.before(l.src[l.pos:at], l.src[at+2:], false))
			l.pos = stop
			l.close("%}", true)
			return nil
		}
	}
	return fmt.Errorf("raw without endraw")
}

// operators from the longest to the shortest.
var operators = []string{"//", "**", "==", "!=", "<=", ">=", "+", "-", "/", "*", "%", "~", "[", "]", "(", ")", "{", "}", ">", "<", "=", ".", ":", "|", ",", ";"}

// tag reads the inside of a tag and its end.
func (l *lexer) tag(end tokenKind) error {
	mark := map[tokenKind]string{tokShut: "}}", tokClose: "%}"}[end]
	var open []byte // brackets
	for l.pos < len(l.src) {
		l.space()
		if len(open) == 0 && l.close(mark, end == tokClose) {
			l.tokens = append(l.tokens, token{kind: end, line: l.lineAt(l.pos)})
			return nil
		}
		if l.pos >= len(l.src) {
			break
		}
		rest := l.src[l.pos:]
		r, _ := utf8.DecodeRuneInString(rest)
		switch {
		case r == '\'' || r == '"':
			if err := l.quoted(byte(r)); err != nil {
				return err
			}
		case r >= '0' && r <= '9':
			if err := l.number(); err != nil {
				return err
			}
		case r == '_' || unicode.IsLetter(r):
			n := strings.IndexFunc(rest, func(r rune) bool {
				return r != '_' && !unicode.IsLetter(r) && !unicode.IsDigit(r) && !unicode.IsMark(r)
			})
			if n < 0 {
				n = len(rest)
			}
			l.add(token{kind: tokName, text: rest[:n]})
			l.pos += n
		default:
			if err := l.operator(rest, &open); err != nil {
				return err
			}
		}
	}
	return fmt.Errorf("a tag without its %s", mark)
}

func (l *lexer) operator(rest string, open *[]byte) error {
	for _, op := range operators {
		if !strings.HasPrefix(rest, op) {
			continue
		}
		switch op {
		case "(", "[", "{":
			*open = append(*open, op[0])
		case ")", "]", "}":
			n := len(*open)
			if n == 0 || (*open)[n-1] != map[string]byte{")": '(', "]": '[', "}": '{'}[op] {
				return fmt.Errorf("unexpected '%s'", op)
			}
			*open = (*open)[:n-1]
		}
		l.add(token{kind: tokOp, text: op})
		l.pos += len(op)
		return nil
	}
	r, _ := utf8.DecodeRuneInString(rest)
	return fmt.Errorf("unexpected character %q", r)
}

func (l *lexer) number() error {
	rest := l.src[l.pos:]
	digits := func(from int) int {
		for from < len(rest) && (rest[from] >= '0' && rest[from] <= '9' || rest[from] == '_' && from+1 < len(rest) && rest[from+1] >= '0' && rest[from+1] <= '9') {
			from++
		}
		return from
	}
	if len(rest) > 1 && rest[0] == '0' && strings.IndexByte("xXoObB", rest[1]) >= 0 {
		return fmt.Errorf("numbers such as %.2s are not supported", rest)
	}
	n := digits(0)
	float := false
	if n+1 < len(rest) && rest[n] == '.' && digits(n+1) > n+1 {
		n, float = digits(n+1), true
	}
	if n < len(rest) && (rest[n] == 'e' || rest[n] == 'E') {
		exp := n + 1
		if exp < len(rest) && (rest[exp] == '+' || rest[exp] == '-') {
			exp++
		}
		if digits(exp) > exp {
			n, float = digits(exp), true
		}
	}
	text := strings.ReplaceAll(rest[:n], "_", "")
	if float {
		v, err := strconv.ParseFloat(text, 64)
		if err != nil {
			return fmt.Errorf("number %s: %w", text, err)
		}
		l.add(token{kind: tokFloat, num: v})
	} else {
		v, err := strconv.ParseInt(text, 10, 64)
		if err != nil || len(text) > 1 && text[0] == '0' && strings.Trim(text, "0") != "" {
			return fmt.Errorf("number %s is not supported", text)
		}
		l.add(token{kind: tokInt, num: v})
	}
	l.pos += n
	return nil
}

// quoted reads a string with Python's escapes.
func (l *lexer) quoted(quote byte) error {
	var b strings.Builder
	for i := l.pos + 1; i < len(l.src); i++ {
		c := l.src[i]
		if c == quote {
			l.add(token{kind: tokString, text: b.String()})
			l.pos = i + 1
			return nil
		}
		if c != '\\' || i+1 == len(l.src) {
			b.WriteByte(c)
			continue
		}
		i++
		n, err := unescape(&b, l.src[i:])
		if err != nil {
			return err
		}
		i += n - 1
	}
	return fmt.Errorf("a string without its end")
}

var simpleEscapes = map[byte]string{'\n': "", '\\': "\\", '\'': "'", '"': "\"", 'a': "\a", 'b': "\b", 'f': "\f", 'n': "\n", 'r': "\r", 't': "\t", 'v': "\v"}

// unescape writes what the escape at the start of s, its backslash gone, stands for, and gives its length.
func unescape(b *strings.Builder, s string) (int, error) {
	if text, ok := simpleEscapes[s[0]]; ok {
		b.WriteString(text)
		return 1, nil
	}
	if s[0] >= '0' && s[0] <= '7' {
		n := 1
		for n < 3 && n < len(s) && s[n] >= '0' && s[n] <= '7' {
			n++
		}
		v, err := strconv.ParseUint(s[:n], 8, 32)
		b.WriteRune(rune(v))
		return n, err
	}
	n := map[byte]int{'x': 2, 'u': 4, 'U': 8}[s[0]]
	if n == 0 {
		if s[0] == 'N' {
			return 0, fmt.Errorf(`escapes \N{…} are not supported`)
		}
		b.WriteByte('\\') // Python keeps an escape that it does not know
		return 0, nil
	}
	if len(s) < 1+n {
		return 0, fmt.Errorf(`escape \%c cut short`, s[0])
	}
	v, err := strconv.ParseUint(s[1:1+n], 16, 32)
	if err != nil || !utf8.ValidRune(rune(v)) || v > unicode.MaxRune {
		return 0, fmt.Errorf(`escape \%s is no character`, s[:1+n])
	}
	b.WriteRune(rune(v))
	return 1 + n, nil
}

// isSpace is Python's str.isspace of a character.
func isSpace(r rune) bool { return unicode.IsSpace(r) || r >= 0x1c && r <= 0x1f }
