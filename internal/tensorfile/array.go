package tensorfile

import "strings"

// Arrays of NumPy lie in a pickle by themselves: numpy's _reconstruct makes an empty one,
// whose state is (version, shape, type, Fortran's order or not, bytes). In protocol 2 the
// bytes are a text of Latin-1 that _codecs.encode takes.

// array is one of NumPy's; its state comes after it.
type array struct {
	shape   []int64
	dtype   *dtype
	fortran bool
	data    string
}

// dtype is NumPy's type of elements; its state, too, comes after it.
type dtype struct {
	code string // f4
	big  bool
}

var arrayTypes = map[string]DType{
	"f8": F64, "f4": F32, "f2": F16, "i8": I64, "i4": I32, "i2": "I16", "i1": "I8", "u1": U8, "b1": "BOOL",
}

// setState is what BUILD does.
func (a *array) setState(state any) error {
	s, ok := state.(tuple)
	if !ok || len(s) != 5 {
		return malformed("an array's state is a %T", state)
	}
	var err error
	if a.shape, err = integers(s[1]); err != nil {
		return err
	}
	a.dtype, _ = s[2].(*dtype)
	a.fortran, _ = s[3].(bool)
	if a.data, ok = s[4].(string); !ok || a.dtype == nil {
		return malformed("an array of a %T", s[4])
	}
	return nil
}

func (d *dtype) setState(state any) error {
	s, ok := state.(tuple)
	if !ok || len(s) < 2 {
		return malformed("a type's state is a %T", state)
	}
	d.big = s[1] == any(">")
	return nil
}

func (a *array) tensor() (Tensor, error) {
	if a.dtype == nil {
		return Tensor{}, malformed("an array without a state")
	}
	of, known := arrayTypes[strings.TrimLeft(a.dtype.code, "<|=")]
	if !known || a.dtype.big {
		return Tensor{}, malformed("an array of NumPy's type %.20q, which is not read", a.dtype.code)
	}
	v := &view{storage: &storage{dtype: of, data: []byte(a.data)}, shape: a.shape, stride: make([]int64, len(a.shape))}
	count := int64(1)
	for i := range a.shape {
		at := len(a.shape) - 1 - i
		if a.fortran {
			at = i
		}
		v.stride[at] = count
		if d := a.shape[at]; d < 0 || d > 0 && count > (1<<48)/d {
			return Tensor{}, malformed("an array of shape %v in %d bytes", a.shape, len(a.data))
		}
		count *= a.shape[at]
	}
	if count*int64(sizes[of]) != int64(len(a.data)) {
		return Tensor{}, malformed("an array of shape %v in %d bytes", a.shape, len(a.data))
	}
	return v.tensor(), nil
}

// latin1 are the bytes of a text whose characters are all below 256.
func latin1(text string) (string, error) {
	out := make([]byte, 0, len(text))
	for _, c := range text {
		if c > 0xff {
			return "", malformed("a text that is not Latin-1, in place of bytes")
		}
		out = append(out, byte(c))
	}
	return string(out), nil
}
