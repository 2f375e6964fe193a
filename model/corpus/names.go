package corpus

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/vkcome/vkcome/model/hub"
)

// dataset is a corpus that is known by a name.
type dataset struct {
	repos  []string          // on the hub; a cache may have it by an earlier name
	splits map[string]string // name: the pattern of its files
	test   string            // the split that models are evaluated on
	form   form
}

// datasets are the corpora by name. Of those too large for one file, the first is taken, as the literature does with C4.
var datasets = map[string]dataset{
	"wiki2": {
		repos: []string{"Salesforce/wikitext", "wikitext"},
		splits: map[string]string{
			"train": "wikitext-2-raw-v1/train-*.parquet", "validation": "wikitext-2-raw-v1/validation-*.parquet", "test": "wikitext-2-raw-v1/test-*.parquet",
		},
		test: "test",
		form: oneField("text"),
	},
	"c4": {
		repos:  []string{"allenai/c4"},
		splits: map[string]string{"train": "en/c4-train.00000-of-*.json.gz", "validation": "en/c4-validation.00000-of-*.json.gz"},
		test:   "validation",
		form:   oneField("text"),
	},
	"pg19": {
		repos:  []string{"emozilla/pg19"},
		splits: map[string]string{"train": "data/train-00000-of-*.parquet", "validation": "data/validation-00000-of-*.parquet", "test": "data/test-00000-of-*.parquet"},
		test:   "test",
		form:   oneField("text"),
	},
	"alpaca": {
		repos:  []string{"tatsu-lab/alpaca"},
		splits: map[string]string{"train": "data/train-*.parquet"},
		test:   "train",
		form:   form{fields: []string{"instruction", "input", "output"}, text: alpacaText},
	},
	"mmlu": {
		repos: []string{"cais/mmlu"},
		splits: map[string]string{
			"train": "all/auxiliary_train-*.parquet", "dev": "all/dev-*.parquet", "validation": "all/validation-*.parquet", "test": "all/test-*.parquet",
		},
		test: "test",
		form: form{fields: []string{"question", "choices", "answer"}, text: mmluText},
	},
}

// Names lists the corpora that are known by name.
func Names() []string { return slices.Sorted(maps.Keys(datasets)) }

// alpacaText is an instruction, its input if it has one, and the output, each from a new line on.
func alpacaText(values []any) (string, error) {
	var parts []string
	if values[1] == nil {
		values[1] = ""
	}
	for i, name := range []string{"instruction", "input", "output"} {
		text, err := asText(name, values[i])
		if err != nil {
			return "", err
		}
		if text != "" {
			parts = append(parts, text)
		}
	}
	return strings.Join(parts, "\n"), nil
}

// mmluText is a question, its choices by letter, and the letter of the right one (Hendrycks et al. 2021, arXiv 2009.03300).
func mmluText(values []any) (string, error) {
	question, err := asText("question", values[0])
	if err != nil {
		return "", err
	}
	if values[1] == nil || values[2] == nil {
		return "", errNull
	}
	choices, ok := values[1].([]string)
	if !ok || len(choices) == 0 || len(choices) > 26 {
		return "", fmt.Errorf("field %q is %s, expected a list of 1 to 26 texts", "choices", describe(values[1]))
	}
	answer, ok := values[2].(int64)
	if n, float := values[2].(float64); float {
		answer, ok = int64(n), n == float64(int64(n))
	}
	if !ok || answer < 0 || answer >= int64(len(choices)) {
		return "", fmt.Errorf("field %q is %v, expected 0 to %d", "answer", values[2], len(choices)-1)
	}
	text := question
	for i, choice := range choices {
		text += fmt.Sprintf("\n%c. %s", 'A'+i, choice)
	}
	return text + fmt.Sprintf("\nAnswer: %c", rune('A'+answer)), nil
}

// lookup finds a data set and the split of a name such as wiki2 or wiki2:test; test says which split a name alone means.
func lookup(name string, test bool) (d dataset, split string, ok bool, err error) {
	base, split, given := strings.Cut(name, ":")
	if d, ok = datasets[base]; !ok {
		return d, "", false, nil
	}
	if !given {
		if split = "train"; test {
			split = d.test
		}
	}
	if d.splits[split] == "" {
		return d, "", true, fmt.Errorf("corpus %s has no split %q; it has %s", base, split, strings.Join(slices.Sorted(maps.Keys(d.splits)), ", "))
	}
	return d, split, true, nil
}

// repo is the repository that the cache has, else the first, to be fetched.
func (d dataset) repo(h hub.Hub) hub.Repo {
	for _, id := range d.repos {
		r := hub.Repo{Kind: hub.Datasets, ID: id}
		if _, err := h.Snapshot(r); err == nil {
			return r
		}
	}
	return hub.Repo{Kind: hub.Datasets, ID: d.repos[0]}
}
