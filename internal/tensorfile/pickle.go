package tensorfile

import (
	"encoding/binary"
	"fmt"
	"math"
	"strconv"
)

// A .pth file describes its tensors in pickle, a program for a stack machine
// that can call anything. This machine calls nothing: it knows the opcodes
// that put plain values together, and of all names in the world only those of
// allowed. A name that is not there ends the reading with ErrGlobal.

const (
	maxPickle = 1 << 30 // bytes of one pickle; a checkpoint of a thousand tensors has 0.3 MiB, but arrays of NumPy lie in it
	maxValues = 1 << 18 // values put on the stack or in the memo
	maxLine   = 1 << 10 // characters of an argument in text
)

// kind is what calling an allowed name gives.
type kind int

const (
	orderedDict kind = iota + 1
	rebuildTensor
	rebuildParameter
	size
	storageType
	opaqueType // a call of it is kept as a blank: metadata, never looked into
	newArray   // of NumPy
	newDType
	encode // a text's bytes
)

type global struct {
	name  string
	kind  kind
	dtype DType // of a storageType
}

// allowed are all names that a file may hold. Those of kind opaqueType stand in
// the arguments and counters that training scripts save beside the weights.
var allowed = func() map[string]*global {
	all := map[string]*global{}
	add := func(name string, k kind, d DType) { all[name] = &global{name, k, d} }
	add("collections.OrderedDict", orderedDict, "")
	add("torch._utils._rebuild_tensor_v2", rebuildTensor, "")
	add("torch._utils._rebuild_parameter", rebuildParameter, "")
	add("torch.Size", size, "")
	for name, d := range map[string]DType{
		"Double": F64, "Float": F32, "Half": F16, "BFloat16": BF16,
		"Long": I64, "Int": I32, "Short": "I16", "Char": "I8", "Byte": U8, "Bool": "BOOL",
	} {
		add("torch."+name+"Storage", storageType, d)
	}
	for _, name := range []string{
		"argparse.Namespace", "pathlib.PosixPath", "pathlib.PurePosixPath", "torch.device", "collections.defaultdict",
		"numpy.core.multiarray.scalar", "numpy._core.multiarray.scalar", "numpy.ndarray",
		"types.SimpleNamespace", "easydict.EasyDict", "yacs.config.CfgNode",
		"pytorch_lightning.utilities.parsing.AttributeDict", "lightning_fabric.utilities.data.AttributeDict", "lightning.fabric.utilities.data.AttributeDict",
	} {
		add(name, opaqueType, "")
	}
	for _, module := range []string{"numpy.core.multiarray.", "numpy._core.multiarray."} {
		add(module+"_reconstruct", newArray, "")
	}
	add("numpy.dtype", newDType, "")
	add("_codecs.encode", encode, "")
	for _, module := range []string{"builtins.", "__builtin__."} { // of Python 3 and of protocol 2
		add(module+"bytes", encode, "")
		for _, name := range []string{"set", "dict", "list"} {
			add(module+name, opaqueType, "")
		}
	}
	for _, name := range []string{"float16", "float32", "float64", "bfloat16", "int8", "int16", "int32", "int64", "uint8", "bool"} {
		add("torch."+name, opaqueType, "")
	}
	return all
}()

// Values of the machine: nil, bool, int64, float64, string, tuple, *list,
// *dict, *global, opaque, *storage, *view, *array, *dtype.
type (
	tuple  []any
	list   struct{ items []any }
	dict   struct{ keys, values []any }
	opaque struct{}
	mark   struct{}
)

// pickle is the machine, reading one program.
type pickle struct {
	data   []byte
	at     int
	stack  []any
	memo   map[uint64]any
	values int
	// resolve turns a persistent id into a storage.
	resolve func(id tuple) (*storage, error)
	views   int64 // bytes that tensors show of their storages
}

// run executes the program to its STOP and returns what is left on top; p.at
// is then the byte after it.
func (p *pickle) run() (any, error) {
	p.memo = map[uint64]any{}
	for {
		op, err := p.byte()
		if err != nil {
			return nil, err
		}
		if op == '.' {
			v, err := p.pop()
			if err != nil {
				return nil, err
			}
			return v, nil
		}
		if err := p.do(op); err != nil {
			return nil, err
		}
	}
}

func (p *pickle) do(op byte) error {
	switch op {
	case 0x80: // PROTO
		v, err := p.byte()
		if err == nil && v > 5 {
			err = malformed("pickle protocol %d", v)
		}
		return err
	case 0x95: // FRAME
		_, err := p.take(8)
		return err
	case '(':
		return p.push(mark{})
	case '0':
		_, err := p.pop()
		return err
	case '1':
		_, err := p.popMark()
		return err
	case '2':
		return p.again(func() (any, error) { return p.top() })
	case 'N':
		return p.push(nil)
	case 0x88:
		return p.push(true)
	case 0x89:
		return p.push(false)
	case 'I', 'L', 'F', 'J', 'K', 'M', 'G', 0x8a, 0x8b:
		return p.number(op)
	case 'T', 'U', 'V', 'X', 'B', 'C', 0x8c, 0x8d, 0x8e:
		return p.text(op)
	case '}':
		return p.push(&dict{})
	case ']':
		return p.push(&list{})
	case ')':
		return p.push(tuple{})
	case 't':
		items, err := p.popMark()
		if err != nil {
			return err
		}
		return p.push(tuple(items))
	case 0x85, 0x86, 0x87:
		return p.shortTuple(int(op - 0x84))
	case 'l', 'd':
		return p.collect(op)
	case 'a', 'e', 's', 'u':
		return p.extend(op)
	case 'c', 0x93:
		return p.global(op)
	case 'Q':
		return p.persistent()
	case 'R', 0x81:
		return p.call()
	case 'b':
		return p.build()
	}
	return p.remember(op)
}

func (p *pickle) push(v any) error {
	if p.values++; p.values > maxValues {
		return malformed("more than %d values", maxValues)
	}
	p.stack = append(p.stack, v)
	return nil
}

func (p *pickle) pop() (any, error) {
	v, err := p.top()
	if err == nil {
		p.stack = p.stack[:len(p.stack)-1]
	}
	return v, err
}

func (p *pickle) top() (any, error) {
	if len(p.stack) == 0 {
		return nil, malformed("an empty stack")
	}
	v := p.stack[len(p.stack)-1]
	if _, isMark := v.(mark); isMark {
		return nil, malformed("a mark where a value should be")
	}
	return v, nil
}

// popMark takes everything above the last mark, and the mark.
func (p *pickle) popMark() ([]any, error) {
	for i := len(p.stack) - 1; i >= 0; i-- {
		if _, isMark := p.stack[i].(mark); isMark {
			items := append([]any{}, p.stack[i+1:]...)
			p.stack = p.stack[:i]
			return items, nil
		}
	}
	return nil, malformed("no mark on the stack")
}

func (p *pickle) again(get func() (any, error)) error {
	v, err := get()
	if err != nil {
		return err
	}
	return p.push(v)
}

func (p *pickle) byte() (byte, error) {
	b, err := p.take(1)
	if err != nil {
		return 0, err
	}
	return b[0], nil
}

func (p *pickle) take(n uint64) ([]byte, error) {
	if n > uint64(len(p.data)-p.at) {
		return nil, malformed("the pickle ends in the middle")
	}
	b := p.data[p.at : p.at+int(n)]
	p.at += int(n)
	return b, nil
}

// line is an argument in text, up to the end of its line.
func (p *pickle) line() (string, error) {
	for i := p.at; i < len(p.data) && i-p.at <= maxLine; i++ {
		if p.data[i] == '\n' {
			text := string(p.data[p.at:i])
			p.at = i + 1
			return text, nil
		}
	}
	return "", malformed("a line without an end")
}

// unsigned reads a little-endian number of n bytes.
func (p *pickle) unsigned(n int) (uint64, error) {
	b, err := p.take(uint64(n))
	if err != nil {
		return 0, err
	}
	var padded [8]byte
	copy(padded[:], b)
	return binary.LittleEndian.Uint64(padded[:]), nil
}

func (p *pickle) number(op byte) error {
	widths := map[byte]int{'J': 4, 'K': 1, 'M': 2}
	switch op {
	case 'J', 'K', 'M':
		v, err := p.unsigned(widths[op])
		if err != nil {
			return err
		}
		if op == 'J' {
			return p.push(int64(int32(v)))
		}
		return p.push(int64(v))
	case 'G': // the one number in network order
		b, err := p.take(8)
		if err != nil {
			return err
		}
		return p.push(math.Float64frombits(binary.BigEndian.Uint64(b)))
	case 0x8a, 0x8b:
		return p.long(op)
	}
	text, err := p.line()
	if err != nil {
		return err
	}
	switch {
	case op == 'I' && (text == "00" || text == "01"):
		return p.push(text == "01")
	case op == 'F':
		v, err := strconv.ParseFloat(text, 64)
		if err != nil {
			return malformed("a number %q", text)
		}
		return p.push(v)
	case op == 'L' && len(text) > 0 && text[len(text)-1] == 'L':
		text = text[:len(text)-1]
	}
	v, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return malformed("a number %q", text)
	}
	return p.push(v)
}

// long is a signed number of any length; one over 64 bits is a blank.
func (p *pickle) long(op byte) error {
	length, err := p.unsigned(map[byte]int{0x8a: 1, 0x8b: 4}[op])
	if err != nil {
		return err
	}
	b, err := p.take(length)
	if err != nil {
		return err
	}
	if len(b) > 8 {
		return p.push(opaque{})
	}
	var padded [8]byte
	if len(b) > 0 && b[len(b)-1] >= 0x80 {
		padded = [8]byte{255, 255, 255, 255, 255, 255, 255, 255}
	}
	copy(padded[:], b)
	return p.push(int64(binary.LittleEndian.Uint64(padded[:])))
}

func (p *pickle) text(op byte) error {
	if op == 'V' {
		text, err := p.line()
		if err != nil {
			return err
		}
		return p.push(text)
	}
	widths := map[byte]int{'T': 4, 'U': 1, 'X': 4, 'B': 4, 'C': 1, 0x8c: 1, 0x8d: 8, 0x8e: 8}
	length, err := p.unsigned(widths[op])
	if err != nil {
		return err
	}
	b, err := p.take(length)
	if err != nil {
		return err
	}
	return p.push(string(b))
}

func (p *pickle) shortTuple(n int) error {
	items := make(tuple, n)
	for i := n - 1; i >= 0; i-- {
		v, err := p.pop()
		if err != nil {
			return err
		}
		items[i] = v
	}
	return p.push(items)
}

// collect makes a list or dict of what stands above the mark.
func (p *pickle) collect(op byte) error {
	items, err := p.popMark()
	if err != nil {
		return err
	}
	if op == 'l' {
		return p.push(&list{items})
	}
	d := &dict{}
	if err := d.add(items); err != nil {
		return err
	}
	return p.push(d)
}

// extend adds one value (a), one pair (s) or all above the mark (e, u) to the
// list or dict below them.
func (p *pickle) extend(op byte) error {
	var items []any
	var err error
	switch op {
	case 'e', 'u':
		items, err = p.popMark()
	case 'a', 's':
		n := map[byte]int{'a': 1, 's': 2}[op]
		if err = p.shortTuple(n); err == nil {
			items = p.stack[len(p.stack)-1].(tuple)
			p.stack = p.stack[:len(p.stack)-1]
		}
	}
	if err != nil {
		return err
	}
	target, err := p.top()
	if err != nil {
		return err
	}
	switch target := target.(type) {
	case *list:
		if op == 'a' || op == 'e' {
			target.items = append(target.items, items...)
			return nil
		}
	case *dict:
		if op == 's' || op == 'u' {
			return target.add(items)
		}
	case opaque:
		return nil
	}
	return malformed("opcode %q on %T", op, target)
}

func (d *dict) add(items []any) error {
	if len(items)%2 != 0 {
		return malformed("a key without a value")
	}
	for i := 0; i < len(items); i += 2 {
		d.keys, d.values = append(d.keys, items[i]), append(d.values, items[i+1])
	}
	return nil
}

func (p *pickle) global(op byte) error {
	var module, name string
	var err error
	if op == 'c' {
		if module, err = p.line(); err == nil {
			name, err = p.line()
		}
	} else {
		if err = p.shortTuple(2); err == nil {
			pair := p.stack[len(p.stack)-1].(tuple)
			p.stack = p.stack[:len(p.stack)-1]
			var isText [2]bool
			module, isText[0] = pair[0].(string)
			name, isText[1] = pair[1].(string)
			if !isText[0] || !isText[1] {
				err = malformed("a name that is no text")
			}
		}
	}
	if err != nil {
		return err
	}
	g, ok := allowed[module+"."+name]
	if !ok {
		return fmt.Errorf("%w %.80q: only weights are read, code never runs", ErrGlobal, module+"."+name)
	}
	return p.push(g)
}

func (p *pickle) persistent() error {
	v, err := p.pop()
	if err != nil {
		return err
	}
	id, ok := v.(tuple)
	if !ok {
		return malformed("a storage's name is a %T", v)
	}
	s, err := p.resolve(id)
	if err != nil {
		return err
	}
	return p.push(s)
}

// call is REDUCE and NEWOBJ: a name and its arguments, of which the few names
// that mean something here are done by hand.
func (p *pickle) call() error {
	if err := p.shortTuple(2); err != nil {
		return err
	}
	pair := p.stack[len(p.stack)-1].(tuple)
	p.stack = p.stack[:len(p.stack)-1]
	g, isGlobal := pair[0].(*global)
	args, isTuple := pair[1].(tuple)
	if !isGlobal || !isTuple {
		return malformed("a call of %T with %T", pair[0], pair[1])
	}
	switch g.kind {
	case orderedDict:
		if len(args) != 0 {
			return malformed("an OrderedDict with arguments")
		}
		return p.push(&dict{})
	case rebuildTensor:
		v, err := newView(args)
		if err != nil {
			return err
		}
		if p.views += v.bytes(); p.views > 1<<55 {
			return malformed("tensors of %d bytes", p.views)
		}
		return p.push(v)
	case rebuildParameter:
		if len(args) != 3 {
			return malformed("a parameter of %d arguments", len(args))
		}
		v, ok := args[0].(*view)
		if !ok {
			return malformed("a parameter that is a %T", args[0])
		}
		return p.push(v)
	case size:
		if len(args) != 1 {
			return malformed("a size of %d arguments", len(args))
		}
		return p.push(args[0])
	case opaqueType:
		return p.push(opaque{})
	case newArray:
		return p.push(&array{})
	case newDType:
		code, isText := any(nil), false
		if len(args) > 0 {
			code = args[0]
		}
		var name string
		if name, isText = code.(string); !isText {
			return malformed("a type of NumPy that is a %T", code)
		}
		return p.push(&dtype{code: name})
	case encode:
		if len(args) == 0 {
			return p.push("")
		}
		if len(args) == 2 && args[1] == any("latin1") {
			if text, isText := args[0].(string); isText {
				bytes, err := latin1(text)
				if err != nil {
					return err
				}
				return p.push(bytes)
			}
		}
		return p.push(opaque{})
	}
	return malformed("a call of %s", g.name)
}

// build sets an object's state: of NumPy's arrays and types; that of blanks and dicts (the
// version notes that state_dict hangs on its OrderedDict) is left out.
func (p *pickle) build() error {
	state, err := p.pop()
	if err != nil {
		return err
	}
	target, err := p.top()
	if err != nil {
		return err
	}
	switch target := target.(type) {
	case *array:
		return target.setState(state)
	case *dtype:
		return target.setState(state)
	case opaque, *dict:
		return nil
	}
	return malformed("a state of %T", target)
}

// remember are the opcodes of the memo.
func (p *pickle) remember(op byte) error {
	var key uint64
	var err error
	switch op {
	case 'q', 'h':
		key, err = p.unsigned(1)
	case 'r', 'j':
		key, err = p.unsigned(4)
	case 'p', 'g':
		var text string
		if text, err = p.line(); err == nil {
			if key, err = strconv.ParseUint(text, 10, 32); err != nil {
				err = malformed("a memo number %q", text)
			}
		}
	case 0x94:
		key = uint64(len(p.memo))
	default:
		return malformed("opcode %#02x, which no file of weights needs", op)
	}
	if err != nil {
		return err
	}
	if op == 'h' || op == 'j' || op == 'g' {
		v, ok := p.memo[key]
		if !ok {
			return malformed("nothing in memo %d", key)
		}
		return p.push(v)
	}
	v, err := p.top()
	if err != nil {
		return err
	}
	if p.values++; p.values > maxValues {
		return malformed("more than %d values", maxValues)
	}
	p.memo[key] = v
	return nil
}

func malformed(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrFormat}, args...)...)
}
