package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/vkcome/vkcome/prune/method"
)

// row is a line of the table: a model, and the commands of vkcome that make it. In these {model} is the dense model, {out} the row's, {NAME} that of
// another row, which is made before, {calibration} the corpus of calibration, {calibration-texts} its texts alone, {window} the
// tokens of a window, {training} how a model is trained, {budget} the time for that, and {auto} that for a search.
type row struct {
	Name     string   `json:"name"`
	Method   string   `json:"method"`
	Repair   string   `json:"repair"`
	Layers   int      `json:"layers"`
	Commands []string `json:"commands"`     // of these only the last writes {out}
	On       string   `json:"on,omitempty"` // instead of commands: the row of fewer layers whose run writes this one's model on its way
}

// dense is the row of the model itself, by which the others are measured.
const dense = "dense"

// The rows of what is no method: vkcome auto, which chooses the method and what follows it, and prune without a method, which does what is recommended.
const (
	auto        = "auto"
	recommended = "recommended"
)

// repairs are what may follow a method.
var repairs = []struct{ name, command string }{
	{"plain", "prune {model} {out} --method METHOD --target-layers LAYERS STEPS CORPUS"},
	{"refit", "prune {model} {out} --method METHOD --target-layers LAYERS --refit END STEPS {calibration}"},
	{"refit-end", "prune {model} {out} --method METHOD --target-layers LAYERS --refit --fit-end --projections o,down {calibration}"},
	{"refit+all", "refit {model} {METHOD-LAYERS-refit} {out} --fit-all --projections o,down {calibration}"},
	{"refit+heal", "distill {model} {METHOD-LAYERS-refit} {out} {calibration-texts} --window {window} {training}"},
}

// byTarget says of a method that its steps depend on how many layers are to be left: a model on the way to fewer is not the one of its number of layers.
func byTarget(e method.Entry) bool { return e.Needs().Block || e.Name == "laco" }

func repairNames() (names []string) {
	for _, r := range repairs {
		names = append(names, r.name)
	}
	return names
}

// choose makes the rows of these methods, repairs and depths, none of them meaning all, behind that of the dense model: by depth, then by repair, so
// that a table that was stopped has what is cheap of every method. others are those that were not chosen, of whose models chosen ones may be made.
func choose(methods, which, depths []string) (rows, others []row, err error) {
	var entries []method.Entry
	for _, e := range method.Registry {
		if e.Needs().Target == nil { // drop is told which layers
			entries = append(entries, e)
		}
	}
	for _, name := range methods {
		if name != auto && name != recommended && !slices.ContainsFunc(entries, func(e method.Entry) bool { return e.Name == name }) {
			return nil, nil, fmt.Errorf("-methods: there is no method %q", name)
		}
	}
	for _, name := range which {
		if !slices.Contains(repairNames(), name) {
			return nil, nil, fmt.Errorf("-repairs: %q, expected some of %s", name, strings.Join(repairNames(), ", "))
		}
	}
	rows = []row{{Name: dense, Method: dense}}
	numbers := make([]int, len(depths))
	for i, depth := range depths {
		if numbers[i], err = strconv.Atoi(depth); err != nil || numbers[i] < 1 {
			return nil, nil, fmt.Errorf("-depths: %q, expected a number of layers", depth)
		}
	}
	if len(numbers) == 0 {
		return nil, nil, errors.New("-depths: expected some numbers of layers")
	}
	deepest := slices.Min(numbers)
	for i, depth := range depths {
		layers := numbers[i]
		for _, r := range repairs {
			for _, e := range entries {
				n := e.Needs()
				if (r.name == "plain" || r.name == "refit-end") && n.Refit {
					continue // nothing is fitted after a step, which the method refuses
				}
				corpus, end, steps := "", "", ""
				if n.Corpus {
					corpus = "{calibration}"
				}
				if n.Repairs && r.name == "refit" { // by itself: a fit waits for the end
					end = "--fit-end"
				}
				one := row{Name: e.Name + "-" + depth + "-" + r.name, Method: e.Name, Repair: r.name, Layers: layers}
				if strings.Contains(r.command, "STEPS") && end == "" && len(depths) > 1 && !byTarget(e) {
					steps = "--save-steps"
					if layers > deepest {
						one.On = e.Name + "-" + strconv.Itoa(deepest) + "-" + r.name
					}
				}
				if one.On == "" {
					command := strings.NewReplacer("METHOD", e.Name, "LAYERS", depth, "CORPUS", corpus, "END", end, "STEPS", steps).Replace(r.command)
					one.Commands = []string{strings.Join(strings.Fields(command), " ")}
				}
				if (len(methods) == 0 || slices.Contains(methods, e.Name)) && (len(which) == 0 || slices.Contains(which, r.name)) {
					rows = append(rows, one)
				} else {
					others = append(others, one)
				}
			}
		}
		for _, one := range []row{
			{Name: recommended + "-" + depth, Method: recommended, Repair: "refit+all", Layers: layers, Commands: []string{"prune {model} {out} --target-layers " + depth + " {calibration}"}},
			{Name: auto + "-" + depth, Method: auto, Repair: "chosen", Layers: layers, Commands: []string{"auto {model} {out} --target-layers " + depth + " --budget {auto} {calibration}"}},
		} {
			if len(methods)+len(which) == 0 || slices.Contains(methods, one.Method) {
				rows = append(rows, one)
			} else {
				others = append(others, one)
			}
		}
	}
	return rows, others, nil
}

// rowName is what a row may be called, since files are called so.
var rowName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9+._-]*$`)

// readRows reads rows from a file.
func readRows(path string) (rows []row, err error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(raw, &rows); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	for i := range rows {
		r := &rows[i]
		if !rowName.MatchString(r.Name) || len(r.Commands) == 0 || !strings.Contains(r.Commands[len(r.Commands)-1], "{out}") {
			return nil, fmt.Errorf("%s: row %d, %q: expected a name of letters, digits and +._-, and commands of which the last has {out}", path, i, r.Name)
		}
		if r.Method == "" {
			r.Method = r.Name
		}
	}
	return rows, nil
}

// inBraces is what a row leaves to be filled in of a command: {NAME}.
var inBraces = regexp.MustCompile(`\{([^{}]+)\}`)

// needs are the rows whose models a row is made of, or with one.
func (r *row) needs() (names []string) {
	if r.On != "" {
		names = append(names, r.On)
	}
	for _, c := range r.Commands {
		for _, m := range inBraces.FindAllStringSubmatch(c, -1) {
			if name := m[1]; !slices.Contains([]string{"model", "out", "window", "training", "budget", "auto", "calibration", "calibration-texts"}, name) && !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
	}
	return names
}

// arguments are a command of a row with everything in its place.
func (b *bench) arguments(r *row, command string) []string {
	texts := []string{"--text", filepath.Join(b.data, "text", "train-sample.txt"), "--text", filepath.Join(b.data, "text", "c4-sample.jsonl")}
	var args []string
	for _, word := range strings.Fields(command) {
		switch word {
		case "{calibration}":
			args = append(append(args, texts...), "--window", strconv.Itoa(b.window), "--samples", strconv.Itoa(b.tokens/b.window))
		case "{calibration-texts}":
			args = append(args, texts...)
		case "{training}":
			if b.healSteps > 0 { // of two windows: a step of the default 16 takes as long as most rows
				args = append(args, "--map", "none", "--end-to-end", strconv.Itoa(b.healSteps), "--batch", "2", "--held-out", "2")
			} else {
				args = append(args, "--budget", b.heal.String())
			}
		default:
			args = append(args, inBraces.ReplaceAllStringFunc(word, func(name string) string {
				switch name = name[1 : len(name)-1]; name {
				case "model":
					return b.model
				case "window":
					return strconv.Itoa(b.window)
				case "budget":
					return b.heal.String()
				case "auto":
					return b.auto.String()
				case "out":
					return b.modelOf(r.Name)
				}
				return b.modelOf(name)
			}))
		}
	}
	return args
}
