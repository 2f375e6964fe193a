package main

import (
	"fmt"
	"go/types"
	"slices"
	"strings"
)

// promise is what is promised of a package.
type promise struct {
	path   string            // below the module
	all    string            // names with all that belongs to them: fields, methods, constants of a type
	fields string            // structs with all their fields and none of their methods
	parts  map[string]string // types of which only some fields and methods are promised; none: values are only passed on
}

func paths(surface []promise) (list []string) {
	for _, p := range surface {
		list = append(list, p.path)
	}
	return list
}

// covers says how far a name is promised: not at all, in part, or whole.
func covers(surface []promise, path, name string) (named, whole bool) {
	for _, p := range surface {
		if p.path == path {
			_, part := p.parts[name]
			part = part || slices.Contains(strings.Fields(p.fields), name)
			whole = slices.Contains(strings.Fields(p.all), name)
			return part || whole, whole
		}
	}
	return false, false
}

// recorder collects the lines of a surface.
type recorder struct {
	module  string
	surface []promise
	own     *types.Package
	lines   []string
	wrong   []string
}

// lines are those of the record, sorted. wrong says what of the surface does not hold together: a name that is not there, and a type that a
// promised name mentions and nobody promises.
func lines(packages map[string]*types.Package, module string, surface []promise) (list, wrong []string) {
	r := &recorder{module: module, surface: surface}
	for _, p := range surface {
		r.own = packages[p.path]
		scope := r.own.Scope()
		for _, name := range scope.Names() {
			obj := scope.Lookup(name)
			named, whole := covers(surface, p.path, name)
			if c, ok := obj.(*types.Const); ok && !named && obj.Exported() {
				if t, ok := c.Type().(*types.Named); ok && t.Obj().Pkg() == r.own {
					named, _ = covers(surface, p.path, t.Obj().Name())
				}
			}
			if named {
				r.object(p, obj, whole)
			}
		}
		names := slices.Concat(strings.Fields(p.all), strings.Fields(p.fields))
		for name := range p.parts {
			names = append(names, name)
		}
		for _, name := range names {
			if obj := scope.Lookup(name); obj == nil || !obj.Exported() {
				r.wrong = append(r.wrong, fmt.Sprintf("%s.%s: .ci/api/surface.go promises it, and it is not there: put it back, or take it out there, then go run ./.ci/api -write", p.path, name))
			}
		}
	}
	slices.Sort(r.lines)
	slices.Sort(r.wrong)
	return slices.Compact(r.lines), slices.Compact(r.wrong)
}

func (r *recorder) add(format string, args ...any) {
	r.lines = append(r.lines, strings.TrimPrefix(r.own.Path(), r.module+"/")+", "+fmt.Sprintf(format, args...))
}

func (r *recorder) object(p promise, obj types.Object, whole bool) {
	name := obj.Name()
	switch obj := obj.(type) {
	case *types.Const:
		r.add("const %s %s = %s", name, r.text(obj.Type(), name), obj.Val().ExactString())
	case *types.Var:
		r.add("var %s %s", name, r.text(obj.Type(), name))
	case *types.Func:
		r.add("func %s%s", name, r.signature(obj.Signature(), name))
	case *types.TypeName:
		if obj.IsAlias() {
			r.add("type %s = %s", name, r.text(types.Unalias(obj.Type()), name))
			return
		}
		fields := slices.Contains(strings.Fields(p.fields), name)
		r.declared(obj, whole, func(member string, isField bool) bool {
			return whole || fields && isField || slices.Contains(strings.Fields(p.parts[name]), member)
		})
		for _, member := range strings.Fields(p.parts[name]) {
			if found, _, _ := types.LookupFieldOrMethod(obj.Type(), true, r.own, member); found == nil {
				r.wrong = append(r.wrong, fmt.Sprintf("%s.%s.%s: .ci/api/surface.go promises it, and it is not there: put it back, or take it out there, then go run ./.ci/api -write", p.path, name, member))
			}
		}
	}
}

// declared records a type, whole or with the fields and methods that has says.
func (r *recorder) declared(obj *types.TypeName, whole bool, has func(member string, isField bool) bool) {
	name := obj.Name()
	switch u := obj.Type().Underlying().(type) {
	case *types.Struct:
		r.add("type %s struct", name)
		r.fields(name, u, has)
	case *types.Interface:
		r.contract(name, u, whole, has)
		return
	default:
		r.add("type %s %s", name, r.text(u, name))
	}
	values, all := types.NewMethodSet(obj.Type()), types.NewMethodSet(types.NewPointer(obj.Type()))
	for i := range all.Len() {
		m := all.At(i).Obj()
		if !m.Exported() || !has(m.Name(), false) {
			continue
		}
		star := "*"
		if values.Lookup(m.Pkg(), m.Name()) != nil {
			star = ""
		}
		r.add("method (%s%s) %s%s", star, name, m.Name(), r.signature(m.(*types.Func).Signature(), name+"."+m.Name()))
	}
}

// contract records an interface: what other programs may implement on one line, since a method more breaks them; what they only call by method.
func (r *recorder) contract(name string, u *types.Interface, whole bool, has func(string, bool) bool) {
	if whole {
		r.add("type %s %s", name, r.text(u, name))
		return
	}
	r.add("type %s interface", name)
	for i := range u.NumMethods() {
		if m := u.Method(i); has(m.Name(), false) {
			r.add("method (%s) %s%s", name, m.Name(), r.signature(m.Signature(), name+"."+m.Name()))
		}
	}
}

// fields records the exported fields of a struct, and those that an embedded struct without an exported name lends it.
func (r *recorder) fields(name string, s *types.Struct, has func(string, bool) bool) {
	for i := range s.NumFields() {
		f := s.Field(i)
		inner, isStruct := f.Type().Underlying().(*types.Struct)
		switch {
		case f.Exported() && has(f.Name(), true) && f.Embedded():
			r.add("type %s struct, %s %s, embedded", name, f.Name(), r.text(f.Type(), name+"."+f.Name()))
		case f.Exported() && has(f.Name(), true):
			r.add("type %s struct, %s %s", name, f.Name(), r.text(f.Type(), name+"."+f.Name()))
		case !f.Exported() && f.Embedded() && isStruct:
			r.fields(name, inner, has)
		}
	}
}

func (r *recorder) signature(s *types.Signature, of string) string {
	text := "(" + r.tuple(s.Params(), s.Variadic(), of) + ")"
	for i := range s.TypeParams().Len() {
		p := s.TypeParams().At(i)
		text = fmt.Sprintf("[%s %s]", p.Obj().Name(), r.text(p.Constraint(), of)) + text
	}
	switch results := r.tuple(s.Results(), false, of); s.Results().Len() {
	case 0:
		return text
	case 1:
		return text + " " + results
	default:
		return text + " (" + results + ")"
	}
}

func (r *recorder) tuple(t *types.Tuple, variadic bool, of string) string {
	var list []string
	for i := range t.Len() {
		text := r.text(t.At(i).Type(), of)
		if variadic && i == t.Len()-1 {
			text = "..." + strings.TrimPrefix(text, "[]")
		}
		list = append(list, text)
	}
	return strings.Join(list, ", ")
}

// text is a type as Go writes it, without names of parameters; types of this module's other packages have their path in it.
func (r *recorder) text(t types.Type, of string) string {
	switch t := t.(type) {
	case *types.Named:
		return r.name(t.Obj(), t.TypeArgs(), of)
	case *types.Alias:
		return r.name(t.Obj(), t.TypeArgs(), of)
	case *types.Pointer:
		return "*" + r.text(t.Elem(), of)
	case *types.Slice:
		return "[]" + r.text(t.Elem(), of)
	case *types.Array:
		return fmt.Sprintf("[%d]%s", t.Len(), r.text(t.Elem(), of))
	case *types.Map:
		return "map[" + r.text(t.Key(), of) + "]" + r.text(t.Elem(), of)
	case *types.Chan:
		return [...]string{"chan ", "chan<- ", "<-chan "}[t.Dir()] + r.text(t.Elem(), of)
	case *types.Signature:
		return "func" + r.signature(t, of)
	case *types.Interface:
		if t.NumExplicitMethods()+t.NumEmbeddeds() == 0 {
			return "any"
		}
		var list []string
		for i := range t.NumEmbeddeds() {
			list = append(list, r.text(t.EmbeddedType(i), of))
		}
		for i := range t.NumExplicitMethods() {
			list = append(list, t.ExplicitMethod(i).Name()+r.signature(t.ExplicitMethod(i).Signature(), of))
		}
		slices.Sort(list)
		return "interface { " + strings.Join(list, "; ") + " }"
	}
	return types.TypeString(t, types.RelativeTo(r.own)) // basic types, parameters of types, structs without a name
}

func (r *recorder) name(obj *types.TypeName, args *types.TypeList, of string) string {
	text := obj.Name()
	if obj.Pkg() != nil {
		path, ours := strings.CutPrefix(obj.Pkg().Path(), r.module+"/")
		if named, _ := covers(r.surface, path, obj.Name()); ours && !named {
			own := strings.TrimPrefix(r.own.Path(), r.module+"/")
			r.wrong = append(r.wrong, fmt.Sprintf("%s.%s mentions %s.%s, which is not promised: promise it in .ci/api/surface.go, or not %s", own, of, path, obj.Name(), of))
		}
		if obj.Pkg() != r.own {
			text = path + "." + text
		}
	}
	if args.Len() > 0 {
		var list []string
		for i := range args.Len() {
			list = append(list, r.text(args.At(i), of))
		}
		text += "[" + strings.Join(list, ", ") + "]"
	}
	return text
}
