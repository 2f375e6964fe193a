package prune

import (
	"fmt"

	"github.com/vkcome/vkcome/model"
	"github.com/vkcome/vkcome/prune/distill"
	"github.com/vkcome/vkcome/prune/work"
)

// pair is what is known of a student that learns from a teacher, or is fitted to it.
type pair struct {
	lineage Lineage // the student's, empty but for its tree if it has none
	own     []byte  // the same as it stands, nil if there is none
	root    int     // layers of the model that the tree's numbers mean
	option  string  // the Go name of the option that gives the correspondence, for messages
}

func newPair(student *model.Model, option string) (p pair, err error) {
	tree, root, own, err := readLineage(student)
	if err != nil {
		return p, err
	}
	p.own, p.root, p.option = own, root, option
	if own == nil {
		p.lineage = Lineage{Version: Version, OriginalLayers: len(student.Layers), Tree: tree}
	} else {
		l, err := ParseLineage(own)
		if err != nil {
			return p, fmt.Errorf("prune: %s/%s: %w", student.Name, model.Lineage, err)
		}
		p.lineage = *l
	}
	return p, nil
}

// groups are those given, or what the student's lineage says.
func (p pair) groups(teacher, student *model.Model, given []distill.Group) ([]distill.Group, error) {
	switch {
	case given != nil:
		return given, nil
	case p.own == nil:
		return nil, fmt.Errorf("prune: %s has no %s that says where its layers come from: give the correspondence (%s 3=4-5)", student.Name, model.Lineage, p.option)
	case p.root != len(teacher.Layers):
		return nil, fmt.Errorf("prune: the layers of %s come from a model of %d layers, %s has %d", student.Name, p.root, teacher.Name, len(teacher.Layers))
	}
	return distill.Groups(p.lineage.Tree, p.root), nil
}

// sources are the two models.
func (p pair) sources(teacher, student *model.Model) []source {
	return []source{{teacher.Name, teacher}, {student.Name, student}}
}

// tellOrigin says so if the teacher is not what the student was made of.
func (p pair) tellOrigin(d *driver, teacher, student *model.Model) {
	if made := p.lineage.Source.SHA256; made != "" && made != d.hashes[0] && p.lineage.Previous == nil {
		d.output.Note(fmt.Sprintf("%s is not the model that %s was made of: their hashes differ", teacher.Name, student.Name))
	}
}

// fields are what the result depends on of the models, by their hashes, the teacher's first.
func (p pair) fields(hashes []string, groups []distill.Group) []work.Field {
	return []work.Field{
		{Name: "vkcome", Value: Version}, {Name: "the teacher", Value: hashes[0]}, {Name: "the student", Value: hashes[1]},
		{Name: "the student's " + model.Lineage, Value: hashBytes(p.own)}, option("map", fmt.Sprint(groups)),
	}
}
