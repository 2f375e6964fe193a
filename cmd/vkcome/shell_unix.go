//go:build unix

package main

import "strings"

// quotedWord is a word as shells take it, whatever is in it.
func quotedWord(word string) string { return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'" }
