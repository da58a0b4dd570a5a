package tensorfile

import (
	"archive/zip"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// hostileFile is an attack on whoever reads a .pth; program is its pickle, if
// that is where the attack lies.
type hostileFile struct {
	name, program string
	data          []byte
}

// zipped packs entries, in pairs of name and content, as torch.save does.
func zipped(method uint16, entries ...string) []byte {
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for i := 0; i < len(entries); i += 2 {
		f, err := w.CreateHeader(&zip.FileHeader{Name: entries[i], Method: method})
		if err == nil {
			_, err = f.Write([]byte(entries[i+1]))
		}
		if err != nil {
			panic(err)
		}
	}
	if err := w.Close(); err != nil {
		panic(err)
	}
	return b.Bytes()
}

// tensorProgram is {"w": a tensor in storage 0}, its numbers as pickle text.
func tensorProgram(count, offset, shape, strides string) string {
	return "\x80\x02}X\x01\x00\x00\x00w" + tensorCall(count, offset, shape, strides) + "s."
}

func tensorCall(count, offset, shape, strides string) string {
	return "ctorch._utils\n_rebuild_tensor_v2\n(" +
		"(X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpuI" + count + "\ntQ" +
		"I" + offset + "\n(" + numbers(shape) + "t(" + numbers(strides) + "t\x89}tR"
}

func numbers(list string) string {
	var b strings.Builder
	for _, n := range strings.Fields(list) {
		b.WriteString("I" + n + "\n")
	}
	return b.String()
}

func hostilePth() []hostileFile {
	const four = "0123456789abcdef" // elements of storage 0
	var all []hostileFile
	program := func(name, p string) {
		all = append(all, hostileFile{name, p, zipped(zip.Store, "x/data.pkl", p, "x/data/0", four)})
	}
	file := func(name string, data []byte) { all = append(all, hostileFile{name: name, data: data}) }
	good := tensorProgram("4", "0", "4", "1")

	program("os.system", "\x80\x02cos\nsystem\nX\x04\x00\x00\x00trueR.")
	program("builtins.eval", "\x80\x02cbuiltins\neval\nX\x03\x00\x00\x001+1\x85R.")
	program("stack global", "\x80\x04\x8c\x05posix\x8c\x06system\x93\x8c\x02id\x85R.")
	program("inst", "(S'id'\nios\nsystem\n.")
	program("extension", "\x80\x02\x82\x01.")
	program("storage of a name", "\x80\x02csubprocess\nPopen\n.")
	program("attribute of an allowed name", "\x80\x04\x8c\x05torch\x8c\x14_utils.os.system.foo\x93.")
	program("huge dimension", tensorProgram("4", "0", "9223372036854775807", "1"))
	program("overflowing product", tensorProgram("4", "0", "4294967296 4294967296", "0 0"))
	program("overflowing span", tensorProgram("4", "0", "3 3", "9223372036854775807 9223372036854775807"))
	program("expanded to terabytes", tensorProgram("4", "0", "1099511627776", "0"))
	program("negative stride", tensorProgram("4", "3", "4", "-1"))
	program("negative offset", tensorProgram("4", "-1", "4", "1"))
	program("offset beyond the end", tensorProgram("4", "4", "1", "1"))
	program("storage larger than its bytes", tensorProgram("1000000", "0", "1000000", "1"))
	program("storage of 2^48 elements", tensorProgram("281474976710656", "0", "1", "1"))
	program("deep nesting", "\x80\x02"+strings.Repeat("]", 200000)+strings.Repeat("a", 199999)+".")
	program("more values than any model", "\x80\x02"+strings.Repeat("]", 1<<20)+".")
	program("endless memo", "\x80\x02N"+strings.Repeat("\x94", 1<<20)+".")
	program("list in itself", "\x80\x02]q\x00h\x00a.")
	program("dict in itself", "\x80\x02}q\x00X\x05\x00\x00\x00modelh\x00s.")
	program("string of 4 GiB", "\x80\x02X\xff\xff\xff\xffabc.")
	program("string of 2^63", "\x80\x04\x8d\xff\xff\xff\xff\xff\xff\xff\x7fabc.")
	program("number without an end", "I"+strings.Repeat("1", 1<<20))
	program("empty stack", "0.")
	program("tuple without a mark", "t.")
	program("missing memo", "h\x07.")
	program("same tensor a thousand times", "\x80\x02}"+func() string {
		var b strings.Builder
		for i := range 1000 {
			fmt.Fprintf(&b, "X\x04\x00\x00\x00%04d%ss", i, tensorCall("4", "0", "4", "1"))
		}
		return b.String()
	}()+".")
	program("tensor by the same name", "\x80\x02}(X\x01\x00\x00\x00w"+tensorCall("4", "0", "4", "1")+"X\x01\x00\x00\x00w"+tensorCall("4", "0", "4", "1")+"u.")

	file("path out of the folder", zipped(zip.Store, "x/data.pkl", good, "x/data/../../../etc/passwd", "x", "x/data/0", four))
	file("absolute path", zipped(zip.Store, "x/data.pkl", good, "/etc/passwd", "x"))
	file("missing storage", zipped(zip.Store, "x/data.pkl", good))
	file("entry twice", zipped(zip.Store, "x/data.pkl", good, "x/data/0", four, "x/data/0", four))
	file("two programs", zipped(zip.Store, "x/data.pkl", good, "y/data.pkl", good, "x/data/0", four))
	file("zip bomb", zipped(zip.Deflate, "x/data.pkl", good, "x/data/0", strings.Repeat("\x00", 8<<20)))
	file("bomb as program", zipped(zip.Deflate, "x/data.pkl", strings.Repeat("N", 8<<20)))
	file("big-endian", zipped(zip.Store, "x/data.pkl", good, "x/byteorder", "big", "x/data/0", four))

	// The directory says that both storages lie at the same place.
	overlap := zipped(zip.Store, "x/data.pkl", good, "x/data/0", four, "x/data/1", four)
	directory := bytes.Index(overlap, []byte("PK\x01\x02"))
	for at, last := directory, -1; at >= 0 && at < len(overlap); {
		offset := at + 42
		if strings.HasPrefix(string(overlap[at+46:]), "x/data/") {
			if last >= 0 {
				copy(overlap[offset:], overlap[last:last+4])
			}
			last = offset
		}
		next := bytes.Index(overlap[at+4:], []byte("PK\x01\x02"))
		if next < 0 {
			break
		}
		at += 4 + next
	}
	file("overlapping entries", overlap)

	// The directory says 4 GiB.
	large := zipped(zip.Store, "x/data.pkl", good, "x/data/0", four)
	at := bytes.LastIndex(large, []byte("PK\x01\x02"))
	binary.LittleEndian.PutUint32(large[at+20:], 0xfffffff0)
	binary.LittleEndian.PutUint32(large[at+24:], 0xfffffff0)
	file("entry of 4 GiB", large)

	legacyHead := string(legacyStart) + "\x80\x02M\xe9\x03.\x80\x02}."
	file("legacy gadget", []byte(legacyHead+"\x80\x02cos\nsystem\n."))
	file("legacy without storages", []byte(legacyHead+strings.Replace(good, "tQ", "NtQ", 1)+"\x80\x02]."))
	file("legacy storage cut", []byte(legacyHead+strings.Replace(good, "tQ", "NtQ", 1)+"\x80\x02]X\x01\x00\x00\x000a."+"\x04\x00\x00\x00\x00\x00\x00\x00abc"))
	file("plain pickle", []byte("\x80\x02cos\nsystem\n."))
	return all
}

// Every attack is refused by a typed error that names the file, within 64 MiB
// of allocations all told.
func TestHostilePthFiles(t *testing.T) {
	for _, h := range hostilePth() {
		path := filepath.Join(t.TempDir(), "x.pth")
		if err := os.WriteFile(path, h.data, 0o644); err != nil {
			t.Fatal(err)
		}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := ReadAny(path)
		runtime.ReadMemStats(&after)
		if !errors.Is(err, ErrFormat) && !errors.Is(err, ErrGlobal) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v", h.name, err)
		}
		if used := after.TotalAlloc - before.TotalAlloc; used > 64<<20 {
			t.Errorf("%s: %d MiB were allocated", h.name, used>>20)
		}
	}
}

// The frame that the attacks are set in is itself read.
func TestFrameOfHostileFilesIsGood(t *testing.T) {
	c, err := parseAny(zipped(zip.Deflate, "x/data.pkl", tensorProgram("4", "0", "4", "1"), "x/data/0", "0123456789abcdef"))
	if err != nil || string(c.Tensors["w"].Data) != "0123456789abcdef" {
		t.Error(c, err)
	}
}
