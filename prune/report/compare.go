// Package report writes what prune found for people and for other programs.
package report

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"github.com/vkcome/vkcome/prune"
	"github.com/vkcome/vkcome/vk"
)

// Formats are the names that Compare knows, the default first.
var Formats = []string{"md", "csv", "json"}

// Compare writes a comparison: as a Markdown table with the unpruned model first, as CSV with a header, or as JSON.
func Compare(c *prune.Comparison, format string) ([]byte, error) {
	var out bytes.Buffer
	switch format {
	case "md":
		markdown(&out, c)
	case "csv":
		w := csv.NewWriter(&out)
		rows := [][]string{{"method", "layers", "perplexity", "parameters", "sparsity", "bytes", "seconds", "tree", "error"}}
		for _, r := range append([]prune.Compared{c.Dense}, c.Rows...) {
			row := []string{r.Method, strconv.Itoa(r.Layers), "", "", "", "", "", "", r.Error}
			if r.Error == "" {
				tree, err := json.Marshal(r.Tree)
				if err != nil {
					return nil, err
				}
				copy(row[2:], []string{number(r.Perplexity, -1), strconv.FormatInt(r.Parameters, 10), number(r.Sparsity, -1), strconv.FormatInt(r.Bytes, 10), number(r.Seconds, 3), string(tree)})
			}
			rows = append(rows, row)
		}
		if err := w.WriteAll(rows); err != nil {
			return nil, err
		}
	case "json":
		enc := json.NewEncoder(&out)
		enc.SetIndent("", " ")
		if err := enc.Encode(c); err != nil {
			return nil, err
		}
	default:
		return nil, fmt.Errorf("report: format %q, expected %s", format, strings.Join(Formats, ", "))
	}
	return out.Bytes(), nil
}

func number(v float64, digits int) string { return strconv.FormatFloat(v, 'f', digits, 64) }

func markdown(out *bytes.Buffer, c *prune.Comparison) {
	out.WriteString("| layers | method | perplexity | parameters | removed | weights | time |\n|---:|---|---:|---:|---:|---:|---:|\n")
	for _, r := range append([]prune.Compared{c.Dense}, c.Rows...) {
		if r.Error != "" {
			fmt.Fprintf(out, "| %d | %s | %s | | | | |\n", r.Layers, r.Method, strings.ReplaceAll(strings.ReplaceAll(r.Error, "|", `\|`), "\n", " "))
			continue
		}
		fmt.Fprintf(out, "| %d | %s | %.3f | %.2f M | %.1f %% | %s | %.1f s |\n", r.Layers, r.Method, r.Perplexity, float64(r.Parameters)/1e6, 100*r.Sparsity, vk.Bytes(r.Bytes), r.Seconds)
	}
}
