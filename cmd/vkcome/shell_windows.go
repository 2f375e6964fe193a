package main

import "strings"

// quotedWord is a word as cmd and PowerShell take it, unless it has a percent sign or a dollar that they would replace.
func quotedWord(word string) string {
	if rest := strings.TrimRight(word, `\`); rest != word { // before a quote they would be taken for its escape
		word += word[len(rest):]
	}
	return `"` + strings.ReplaceAll(word, `"`, `\"`) + `"`
}
