package ref

// EmbeddingBackward adds row t of dy to row tokens[t] of dTable, for every t: what Embedding and AddPositions pass back to their table.
//
//	dTable [vocab, hidden] · dy [tokens, hidden]
func EmbeddingBackward(dTable, dy Mat, tokens []int) {
	check(dTable.Cols == dy.Cols && len(tokens) == dy.Rows, "embedding_bwd", dTable.shape(), dy.shape(), len(tokens))
	for t, id := range tokens {
		view(dy.Row(t)).Add(view(dTable.Row(id)), view(dTable.Row(id)))
	}
}
