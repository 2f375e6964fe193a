package work

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
)

// Seal is a JSON object of a format's name, the SHA-256 of a content, and the content, on one line: what vkcome writes for itself to read
// again. Whatever changes in it, Unseal finds it.
func Seal(format string, content any) ([]byte, error) {
	raw, err := json.Marshal(content)
	if err != nil {
		return nil, err
	}
	return fmt.Appendf(nil, "%s%x%s%s%s", sealHead(format), sha256.Sum256(raw), sealMiddle, raw, sealEnd), nil
}

const (
	sealMiddle = `","content":`
	sealEnd    = "}\n"
)

func sealHead(format string) string { return fmt.Sprintf(`{"format":%q,"sha256":"`, format) }

// Unseal reads what Seal gave, byte for byte: any other text is an error, also one that means the same.
func Unseal(text []byte, format string, content any) error {
	raw, ok := bytes.CutPrefix(text, []byte(sealHead(format)))
	if !ok {
		return fmt.Errorf("begins with %.60q, expected %q", text, sealHead(format))
	}
	raw, ok = bytes.CutSuffix(raw, []byte(sealEnd))
	sum, raw, middle := bytes.Cut(raw, []byte(sealMiddle))
	if !ok || !middle {
		return fmt.Errorf("is cut short after %d bytes", len(text))
	}
	if want := fmt.Appendf(nil, "%x", sha256.Sum256(raw)); !bytes.Equal(sum, want) {
		return fmt.Errorf("is not as it was written: its content has the SHA-256 %.12s, it says %.12q", want, sum)
	}
	return json.Unmarshal(raw, content)
}

// Sealed says whether a text is one of Seal's, of a format, or a part of one that was cut short. An empty one tells nothing.
func Sealed(text []byte, format string) bool {
	head := []byte(sealHead(format))
	return len(text) > 0 && (bytes.HasPrefix(text, head) || bytes.HasPrefix(head, text))
}
