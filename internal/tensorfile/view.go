package tensorfile

import "math/bits"

// storage is a run of elements in a .pth file; tensors are views into it.
type storage struct {
	dtype DType
	data  []byte // nil until the file's part that holds it has been read
	count int64  // elements
}

// view is a strided window of a storage: element [i, j, ...] is number
// offset + i·strides[0] + j·strides[1] + ...
type view struct {
	storage       *storage
	offset        int64
	shape, stride []int64
}

const maxRank = 16

// newView checks that every element lies inside of the storage. The arguments
// are those of torch's _rebuild_tensor_v2: storage, offset, size, strides,
// whether it has gradients, hooks.
func newView(args tuple) (*view, error) {
	if len(args) < 4 {
		return nil, malformed("a tensor of %d arguments", len(args))
	}
	s, ok := args[0].(*storage)
	if !ok {
		return nil, malformed("a tensor in a %T", args[0])
	}
	offset, ok := args[1].(int64)
	if !ok {
		return nil, malformed("a tensor's offset is a %T", args[1])
	}
	v := &view{storage: s, offset: offset}
	var err error
	if v.shape, err = integers(args[2]); err != nil {
		return nil, err
	}
	if v.stride, err = integers(args[3]); err != nil {
		return nil, err
	}
	if len(v.shape) != len(v.stride) || len(v.shape) > maxRank || offset < 0 {
		return nil, malformed("a tensor of shape %v, strides %v at %d", v.shape, v.stride, offset)
	}
	elements, last := uint64(1), uint64(offset)
	for i, d := range v.shape {
		if d < 0 || v.stride[i] < 0 {
			return nil, malformed("a tensor of shape %v, strides %v", v.shape, v.stride)
		}
		over, product := bits.Mul64(elements, uint64(d))
		overSpan, span := bits.Mul64(uint64(max(d-1, 0)), uint64(v.stride[i]))
		sum, carry := bits.Add64(last, span, 0)
		if over != 0 || overSpan != 0 || carry != 0 || product > 1<<48 || sum > 1<<48 {
			return nil, malformed("a tensor of shape %v, strides %v: too large", v.shape, v.stride)
		}
		elements, last = product, sum
	}
	if elements > 0 && last >= uint64(s.count) {
		return nil, malformed("a tensor of shape %v, strides %v at %d ends outside of its %d elements", v.shape, v.stride, offset, s.count)
	}
	return v, nil
}

func integers(x any) ([]int64, error) {
	items, ok := x.(tuple)
	if !ok {
		if l, isList := x.(*list); isList {
			items, ok = l.items, true
		}
	}
	if !ok || len(items) > maxRank {
		return nil, malformed("a tensor's shape is no short list of numbers")
	}
	out := make([]int64, len(items))
	for i, item := range items {
		if out[i], ok = item.(int64); !ok {
			return nil, malformed("a tensor's shape holds a %T", item)
		}
	}
	return out, nil
}

func (v *view) elements() int64 {
	n := int64(1)
	for _, d := range v.shape {
		n *= d
	}
	return n
}

func (v *view) bytes() int64 { return v.elements() * int64(sizes[v.storage.dtype]) }

// tensor is the view row by row; it shares the storage's memory if that is how
// it lies there.
func (v *view) tensor() Tensor {
	t := Tensor{DType: v.storage.dtype, Shape: make([]int, len(v.shape))}
	for i, d := range v.shape {
		t.Shape[i] = int(d)
	}
	width := int64(sizes[t.DType])
	if v.elements() == 0 {
		t.Data = []byte{}
		return t
	}
	if v.contiguous() {
		from := v.offset * width
		to := from + v.bytes()
		t.Data = v.storage.data[from:to:to]
		return t
	}
	t.Data = make([]byte, 0, v.bytes())
	index := make([]int64, len(v.shape))
	for at := v.offset; ; {
		t.Data = append(t.Data, v.storage.data[at*width:(at+1)*width]...)
		axis := len(index) - 1
		for ; axis >= 0; axis-- {
			index[axis]++
			at += v.stride[axis]
			if index[axis] < v.shape[axis] {
				break
			}
			at -= index[axis] * v.stride[axis]
			index[axis] = 0
		}
		if axis < 0 {
			return t
		}
	}
}

func (v *view) contiguous() bool {
	next := int64(1)
	for i := len(v.shape) - 1; i >= 0; i-- {
		if v.shape[i] != 1 && v.stride[i] != next {
			return false
		}
		next *= v.shape[i]
	}
	return true
}
