package tokenizer

import (
	"bytes"
	"errors"
	"fmt"
	"strings"

	"github.com/vkcome/vkcome/model/files"
)

// file makes of a folder's files a tokenizer.json, and names the file that it came of.
func (c *class) file(f *Files) (*file, string, error) {
	var out *file
	var err error
	source := jsonFile
	switch {
	case f.JSON != nil:
		out, err = parseFile(f.JSON, c.rules == nil)
	case f.Model != nil && c.pieces:
		source = modelFile
		out, err = parsePieces(f.Model, c)
	case f.Vocab != nil && c.vocab && f.Model == nil:
		source = vocabFile
		out, err = parseVocab(f.Vocab, f.Merges)
	default:
		source, err = configFile, fmt.Errorf("tokenizer_class %s reads neither of the files there are; %s is missing", c.name, jsonFile)
	}
	if err != nil {
		return nil, source, inFile(source, err)
	}
	return out, source, nil
}

// parseVocab reads vocab.json and merges.txt, as GPT-2 has them: a line "#version", then a pair on each.
func parseVocab(vocab, lines []byte) (*file, error) {
	f := &file{}
	if err := files.JSON(vocab, &f.Model.Vocab); err != nil {
		return nil, err
	}
	if lines == nil {
		return nil, &fileError{mergesFile, errors.New("it is missing, and without it " + vocabFile + " tells no ids")}
	}
	if n := bytes.Count(lines, []byte("\n")); n > maxMerges {
		return nil, &fileError{mergesFile, fmt.Errorf("%d lines, expected at most %d", n, maxMerges)}
	}
	for i, line := range strings.Split(strings.TrimSuffix(string(lines), "\n"), "\n") {
		line = strings.TrimSuffix(line, "\r")
		if strings.HasPrefix(line, "#version") {
			continue
		}
		pair := strings.Split(line, " ")
		if len(pair) != 2 {
			return nil, &fileError{mergesFile, fmt.Errorf("line %d: %q is not a pair", i+1, short(line))}
		}
		f.Model.Merges = append(f.Model.Merges, [2]string(pair))
	}
	return f, nil
}
