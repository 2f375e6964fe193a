package op

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"testing"
)

func tuningText(content string) []byte {
	return fmt.Appendf(nil, "%s%x\n%s\n", tuningMagic, sha256.Sum256([]byte(content)), content)
}

const someTuning = `{"device":"a","uuid":"b","driver":"c","driver_version":"1","choices":[{"shader":"linear","dtype":"F16","tokens":32,"out":64,"in":64,"tile":[1,2,3,4,5,6],"gflops":1,"default":[1,2,3,4,5,6],"default_gflops":1}]}`

// TestTuningFlips changes every bit of a tuning: it is not read.
func TestTuningFlips(t *testing.T) {
	good := tuningText(someTuning)
	if parseTuning(good) == nil {
		t.Fatal("a good one is not read")
	}
	for bit := range 8 * len(good) {
		bad := bytes.Clone(good)
		bad[bit/8] ^= 1 << (bit % 8)
		if parseTuning(bad) != nil {
			t.Fatalf("read with bit %d changed", bit)
		}
	}
}

// FuzzTuning reads tunings with the right sum that somebody wrote: what is read are shapes that products have.
func FuzzTuning(f *testing.F) {
	for _, text := range []string{someTuning, `null`, `{"choices":[null]}`, `{"choices":[{"tokens":0,"out":1,"in":1}]}`, `{"choices":[{"tokens":1,"out":1,"in":99999999}]}`,
		`{"choices":[{"tokens":1,"out":1,"in":1,"tile":[-1]}]}`, `{"choices":[{"tokens":1,"out":1,"in":1,"gflops":-1}]}`, `{"choices":[{"tokens":1,"out":1,"in":1,"tile":[1,2,3,4,5,6,7]}]}`} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		for _, text := range [][]byte{raw, tuningText(string(raw))} {
			tuning := parseTuning(text)
			if tuning == nil {
				continue
			}
			for _, c := range tuning.Choices {
				if c.check() != nil {
					t.Errorf("%s chooses for %v", raw, c.TunePoint)
				}
			}
		}
	})
}
