// Command quality measures what methods leave of a real model: SmolLM2-135M-Instruct at several depths, as each method leaves it, repaired in closed
// form, and trained after that. It runs the built vkcome for every step, and writes a table as Markdown and JSON.
//
//	make quality                                      all rows, which takes many hours; what is done is kept, so it may be stopped
//	go run ./.ci/quality -methods come,shortgpt -depths 21 -for 1h     some rows, and no new step after an hour
//	go run ./.ci/quality -list                        the rows, what of them is done, and the commands that are left
//	go run ./.ci/quality -table                       the table of what is done
//
// A row is a name and the commands that make a model (rows.go), to which -rows adds others. Its record, OUT/rows/NAME.json, has every command with the
// seconds that it took. A row that is there is kept; remove its record to measure it again.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// settings are what the flags say.
type settings struct {
	data, out, vkcome, model string
	docs                     int
	tokens, window, windows  int
	measures                 []string
	until                    time.Time // no step begins after it; zero: no end
	heal, auto               time.Duration
	healSteps                int // instead of heal: the same work on every machine
	keep                     bool
	told                     io.Writer // what is going on
}

func main() {
	s := settings{told: os.Stderr}
	methods := flag.String("methods", "", "methods, by commas, and recommended (prune without a method) and auto (default all)")
	repairs := flag.String("repairs", "", "what follows the method: "+strings.Join(repairNames(), ",")+" (default all)")
	depths := flag.String("depths", "24,21", "layers that are left")
	measures := flag.String("measures", "windows,tasks", "what is measured: windows (some of each text), texts (the whole texts), tasks")
	rowsFile := flag.String("rows", "", "JSON file of more rows: "+`[{"name": "…", "layers": 21, "commands": ["prune {model} {out} …"]}]`)
	only := flag.Bool("only", false, "with -rows: no others")
	limit := flag.Duration("for", 0, "begin no step after this time (default: until all are done)")
	list := flag.Bool("list", false, "list the rows and what is left to do")
	tableOnly := flag.Bool("table", false, "write the table of what is done")
	flag.StringVar(&s.data, "data", "../shared", "folder of text/ and eval-data/")
	flag.StringVar(&s.out, "out", ".quality", "folder of the model, the rows and the table")
	flag.StringVar(&s.vkcome, "vkcome", "bin/vkcome", "the program")
	flag.StringVar(&s.model, "model", "", "the model (default SmolLM2-135M-Instruct, downloaded into the folder)")
	flag.IntVar(&s.docs, "docs", 200, "documents of each task")
	flag.IntVar(&s.tokens, "tokens", 16384, "tokens of calibration")
	flag.IntVar(&s.window, "window", 512, "tokens of a window, of calibration and of perplexity")
	flag.IntVar(&s.windows, "windows", 8, "windows of each text whose perplexity is measured, chosen at random by a fixed seed")
	flag.DurationVar(&s.heal, "heal", 30*time.Minute, "time for training a model")
	flag.IntVar(&s.healSteps, "heal-steps", 0, "instead of -heal: train all weights in so many steps of two windows")
	flag.DurationVar(&s.auto, "auto", 15*time.Minute, "time for vkcome auto")
	flag.BoolVar(&s.keep, "keep", false, "keep the models of rows that are done")
	flag.Parse()
	s.measures = strings.Split(*measures, ",")
	if *limit > 0 {
		s.until = time.Now().Add(*limit)
	}
	if flag.NArg() > 0 {
		fmt.Fprintln(os.Stderr, "quality: no arguments expected, only flags:", flag.Args())
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	err := func() error {
		chosen, others, err := choose(split(*methods), split(*repairs), split(*depths))
		if err != nil {
			return err
		}
		if *rowsFile != "" {
			more, err := readRows(*rowsFile)
			if err != nil {
				return err
			}
			if *only { // and the dense model, which all are measured by
				chosen, others = chosen[:1], append(others, chosen[1:]...)
			}
			chosen = append(chosen, more...)
		}
		b, err := newBench(s, chosen, others)
		switch {
		case err != nil:
			return err
		case *list:
			return b.list(os.Stdout)
		case *tableOnly:
			return b.writeTable()
		}
		return b.run(ctx)
	}()
	if err != nil {
		fmt.Fprintln(os.Stderr, "quality:", err)
		os.Exit(1)
	}
}

func split(list string) []string {
	return slices.DeleteFunc(strings.Split(list, ","), func(s string) bool { return s == "" })
}

// path is a file in the output folder.
func (s *settings) path(parts ...string) string {
	return filepath.Join(append([]string{s.out}, parts...)...)
}
