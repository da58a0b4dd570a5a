package private

import (
	"fmt"
	"reflect"
	"unsafe"
)

// field is an unexported field of type F of the struct H.
type field[H, F any] struct{ name string }

// declared has an entry per field of this package, which says what is wrong with it; nil: nothing.
var declared []func() error

func declare[H, F any](name string) field[H, F] {
	f := field[H, F]{name}
	declared = append(declared, f.check)
	return f
}

func (f field[H, F]) check() error {
	holder := reflect.TypeFor[H]()
	found, has := holder.FieldByName(f.name)
	if !has || found.Type != reflect.TypeFor[F]() {
		return fmt.Errorf("private: %s has no field %s of type %s in this version: see the page of this package", holder, f.name, reflect.TypeFor[F]())
	}
	return nil
}

// of points at the field of a struct.
func (f field[H, F]) of(holder *H) *F {
	if err := f.check(); err != nil {
		panic(err)
	}
	return (*F)(unsafe.Pointer(reflect.ValueOf(holder).Elem().FieldByName(f.name).UnsafeAddr()))
}
