package policy

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path"
	"strconv"
	"strings"
	"testing"
)

// Who imports a public package can neither name a type of a room in internal/ nor make a value of
// it, so none is in what the package exports: signatures, fields, methods, variables.
func TestPublicPackagesExportNoInternalTypes(t *testing.T) {
	packages := map[string]bool{}
	for _, f := range goFiles(t) {
		if !strings.HasPrefix(f.path, "pkg/") || strings.HasSuffix(f.path, "_test.go") {
			continue
		}
		packages[path.Dir(f.path)] = true
		parsed, err := parser.ParseFile(token.NewFileSet(), f.path, f.text, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, found := range internalInExported(parsed) {
			t.Errorf("%s: %s", f.path, found)
		}
	}
	if len(packages) < 3 {
		t.Errorf("public packages are %v", packages)
	}
	parsed, err := parser.ParseFile(token.NewFileSet(), "x.go", `package x
import ("io"; "prenas/internal/fsys"; own "prenas/internal/rng")
type T struct { A fsys.FS; b own.Key; own.Key }
type u struct { A fsys.FS }
func (T) M(io.Writer) own.Key { var k own.Key; return k }
func (u) M(own.Key) {}
func F[K own.Key](map[string][]*fsys.Set) {}
var V fsys.FS
var Err = fsys.Err
`, 0)
	if err != nil {
		t.Fatal(err)
	}
	if found := internalInExported(parsed); len(found) != 6 {
		t.Errorf("of six internal types it found %q", found)
	}
}

// internalInExported are the exported names of a file whose types name one of a room in internal/.
func internalInExported(file *ast.File) (found []string) {
	rooms := map[string]bool{}
	for _, spec := range file.Imports {
		if name, err := strconv.Unquote(spec.Path.Value); err == nil && strings.HasPrefix(name, module+"/internal/") {
			local := path.Base(name)
			if spec.Name != nil {
				local = spec.Name.Name
			}
			rooms[local] = true
		}
	}
	check := func(name string, of ast.Node) {
		ast.Inspect(of, func(n ast.Node) bool {
			if s, is := n.(*ast.SelectorExpr); is {
				if room, is := s.X.(*ast.Ident); is && rooms[room.Name] {
					found = append(found, name+" has "+room.Name+"."+s.Sel.Name)
				}
			}
			return true
		})
	}
	for _, d := range file.Decls {
		switch d := d.(type) {
		case *ast.FuncDecl:
			if d.Name.IsExported() && (d.Recv == nil || receiverIsExported(d.Recv)) {
				check(d.Name.Name, d.Type)
			}
		case *ast.GenDecl:
			for _, spec := range d.Specs {
				switch spec := spec.(type) {
				case *ast.ValueSpec:
					if spec.Names[0].IsExported() && spec.Type != nil {
						check(spec.Names[0].Name, spec.Type)
					}
				case *ast.TypeSpec:
					if spec.Name.IsExported() {
						checkType(spec, check)
					}
				}
			}
		}
	}
	return found
}

// checkType checks a type, of a struct its exported fields alone.
func checkType(spec *ast.TypeSpec, check func(string, ast.Node)) {
	s, is := spec.Type.(*ast.StructType)
	if !is {
		check(spec.Name.Name, spec.Type)
		return
	}
	for _, field := range s.Fields.List {
		exported := len(field.Names) == 0 // embedded
		for _, name := range field.Names {
			exported = exported || name.IsExported()
		}
		if exported {
			check(spec.Name.Name, field.Type)
		}
	}
}

func receiverIsExported(list *ast.FieldList) bool {
	t := list.List[0].Type
	if star, is := t.(*ast.StarExpr); is {
		t = star.X
	}
	if generic, is := t.(*ast.IndexExpr); is {
		t = generic.X
	}
	name, is := t.(*ast.Ident)
	return is && name.IsExported()
}
