package tokenizer

import (
	"fmt"
	"time"
)

// What rules may make of a window of text: any that serve a model stay far below, as the worst character of NFKD becomes 11 times its bytes,
// and ByteLevel doubles them.
const (
	maxGrown  = 32      // times its bytes
	freeGrown = 1 << 20 // and so many beyond
)

// limit sets what so many bytes of a text may become, and how long patterns may search in them.
func (e *encoder) limit(size int) {
	e.room, e.left = freeGrown+maxGrown*size, 2*matchTime*time.Duration(1+size>>20)
}

var errGrown = fmt.Errorf("its rules make of a text more than %d times its size; a normalizer or pre_tokenizer of the tokenizer grows without measure", maxGrown)

// fail keeps the first error, which ends the encoding.
func (e *encoder) fail(err error) {
	if e.err == nil {
		e.err = err
	}
}

// fits says whether there is room for so many bytes.
func (e *encoder) fits(n int) bool {
	if n > e.room {
		e.fail(errGrown)
	}
	return e.err == nil
}
