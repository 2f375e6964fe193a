// Package shells holds the scripts by which shells complete vkcome. Each hands the words of the command line to vkcome itself, and shows what
// it answers: the files beside this one know how their shell does that, and nothing of vkcome's verbs and flags.
package shells

import (
	_ "embed"
	"maps"
	"slices"
)

var (
	//go:embed vkcome.bash
	bash string
	//go:embed vkcome.zsh
	zsh string
	//go:embed vkcome.fish
	fish string
	//go:embed vkcome.ps1
	powershell string
)

var scripts = map[string]string{"bash": bash, "zsh": zsh, "fish": fish, "powershell": powershell}

// Names lists the shells.
func Names() []string { return slices.Sorted(maps.Keys(scripts)) }

// Script is that of a shell.
func Script(shell string) (script string, ok bool) {
	script, ok = scripts[shell]
	return script, ok
}
