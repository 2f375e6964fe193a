//go:build unix

package hostile

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"slices"
	"strings"
)

func init() { kinds["chat"] = chatCases; kinds["generation"] = generationCases }

// templates are chat templates that would run long, grow, or reach what they should not.
var templates = []string{
	`{% for i in range(1000000000) %}{% endfor %}`, `{% for i in range(10000) %}{% for j in range(10000) %}x{% endfor %}{% endfor %}`, `{{ "a" * 1000000000 }}`, `{{ "a" * 1000000 * 1000000 }}`, `{{ [0] * 1000000000 }}`,
	`{% set ns = namespace(s="aa") %}{% for i in range(64) %}{% set ns.s = ns.s + ns.s %}{% endfor %}{{ ns.s }}`, `{% set ns = namespace(s="a") %}{% for i in range(40) %}{% set ns.s = ns.s | replace("a", "aaaa") %}{% endfor %}{{ ns.s }}`,
	`{% macro f(n) %}{{ f(n) }}{% endmacro %}{{ f(1) }}`, `{% macro f(n) %}{% if n > 0 %}{{ f(n - 1) }}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(60) }}`, `{{ messages | indent(1000000000) }}`, `{{ "x" | center(1000000000) }}`, `{{ "%1000000000d" | format(1) }}`,
	`{{ "{:>1000000000}".format(1) }}`, `{{ 10 ** 1000000000 }}`, `{{ 2 ** 2 ** 2 ** 2 ** 2 ** 2 }}`, `{{ 1 / 0 }}`, `{{ 1 % 0 }}`, `{{ 1 // 0 }}`, `{{ -9223372036854775807 - 10 }}`, `{{ 9223372036854775807 * 9223372036854775807 }}`, `{{ messages.__class__ }}`,
	`{{ ''.__class__.__mro__[1].__subclasses__() }}`, `{{ cycler.__init__.__globals__.os.popen('touch ran').read() }}`, `{{ self._TemplateReference__context }}`, `{% include "/etc/passwd" %}`, `{% import "x" as y %}`, `{% extends "x" %}`, `{{ raise_exception("\x1b[31m\x1b]0;owned\x07") }}`,
	`{{ raise_exception("a" * 100000) }}`, `{{ "\x1b[31m" }}`, `{% if %}`, `{% for %}`, `{{`, `{%`, `{#`, `{{ }}`, `{% endfor %}`, `{{ messages[99999999999999999999] }}`, `{{ messages[-9223372036854775808] }}`, `{{ messages[::0] }}`, `{{ messages[0][0][0][0] }}`, `{{ undefined.a.b }}`,
	`{{ messages | tojson(indent=1000000000) }}`, `{% set l = [] %}{% set _ = l.append(l) %}{{ l }}`, `{% set l = [] %}{% for i in range(100000) %}{% set _ = l.append(l | list) %}{% endfor %}{{ l | length }}`, `{% set d = {} %}{% set _ = d.update({"d": d}) %}{{ d | tojson }}`,
	`{{ strftime_now("%Y" * 1000000) }}`, `{{ range(9223372036854775807) | list | length }}`, `{{ range(0, 10, 0) | list }}`, `{{ "a,b" | map("nosuch") | list }}`, `{{ ("a" * 100000).split("") }}`, `{{ ("ab" * 100000).split("a") | join("c" * 10000) }}`, `{{ "a" | string | list | sort | unique | nosuch }}`,
	strings.Repeat("{{ (", 50_000), "{{ " + strings.Repeat("(", 100_000) + "1" + strings.Repeat(")", 100_000) + " }}", "{{ " + strings.Repeat("not ", 100_000) + "1 }}", "{{ " + strings.Repeat("-", 100_000) + "1 }}", "{{ 1" + strings.Repeat("+1", 200_000) + " }}", "{{ " + strings.Repeat("[", 100_000) + strings.Repeat("]", 100_000) + " }}",
	strings.Repeat("{% if 1 %}", 50_000) + strings.Repeat("{% endif %}", 50_000), strings.Repeat("{% for i in [1,2] %}", 40) + "x" + strings.Repeat("{% endfor %}", 40), "{{ x" + strings.Repeat("|trim", 100_000) + " }}", "{{ x" + strings.Repeat(".a", 100_000) + " }}",
	strings.Repeat("x", 10<<20), "\xff\xfe{{ 1 }}", "{{ '\\ud800' }}", "{{ '\x00' }}", "{% raw %}", "{% set x %}", "{{ loop }}", "{% for a, b in [1] %}{% endfor %}", "{% for m in messages recursive %}{{ loop(messages) }}{% endfor %}", "{% generation %}", "{%- call(x) f() -%}", "{{ messages | groupby('role') | batch(0) | list }}",
}

func chatCases() (list []hostile) {
	base := clean()
	run := []string{"generate", "model", "--chat", "-p", "hello", "-n", "1", "--json", "-q"}
	for i, text := range templates {
		add := func(where string, make func() input) {
			list = append(list, hostile{name: fmt.Sprintf("%d %s, in %s", i, text[:min(len(text), 40)], where), ok: sane, runs: [][]string{run}, make: make})
		}
		if i%3 > 0 {
			add("a file", func() input { return base.file("model/chat_template.jinja", []byte(text)) })
			continue
		}
		raw, err := json.Marshal(text)
		if err != nil {
			panic(err)
		}
		add("tokenizer_config.json", func() input {
			in := base.without("model/chat_template.jinja")
			return in.file("model/tokenizer_config.json", slices.Concat([]byte(`{"chat_template":`), raw, []byte(","), in["model/tokenizer_config.json"].data[1:]))
		})
	}
	for _, v := range []string{"null", "one", "deep list", "empty list", "null list", "empty object", "escape", "long list"} {
		list = append(list, hostile{name: "chat_template is " + v, ok: sane, runs: [][]string{run}, make: func() input {
			in := base.without("model/chat_template.jinja")
			return in.file("model/tokenizer_config.json", []byte(`{"chat_template":`+values[v]+`,`+string(in["model/tokenizer_config.json"].data[1:])))
		}})
	}
	for name, e := range special() {
		list = append(list, hostile{name: "the file is " + name, ok: sane, runs: [][]string{run}, make: func() input {
			return base.with("model/chat_template.jinja", e).with("model/loop", entry{mode: fs.ModeSymlink, to: "chat_template.jinja"})
		}})
	}
	for i, vars := range []string{"{", "null", "[]", `{"messages":1}`, `{"add_generation_prompt":"\u001b"}`, `{"a":` + strings.Repeat("[", 9000) + strings.Repeat("]", 9000) + "}"} {
		list = append(list, hostile{name: fmt.Sprintf("variables %d", i), ok: sane, runs: [][]string{append(slices.Clone(run), "--chat-vars", vars)}, make: func() input { return base }})
	}
	return list
}

func generationCases() (list []hostile) {
	base := clean()
	const file = "model/generation_config.json"
	raw := base[file].data
	for _, c := range changes(random("generation"), raw, 45) {
		list = append(list, hostile{name: c.name, ok: sane, runs: [][]string{generate()}, make: func() input { return base.file(file, c.make()) }})
	}
	for name, e := range special() {
		list = append(list, hostile{name: "the file is " + name, ok: sane, runs: [][]string{generate()}, make: func() input {
			return base.with(file, e).with("model/loop", entry{mode: fs.ModeSymlink, to: "generation_config.json"})
		}})
	}
	for i, more := range []string{`"num_beams":4`, `"\u001b[31m":1`, `"no_repeat_ngram_size":1000000000`, `"min_length":1000000000`, `"eos_token_id":[` + strings.Repeat("1,", 1<<18) + `1]`, `"suppress_tokens":[` + strings.Repeat("3,", 1<<18) + `99999999]`, `"repetition_penalty":1e-300`, `"bad_words_ids":[[1]]`} {
		list = append(list, hostile{name: fmt.Sprintf("with %d %s", i, more), ok: sane, runs: [][]string{generate()}, make: func() input { return base.file(file, []byte("{"+more+"}")) }})
	}
	slices.SortStableFunc(list, func(a, b hostile) int { return strings.Compare(a.name, b.name) })
	return list
}
