package ref

// AddPositions adds row positions[t] of a table of learned positions to row t of x.
//
//	x [tokens, hidden] · table [positions, hidden] · result [tokens, hidden]
func AddPositions(x, table Mat, positions []int) Mat { return Add(x, Embedding(table, positions)) }
