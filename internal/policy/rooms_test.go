package policy

import (
	"path"
	"slices"
	"strings"
	"testing"
)

const module = "prenas"

// rooms says which rooms a room may import, nearest the ground first. A room stands
// below every room that may import it, so the table itself shows that there is no
// circle. What stands in fixtures may be imported by tests alone.
var rooms = []struct {
	name    string
	imports []string
}{
	{"fsys", nil},
	{"crash", nil},
	{"ahead", []string{"crash"}},
	{"web", []string{"crash"}},
	{"foreign", []string{"crash"}},
	{"rng", nil},
	{"mistaken", nil},
	{"nearest", nil},
	{"input", nil},
	{"plaintext", nil},
	{"version", nil},
	{"program", nil},
	{"printable", nil},
	{"machine", nil},
	{"strictjson", nil},
	{"strictyaml", nil},
	{"sealed", []string{"fsys", "mistaken", "strictjson"}},
	{"kernels", nil},
	{"ranks/rankstest", nil},
	{"ranks", []string{"crash", "foreign", "fsys", "printable", "version"}},
	{"memory", nil},
	{"memory/memorytest", []string{"memory"}},
	{"fsys/faultfs", []string{"fsys"}},
	{"tensorboard", []string{"fsys"}},
	{"tensorfile", []string{"fsys", "mistaken"}},
	{"space", []string{"fsys", "mistaken", "nearest", "plaintext", "strictjson", "strictyaml"}},
	{"augment", nil},
	{"matfile", []string{"fsys"}},
	{"picture", []string{"mistaken"}},
	{"data/codec", []string{"augment", "machine", "picture"}},
	{"data/datatest", nil},
	{"data/disk", []string{"data/codec", "fsys", "picture", "plaintext"}},
	{"data", []string{"augment", "data/codec", "data/disk", "machine", "picture", "printable", "rng"}},
	{"data/layout", []string{"data"}},
	{"data/fetch", []string{"data", "fsys"}},
	{"data/shard", []string{"ahead", "data", "data/codec", "data/disk", "data/fetch", "data/layout", "fsys", "picture", "plaintext", "printable"}},
	{"data/pack", []string{"ahead", "augment", "data", "data/codec", "data/disk", "fsys", "input", "sealed", "strictjson"}},
	{"data/load", []string{"ahead", "augment", "data", "printable", "rng"}},
	{"data/inspect", []string{"ahead", "augment", "data", "data/load", "printable"}},
	{"data/source", []string{"data", "data/codec", "data/disk", "data/fetch", "data/inspect", "data/layout", "data/pack", "data/shard", "foreign", "fsys", "input", "matfile", "picture", "plaintext", "printable", "rng", "strictjson"}},
	{"toy", []string{"space"}},
	{"recipe", []string{"augment", "fsys", "input", "mistaken", "nearest", "printable", "rng", "space", "strictyaml"}},
	{"engine/private", nil},
	{"engine", []string{"crash", "engine/private", "foreign", "fsys", "input", "kernels", "ranks", "rng", "strictjson", "tensorfile", "version"}},
	{"fixture", []string{"space", "tensorfile"}},
	{"faults", []string{"rng", "tensorfile"}},
	{"pytools", []string{"fsys"}},
	{"browser", nil},
	{"engine/enginetest", []string{"engine"}},
	{"supernet", []string{"engine", "rng", "space", "tensorfile"}},
	{"proxy", []string{"engine", "rng", "space", "supernet", "tensorfile"}},
	{"search", []string{"fsys", "input", "rng", "space", "strictjson", "tensorfile"}},
	{"latency", []string{"engine", "fsys", "printable", "rng", "sealed", "space", "supernet"}},
	{"evaluate", []string{"ahead", "data", "data/inspect", "engine", "fsys", "printable", "ranks", "sealed", "search", "space", "supernet", "tensorfile"}},
	{"rundir", []string{"data/source", "engine", "fsys", "input", "printable", "recipe", "sealed", "search", "space", "strictjson", "supernet", "tensorboard", "tensorfile", "version"}},
	{"trainstep", []string{"ahead", "data/load", "engine", "evaluate", "ranks", "recipe", "rng", "rundir", "space", "supernet", "tensorfile"}},
	{"train", []string{"ahead", "augment", "data", "data/inspect", "data/load", "data/source", "engine", "evaluate", "fsys", "input", "machine", "printable", "ranks", "recipe", "rng", "rundir", "search", "space", "supernet", "tensorboard", "tensorfile", "trainstep"}},
	{"export", []string{"engine", "fsys", "printable", "sealed", "space", "strictjson", "supernet", "tensorfile"}},
	{"classify", []string{"ahead", "augment", "data", "engine", "export", "foreign", "fsys", "machine", "mistaken", "printable", "supernet"}},
	{"importance", []string{"printable", "proxy", "space", "tensorfile"}},
	{"probe", []string{"engine"}},
	{"pretrained", []string{"fsys", "input", "printable", "space", "tensorfile"}},
	{"onnx/schema", nil},
	{"onnx", []string{"export", "fsys", "onnx/schema", "space", "version"}},
	{"serve", []string{"classify", "crash", "data", "engine", "export", "input", "printable", "web"}},
	{"watch", []string{"evaluate", "fsys", "printable", "recipe", "rundir"}},
	{"audit", []string{"engine", "evaluate", "fsys", "printable", "ranks", "recipe", "rng", "rundir", "sealed", "search", "space", "strictjson", "supernet", "tensorfile", "train"}},
	{"chart", nil},
	{"exhibit", []string{"audit", "chart", "evaluate", "fsys", "printable", "rundir", "sealed", "search", "space"}},
	{"report", []string{"chart", "evaluate", "exhibit", "fsys", "input", "printable", "rundir", "sealed", "space", "strictjson", "tensorfile"}},
	{"job", []string{"ahead", "audit", "classify", "crash", "data", "data/inspect", "data/load", "data/pack", "data/source", "engine", "evaluate", "exhibit", "export", "fsys", "importance", "input", "latency", "machine", "onnx", "plaintext", "pretrained", "printable", "probe", "proxy", "ranks", "recipe", "report", "rundir", "sealed", "search", "space", "strictjson", "supernet", "tensorfile", "train", "trainstep"}},
	{"board", []string{"chart", "crash", "exhibit", "fsys", "input", "job", "printable", "rundir", "web"}},
	{"policy", nil},
}

var fixtures = []string{"fixture", "toy", "faults", "pytools", "browser", "engine/enginetest", "fsys/faultfs", "memory/memorytest", "ranks/rankstest", "data/datatest"}

// withoutEngine are the rooms that must work where no XLA can be had: they may not reach
// it through libraries either.
var withoutEngine = []string{"fsys", "ahead", "foreign", "rng", "tensorfile", "space", "search", "augment", "matfile", "picture", "plaintext", "strictjson", "data/codec", "data/disk", "data", "data/layout", "data/fetch", "data/shard", "data/pack", "data/inspect", "data/load", "data/source", "recipe", "fixture"}

func TestTableOfRoomsHasNoCircle(t *testing.T) {
	var below []string
	for _, room := range rooms {
		for _, imported := range room.imports {
			if !slices.Contains(below, imported) {
				t.Errorf("%s may import %s, which does not stand below it", room.name, imported)
			}
		}
		below = append(below, room.name)
	}
}

func TestImportsPointOneWay(t *testing.T) {
	for _, file := range goFiles(t) {
		room, inside := roomOf(path.Dir(file.path))
		if !inside {
			continue // commands may import every room
		}
		allowed, known := mayImport(room)
		if !known {
			t.Errorf("%s: room %q is not in the table of rooms", file.path, room)
			continue
		}
		isTest := strings.HasSuffix(file.path, "_test.go")
		for _, imported := range importsOf(file) {
			name, ours := strings.CutPrefix(imported, module+"/")
			switch target, isRoom := roomOf(name); {
			case !ours:
				if slices.Contains(withoutEngine, room) && !isTest && strings.Contains(imported, "gomlx") {
					t.Errorf("%s imports %s: %s must work without XLA", file.path, imported, room)
				}
			case !isRoom:
				t.Errorf("%s imports %s: rooms do not know the commands", file.path, imported)
			case target == room: // an external test of the room
			case isTest && (slices.Contains(fixtures, target) || stands(target) < stands(room)):
				// A test may set its stage with anything from below.
			case !slices.Contains(allowed, target):
				t.Errorf("%s imports %s, but %s may import only %s", file.path, target, room, strings.Join(allowed, ", "))
			}
		}
	}
}

// A library does not choose the malloc of the process: only who imports prenas/pkg/prenas/pool has the pool.
func TestPoolIsOptIn(t *testing.T) {
	for _, room := range rooms {
		if slices.Contains(room.imports, "memory") && !slices.Contains(fixtures, room.name) {
			t.Errorf("%s may import memory, so whoever imports it has the pool", room.name)
		}
	}
	for _, file := range goFiles(t) {
		folder := path.Dir(file.path)
		for _, imported := range importsOf(file) {
			switch imported {
			case module + "/internal/memory":
				if folder != "pkg/prenas/pool" && !strings.HasPrefix(folder, "internal/memory") {
					t.Errorf("%s imports the pool", file.path)
				}
			case module + "/pkg/prenas/pool":
				if !slices.Contains([]string{"cmd/prenas", "bench/step", "bench/latency"}, folder) {
					t.Errorf("%s opts into the pool: programs do, not packages", file.path)
				}
			}
		}
	}
}

// public are the rooms that others may import: they are in pkg/, all others in internal/.
var public = []string{"space", "search"}

// roomOf is the room in a folder of the repository.
func roomOf(folder string) (room string, is bool) {
	if room, is = strings.CutPrefix(folder, "pkg/"); is {
		return room, slices.Contains(public, room)
	}
	return strings.CutPrefix(folder, "internal/")
}

func stands(room string) int {
	for i, r := range rooms {
		if r.name == room {
			return i
		}
	}
	return len(rooms)
}

func mayImport(room string) (allowed []string, known bool) {
	if i := stands(room); i < len(rooms) {
		return rooms[i].imports, true
	}
	return nil, false
}
