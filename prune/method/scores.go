package method

import (
	"encoding/json"
	"math"
)

// Scores are values by layer or window, NaN and in JSON null where the choice of a merge could do without one. Which ones it could do
// without depends on the rounds in which a corpus runs, and so on the device's memory; the others do not.
type Scores []float64

// MarshalJSON writes null for NaN.
func (s Scores) MarshalJSON() ([]byte, error) {
	list := make([]*float64, len(s))
	for i := range s {
		if !math.IsNaN(s[i]) {
			list[i] = &s[i]
		}
	}
	return json.Marshal(list)
}

// UnmarshalJSON reads what MarshalJSON writes.
func (s *Scores) UnmarshalJSON(raw []byte) error {
	var list []*float64
	if err := json.Unmarshal(raw, &list); err != nil {
		return err
	}
	*s = make(Scores, len(list))
	for i, v := range list {
		(*s)[i] = math.NaN()
		if v != nil {
			(*s)[i] = *v
		}
	}
	return nil
}
