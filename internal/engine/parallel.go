package engine

import (
	"errors"
	"fmt"
	"reflect"
	"runtime"
	"sync"
	"weak"

	"github.com/gomlx/gomlx/backends"
	"github.com/gomlx/gomlx/pkg/core/distributed"
	"github.com/gomlx/gomlx/pkg/core/graph"
	"github.com/gomlx/gomlx/pkg/core/shapes"
	"github.com/gomlx/gomlx/pkg/core/tensors"
)

// A program on several devices is written as for one. XLA (Shardy) divides it:
//
//	               device 0    device 1    …
//	whole inputs   all of it   a copy      state, learning rate
//	split inputs   rows 0…k    rows k…2k   a batch
//	outputs        all of it   a copy
//
// and adds the reductions between devices where the graph sums over rows. Callers
// see the tensors of device 0 only, so the state of a run is what it is on one
// device: evaluation and checkpoints read it as ever.
type parallel struct {
	engine *Engine
	mesh   *distributed.DeviceMesh
	split  []bool // of each input: a part of its first axis for each device
	copies *copies
}

// meshAxis is the one axis of the devices.
const meshAxis = "devices"

// CompileParallel is Compile for all devices of the engine. The inputs that split
// names, by index, are divided along their first axis, which the number of devices
// must divide; all others and the outputs are whole on each device. Sums over
// divided rows are taken in another order than on one device, so numbers differ by
// rounding.
//
// Inputs and outputs must not be changed in place: their copies on other devices
// stay with them.
func (e *Engine) CompileParallel(name string, inputs []shapes.Shape, split []int, build func(in []*graph.Node) []*graph.Node) (*Program, error) {
	if e.devices == 1 {
		return e.Compile(name, inputs, build)
	}
	mesh, err := distributed.NewDeviceMesh([]int{e.devices}, []string{meshAxis})
	if err != nil {
		return nil, fmt.Errorf("%w %q: %w", ErrBuild, name, err)
	}
	p := &Program{name: name, inputs: inputs, parallel: &parallel{engine: e, mesh: mesh, split: make([]bool, len(inputs)), copies: &e.copies}}
	for _, i := range split {
		if s := inputs[i]; s.Rank() == 0 || s.Dimensions[0]%e.devices != 0 {
			return nil, fmt.Errorf("%w %q: %d devices do not divide the first axis of input %d, %s", ErrBuild, name, e.devices, i, s)
		}
		p.parallel.split[i] = true
	}
	return p, p.compile(e, build)
}

// input is how an input lies on the devices; nil on one device.
func (p *parallel) input(i int) *distributed.ShardingSpec {
	switch {
	case p == nil:
		return nil
	case p.split[i]:
		return &distributed.ShardingSpec{Mesh: p.mesh, Axes: []distributed.AxisSpec{{meshAxis}}}
	}
	return distributed.NewReplicatedShardingSpec(p.mesh)
}

func (p *parallel) outputs(n int) []*distributed.ShardingSpec {
	if p == nil {
		return nil
	}
	specs := make([]*distributed.ShardingSpec, n)
	for i := range specs {
		specs[i] = distributed.NewReplicatedShardingSpec(p.mesh)
	}
	return specs
}

// run lays the inputs on the devices and returns the outputs on the first.
func (p *parallel) run(g *graph.Graph, args []*tensors.Tensor) (out []*tensors.Tensor, err error) {
	devices := p.engine.devices
	values := make([]any, devices*len(args))
	var parts []*tensors.Tensor // of split inputs
	defer func() {
		for _, t := range parts {
			err = errors.Join(err, t.FinalizeAll())
		}
	}()
	for i, t := range args {
		on := []*tensors.Tensor{t}
		if p.split[i] {
			on, err = p.parts(t)
			parts = append(parts, on...)
		} else {
			var others []*tensors.Tensor
			others, err = p.copies.of(t, p.replicate)
			on = append(on, others...)
		}
		if err != nil {
			return nil, err
		}
		for d, x := range on {
			values[d*len(args)+i] = x
		}
	}
	all := g.Run(values...)
	n := len(all) / devices
	for i, t := range all[:n] {
		others := make([]*tensors.Tensor, 0, devices-1)
		for d := 1; d < devices; d++ {
			others = append(others, all[d*n+i])
		}
		p.copies.add(t, others)
	}
	return all[:n], nil
}

// parts of a tensor along its first axis, one on each device.
func (p *parallel) parts(t *tensors.Tensor) (parts []*tensors.Tensor, err error) {
	shape := t.Shape().Clone()
	shape.Dimensions[0] /= p.engine.devices
	size := shape.Size()
	failed := t.ConstFlatData(func(flat any) {
		values := reflect.ValueOf(flat)
		for d := range p.engine.devices {
			var part *tensors.Tensor
			if part, err = p.put(d, values.Slice(d*size, (d+1)*size).Interface(), shape); err != nil {
				return
			}
			parts = append(parts, part)
		}
	})
	return parts, errors.Join(failed, err)
}

// replicate copies a tensor to all devices but the first.
func (p *parallel) replicate(t *tensors.Tensor) (others []*tensors.Tensor, err error) {
	failed := t.ConstFlatData(func(flat any) {
		for d := 1; d < p.engine.devices; d++ {
			var other *tensors.Tensor
			if other, err = p.put(d, flat, t.Shape()); err != nil {
				return
			}
			others = append(others, other)
		}
	})
	return others, errors.Join(failed, err)
}

func (p *parallel) put(device int, flat any, shape shapes.Shape) (*tensors.Tensor, error) {
	buffer, err := p.engine.backend.BufferFromFlatData(backends.DeviceNum(device), flat, shape)
	if err != nil {
		return nil, err
	}
	return tensors.FromBuffer(p.engine.backend, buffer)
}

// copies of tensors on the devices but the first. They are freed with their
// tensor: by Program.Free, or when the garbage collector takes it.
type copies struct {
	mu sync.Mutex
	by map[weak.Pointer[tensors.Tensor]][]*tensors.Tensor
}

// of a tensor, which are made at its first use.
func (c *copies) of(t *tensors.Tensor, replicate func(*tensors.Tensor) ([]*tensors.Tensor, error)) ([]*tensors.Tensor, error) {
	c.mu.Lock()
	others, known := c.by[weak.Make(t)]
	c.mu.Unlock()
	if known {
		return others, nil
	}
	others, err := replicate(t)
	if err == nil {
		c.add(t, others)
	}
	return others, err
}

func (c *copies) add(t *tensors.Tensor, others []*tensors.Tensor) {
	key := weak.Make(t)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.by == nil {
		c.by = map[weak.Pointer[tensors.Tensor]][]*tensors.Tensor{}
	}
	c.by[key] = others
	runtime.AddCleanup(t, func(key weak.Pointer[tensors.Tensor]) {
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.by, key)
	}, key)
}

func (c *copies) free(t *tensors.Tensor) (err error) {
	key := weak.Make(t)
	c.mu.Lock()
	others := c.by[key]
	delete(c.by, key)
	c.mu.Unlock()
	for _, other := range others {
		err = errors.Join(err, other.FinalizeAll())
	}
	return err
}
