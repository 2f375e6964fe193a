//go:build unix

package hostile

import (
	"bytes"
	"fmt"
	"strings"
)

func init() { kinds["card"] = cardCases }

// cardCases have cards beside a model that are none, or too much of one, and lineages of which a card is to be written.
func cardCases() (list []hostile) {
	head := func(text string) string { return "---\n" + text + "\n---\n# A model\n" }
	bomb := "a: &a [x,x,x,x,x,x,x,x,x]\n"
	for i := range 20 {
		bomb += fmt.Sprintf("%c: &%[1]c [%s]\n", 'b'+i, strings.TrimSuffix(strings.Repeat(fmt.Sprintf("*%c,", 'a'+i), 9), ","))
	}
	for name, text := range map[string]string{
		"aliases of aliases": head(bomb + "license: *u\nlanguage: [*u, *t]"), "an alias of itself": head("license: &a [*a]"), "a merge key of aliases": head(bomb + "<<: *u"),
		"a million brackets": head("license: " + strings.Repeat("[", 1<<20)), "a million levels": head(strings.Repeat("- ", 1<<19)), "a million keys": head(strings.Repeat("a: b\n", 1<<17)), "a million licences": head("license: [" + strings.Repeat("mit,", 1<<17) + "mit]"),
		"no end": "---\n" + strings.Repeat("license: mit\n", 1<<20), "30 MB": head("license: mit") + strings.Repeat("x", 30<<20), "a name of a megabyte": head("base_model: owner/" + strings.Repeat("x", 1<<19)),
		"escapes": head("license: \"\\e[31mred\"\nlanguage: [\"\\e]0;x\\a\"]\nlicense_name: \"\\r\\e[K\""), "bytes": head("license: \xff\xfe\x00\x80"), "zeros": strings.Repeat("\x00", 1<<20), "tags": head("license: !!binary aGVsbG8=\nlanguage: !!python/object/apply:os.system [x]\nbase_model: !<tag:x> a/b"),
		"paths": head("license_link: ../../outside.txt\nbase_model: /etc/hostname"), "another type": head("- a\n- b"), "numbers": head("license: 1e999\nlanguage: 0x7fffffffffffffffffff\nbase_model: .nan"), "two documents": head("license: mit\n...\n--- \nlicense: x"),
		"the line of a card of vkcome's": "# x\n<!-- vkcome card 1; base_model is the model that was pruned; SHA-256 of all before: " + strings.Repeat("0", 64) + " -->\n",
	} {
		list = append(list, hostile{name: name, ok: same, clean: clean, runs: [][]string{prune()}, make: func() input { return clean().file("model/README.md", []byte(text)) }})
		list = append(list, hostile{name: name + ", of the card verb", ok: sane, runs: [][]string{{"card", "small", "-o", "out.md", "-q"}}, make: func() input { return written().file("small/README.md", []byte(text)) }},
			hostile{name: name + ", where a card is to be written", ok: never, runs: [][]string{{"card", "small", "-q"}}, make: func() input { return written().file("small/README.md", []byte(text)) }})
	}
	made := written()
	for _, c := range changes(random("card"), made["small/vkcome.json"].data, 40) {
		list = append(list, hostile{name: "lineage: " + c.name, ok: sane, runs: [][]string{{"card", "small", "-o", "out.md", "-q"}}, make: func() input { return made.file("small/vkcome.json", c.make()) }})
	}
	deep := bytes.TrimRight(made["small/vkcome.json"].data, "}\n ")
	for range 200 {
		deep = append(append(deep, `, "previous": `...), bytes.TrimRight(made["small/vkcome.json"].data, "}\n ")...)
	}
	deep = append(deep, strings.Repeat("}", 201)...)
	list = append(list, hostile{name: "200 lineages before", ok: sane, runs: [][]string{{"card", "small", "-o", "out.md", "-q"}}, make: func() input { return made.file("small/vkcome.json", deep) }})
	list = append(list, hostile{name: "results of somebody else", ok: never, runs: [][]string{{"card", "small", "--results", "r.json", "-o", "out.md", "-q"}}, make: func() input { return made.file("r.json", []byte(results)) }})
	return list
}
