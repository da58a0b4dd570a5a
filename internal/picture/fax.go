package picture

import (
	"errors"
	"strings"
)

// How a fax in a TIFF is coded (ITU-T T.4 and T.6).
const (
	faxRuns   = iota // rows of runs, each from a whole byte on
	faxGroup3        // rows behind end-of-line codes
	faxGroup4        // rows as they differ from the row before
)

// How a row goes on that is told by the row before: a change that is so many pixels to the
// right of the one above, from -3 to 3, or one of these.
const (
	faxPass       = 4 // there is no change at the next two above
	faxHorizontal = 5 // two runs follow
)

// faxCode is a code: its length and its bits.
type faxCode struct {
	length int
	bits   uint32
}

// faxTable is what codes mean.
type faxTable map[faxCode]int

// add adds codes that mean first, first + step and so on.
func (t faxTable) add(codes []string, first, step int) {
	for i, code := range codes {
		c := faxCode{length: len(code)}
		for _, bit := range code {
			c.bits = c.bits<<1 | uint32(bit-'0')
		}
		t[c] = first + i*step
	}
}

func faxRunTable(codes []string) faxTable {
	t := faxTable{}
	t.add(codes[:64], 0, 1)
	t.add(codes[64:], 64, 64)
	t.add(faxLong, 1792, 64)
	return t
}

func faxModeTable() faxTable {
	t := faxTable{}
	t.add(strings.Fields("0000010 000010 010 1 011 000011 0000011"), -3, 1)
	t.add([]string{"0001", "001"}, faxPass, 1)
	return t
}

var (
	faxRunTables = [2]faxTable{faxRunTable(faxWhite), faxRunTable(faxBlack)}
	faxModes     = faxModeTable()

	errFaxShort = errors.New("the fax is cut off")
	errFaxCode  = errors.New("the fax has a code that means nothing")
	errFaxWidth = errors.New("the fax has a row that is longer than it is wide")
)

// faxLongest is the longest code's length.
const faxLongest = 13

// fax reads codes, bit by bit from the highest of each byte.
type fax struct {
	text  []byte
	at    int // bits that were read
	width int
}

// bit is that so many bits on; 0 behind the end.
func (f *fax) bit(ahead int) uint32 {
	at := f.at + ahead
	if at/8 >= len(f.text) {
		return 0
	}
	return uint32(f.text[at/8]>>(7-at%8)) & 1
}

func (f *fax) read(t faxTable) (int, error) {
	var c faxCode
	for c.length < faxLongest {
		c.bits = c.bits<<1 | f.bit(c.length)
		c.length++
		if value, known := t[c]; known {
			if f.at += c.length; f.at > 8*len(f.text) {
				return 0, errFaxShort
			}
			return value, nil
		}
	}
	if f.at+faxLongest > 8*len(f.text) {
		return 0, errFaxShort
	}
	return 0, errFaxCode
}

// run reads the length of a run: long parts, and one below 64 that ends it.
func (f *fax) run(colour int) (length int, err error) {
	for {
		part, err := f.read(faxRunTables[colour])
		if length += part; err != nil || length > f.width {
			return length, errors.Join(err, tooLong(length > f.width))
		}
		if part < 64 {
			return length, nil
		}
	}
}

func tooLong(is bool) error {
	if is {
		return errFaxWidth
	}
	return nil
}

// lineEnd passes over an end-of-line code, if one is next, and the zeros before it.
func (f *fax) lineEnd() bool {
	const zeros = 11
	for i := range zeros {
		if f.bit(i) != 0 {
			return false
		}
	}
	for at := f.at + zeros; at < 8*len(f.text); at++ {
		if f.text[at/8]>>(7-at%8)&1 != 0 {
			f.at = at + 1
			return true
		}
	}
	return false
}

// decodeFax decodes rows of pixels of one bit, 1 where it is black; each begins at a whole byte.
// twoWay: rows of group 3 may be told by the row before.
func decodeFax(text []byte, kind int, twoWay bool, width, height int) ([]byte, error) {
	f := &fax{text: text, width: width}
	stride := (width + 7) / 8
	rows := make([]byte, stride*height)
	var above, changes []int // where the colour changes, from white on
	for y := range height {
		byRuns := kind != faxGroup4
		switch kind {
		case faxRuns:
			f.at = (f.at + 7) / 8 * 8
		case faxGroup3:
			if f.lineEnd() && twoWay {
				byRuns = f.bit(0) == 1
				f.at++
			}
		}
		var err error
		if byRuns {
			changes, err = f.runs(changes[:0])
		} else {
			changes, err = f.differences(above, changes[:0])
		}
		if err != nil {
			return nil, err
		}
		paint(rows[y*stride:], changes, width)
		above, changes = changes, above
	}
	return rows, nil
}

// runs reads a row of white and black runs in turn.
func (f *fax) runs(changes []int) ([]int, error) {
	for x, colour := 0, 0; x < f.width; colour = 1 - colour {
		n, err := f.run(colour)
		if err != nil {
			return nil, err
		}
		if x += n; x > f.width {
			return nil, errFaxWidth
		}
		changes = append(changes, x)
	}
	return changes, nil
}

// differences reads a row that is told by the changes of the row above.
func (f *fax) differences(above, changes []int) ([]int, error) {
	for x, colour, next := -1, 0, 0; x < f.width; {
		// The next change above to the other colour than the one we are in.
		for next > 0 && f.change(above, next-1) > x {
			next--
		}
		for next%2 != colour || f.change(above, next) <= x && next < len(above) {
			next++
		}
		mode, err := f.read(faxModes)
		if err != nil {
			return nil, err
		}
		switch mode {
		case faxPass:
			x = f.change(above, next+1)
			continue
		case faxHorizontal:
			x = max(x, 0)
			for _, c := range [2]int{colour, 1 - colour} {
				n, err := f.run(c)
				if err != nil {
					return nil, err
				}
				x += n
				changes = append(changes, x)
			}
		default:
			from := x
			x = f.change(above, next) + mode
			if x < max(from, 0) {
				return nil, errFaxCode
			}
			changes, colour = append(changes, x), 1-colour
		}
		if x > f.width {
			return nil, errFaxWidth
		}
	}
	return changes, nil
}

// change is a change of a row; beyond the last they are at its end.
func (f *fax) change(of []int, i int) int {
	if i < len(of) {
		return of[i]
	}
	return f.width
}

// paint sets the bits between each change to black and the next one to white.
func paint(row []byte, changes []int, width int) {
	for i := 0; i < len(changes); i += 2 {
		to := width
		if i+1 < len(changes) {
			to = changes[i+1]
		}
		for x := changes[i]; x < to; x++ {
			row[x/8] |= 0x80 >> (x % 8)
		}
	}
}
