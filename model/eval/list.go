package eval

import (
	"fmt"
	"strings"

	"github.com/vkcome/vkcome/model/eval/task"
)

// Listed is what there is to know of a task or a group.
type Listed struct {
	Name    string   `json:"name"`
	Version string   `json:"version"`
	Output  string   `json:"output_type,omitempty"` // of a task
	Dataset string   `json:"dataset,omitempty"`
	Config  string   `json:"config,omitempty"`
	Split   string   `json:"split,omitempty"` // that is evaluated
	Shots   string   `json:"fewshot_split,omitempty"`
	Groups  []string `json:"groups,omitempty"`  // that a task is in
	Members []string `json:"members,omitempty"` // of a group
}

// List lists all tasks and then all groups, by name.
func List() []Listed {
	var list []Listed
	in := map[string][]string{}
	for _, g := range task.Groups() {
		for _, t := range g.Tasks {
			in[t.Name] = append(in[t.Name], g.Name)
		}
	}
	for _, t := range task.Tasks() {
		list = append(list, Listed{
			Name: t.Name, Version: fmt.Sprint(t.Version), Output: string(t.Output), Dataset: t.Dataset.IDs[0], Config: t.Dataset.Config,
			Split: t.Dataset.Test, Shots: t.Dataset.Shots, Groups: in[t.Name],
		})
	}
	for _, g := range task.Groups() {
		list = append(list, Listed{Name: g.Name, Version: g.Version, Members: g.Members})
	}
	return list
}

// ListTable is List as two Markdown tables.
func ListTable() string {
	tasks := table{head: []string{"Task", "Version", "Output type", "Data set", "Split", "Examples", "Groups"}, text: []bool{true, false, true, true, true, true, true}}
	groups := table{head: []string{"Group", "Version", "Members"}, text: []bool{true, false, true}}
	for _, l := range List() {
		if l.Output == "" {
			groups.add(l.Name, l.Version, clip(l.Members))
			continue
		}
		tasks.add(l.Name, l.Version, l.Output, strings.TrimSuffix(l.Dataset+" "+l.Config, " "), l.Split, l.Shots, strings.Join(l.Groups, ", "))
	}
	return tasks.String() + "\n" + groups.String()
}
