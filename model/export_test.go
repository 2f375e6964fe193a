package model

// Dispatched counts the dispatches that a generator recorded so far.
func (g *Generator) Dispatched() int { return g.r.Dispatched }
