package ref

// Embedding gives row tokens[t] of table as row t.
//
//	table [vocab, hidden] · result [tokens, hidden]
func Embedding(table Mat, tokens []int) Mat { return GatherRows(table, tokens) }
