package corpus

import (
	"slices"
	"strings"
	"testing"
)

// layouts are folders as they are found, what is asked of them, and the files that are meant; "!" begins an error. testdata/layout.py
// compares those without a config of their own with datasets.
var layouts = []struct {
	files, card, want string
	test              bool
	result            string
}{
	// Nothing speaks of splits.
	{files: "a.txt b/c.jsonl dataset_infos.json README.md LICENSE state.json", result: "a.txt b/c.jsonl"},
	{files: "a.txt b/c.jsonl", test: true, result: "a.txt b/c.jsonl"},
	{files: "000_00000.parquet 001_00000.parquet", result: "000_00000.parquet 001_00000.parquet"},
	{files: "books-00000-of-00002.parquet books-00001-of-00002.parquet", test: true, result: "books-00000-of-00002.parquet books-00001-of-00002.parquet"},
	{files: "a.txt", want: "test", result: `!no split "test"; nothing in the names`},
	// Splits in the names of files.
	{files: "data/train-00000-of-00002.parquet data/train-00001-of-00002.parquet data/test-00000-of-00001-29a5.parquet extra.txt", result: "data/train-00000-of-00002.parquet data/train-00001-of-00002.parquet -extra.txt"},
	{files: "data/train-00000-of-00001.parquet data/test-00000-of-00001.parquet", test: true, result: "data/test-00000-of-00001.parquet"},
	{files: "data/train_sft-00000-of-00001.parquet data/test_sft-00000-of-00001.parquet data/train_gen-00000-of-00001.parquet", result: "!no split train; name one that it has as DIR:SPLIT: test_sft, train_gen, train_sft"},
	{files: "data/train_sft-00000-of-00001.parquet data/test_sft-00000-of-00001.parquet", want: "train_sft", result: "data/train_sft-00000-of-00001.parquet"},
	{files: "all/dev-00000-of-00001.parquet all/auxiliary_train-00000-of-00001.parquet all/validation-00000-of-00001.parquet", test: true, result: "all/validation-00000-of-00001.parquet"},
	{files: "all/dev-00000-of-00001.parquet all/auxiliary_train-00000-of-00001.parquet", want: "validation", result: "all/dev-00000-of-00001.parquet"},
	{files: "train.jsonl valid.jsonl", test: true, result: "valid.jsonl"},
	{files: "train.jsonl valid.jsonl", want: "test", result: `!no split "test"; it has train, validation`},
	{files: "train.jsonl", test: true, result: "!no split test or validation; name one that it has as DIR:SPLIT: train"},
	{files: "train.jsonl", test: true, want: "train", result: "train.jsonl"},
	{files: "test.jsonl", result: "!no split train; name one that it has as DIR:SPLIT: test"},
	{files: "en/c4-train.00000-of-01024.json.gz en/c4-validation.00000-of-00008.json.gz", result: "en/c4-train.00000-of-01024.json.gz"},
	{files: "my_train_file.txt wiki-eval.txt", test: true, result: "wiki-eval.txt"},
	{files: "training2.txt testing_1.txt", result: "training2.txt"},
	{files: "restraint.txt protest.txt devotion.txt", result: "devotion.txt protest.txt restraint.txt"},
	{files: "train_test.txt a.txt", result: "!train_test.txt: its name speaks of the splits train and test"},
	// Splits in the names of folders.
	{files: "train/chunk1/example_0.jsonl.zst test/chunk1/example_0.jsonl.zst", result: "train/chunk1/example_0.jsonl.zst"},
	{files: "train/neg/a.txt train/pos/a.txt test/pos/b.txt", test: true, result: "test/pos/b.txt"},
	{files: "x/train/a.txt x/eval/b.txt c.txt", test: true, result: "x/eval/b.txt -c.txt"},
	{files: "test/train.txt test/b.txt", test: true, result: "test/b.txt test/train.txt"},
	// The same split in several folders.
	{files: "a/train-00000-of-00001.parquet b/train-00000-of-00001.parquet b/test-00000-of-00001.parquet", result: "!split train is in several folders; name one of them: a, b"},
	{files: "a/train.txt b/train.txt", result: "!in several folders"},
	// What the README says.
	{card: "configs:\n- config_name: default\n  data_files:\n  - split: train\n    path: data/part-*\n  - split: test\n    path: data/held-*", files: "data/part-0.parquet data/part-1.parquet data/held-0.parquet", result: "data/part-0.parquet data/part-1.parquet"},
	{card: "configs:\n- config_name: a\n  data_files: a/*.txt\n- config_name: b\n  data_files: ['b/**', 'c.txt']", files: "a/1.txt b/x/2.txt c.txt", result: "!it has several configs; name one as DIR:CONFIG or DIR:CONFIG:SPLIT: a, b"},
	{card: "configs:\n- config_name: a\n  data_files: a/*.txt\n- config_name: b\n  data_files: ['b/**', 'c.txt']", files: "a/1.txt b/x/2.txt c.txt", want: "b", result: "b/x/2.txt c.txt"},
	{card: "configs:\n- config_name: a\n  data_files: a/*.txt\n- config_name: b\n  data_files: b/*\n  default: true", files: "a/1.txt b/2.txt", want: "a:train", result: "a/1.txt"},
	{card: "configs:\n- config_name: a\n  data_files: a/*.txt\n- config_name: b\n  data_files: b/*\n  default: true", files: "a/1.txt b/2.txt", result: "b/2.txt"},
	{card: "configs:\n- config_name: a\n  data_files: a/*.txt\n- config_name: b\n  data_files: b/*", files: "b/2.txt", result: "b/2.txt"},
	{card: "configs:\n- config_name: a\n  data_dir: a\n- config_name: b\n  data_dir: b", files: "a/train.txt a/test.txt b/train.txt", want: "a", test: true, result: "a/test.txt"},
	{card: "configs:\n- config_name: a\n  data_files: a/*.txt", files: "a/1.txt", want: "c:train", result: `!no config "c"; it has a`},
	{card: "configs:\n- config_name: a\n  data_files: none/*", files: "train.txt test.txt", result: "train.txt"},
	{card: "configs:\n- config_name: a\n  data_files:\n  - split: train\n    path:\n    - '[ab]/[!x].txt'\n    - c/?.txt", files: "a/1.txt a/x.txt b/2.txt c/3.txt c/33.txt", result: "a/1.txt b/2.txt c/3.txt -a/x.txt -c/33.txt"},
	{card: "configs:\n- data_files: x", files: "a.txt", result: "!README.md: configs: an entry has no config_name"},
	{card: "configs: {", files: "a.txt", result: "!README.md: configs: yaml:"},
	{card: "license: mit", files: "a.txt", result: "a.txt"},
}

func TestLayout(t *testing.T) {
	for _, c := range layouts {
		var card []byte
		if c.card != "" {
			card = []byte("---\n" + c.card + "\n---\n# A data set\n")
		}
		var s split
		l, err := layoutOf(strings.Fields(c.files), card)
		if err == nil {
			_, s, err = l.choose(c.want, c.test)
		}
		if want, ok := strings.CutPrefix(c.result, "!"); ok {
			if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("%s %q: %v, %v; want %q", c.files, c.want, s, err, want)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s %q: %v", c.files, c.want, err)
			continue
		}
		got := slices.Clone(s.files)
		for _, name := range l.left {
			got = append(got, "-"+name)
		}
		if g := strings.Join(got, " "); g != c.result {
			t.Errorf("%s %q: %s; want %s", c.files, c.want, g, c.result)
		}
	}
}

func FuzzLayout(f *testing.F) {
	for _, c := range layouts {
		f.Add(c.files, c.card, c.want)
	}
	f.Fuzz(func(t *testing.T, files, card, want string) {
		names := strings.Fields(files)
		l, err := layoutOf(names, []byte("---\n"+card+"\n---\n"))
		if err != nil {
			return
		}
		for _, test := range []bool{false, true} {
			if _, s, err := l.choose(want, test); err == nil {
				for _, file := range s.files {
					if !slices.Contains(names, file) {
						t.Errorf("%q is not among %q", file, names)
					}
				}
			}
		}
	})
}
