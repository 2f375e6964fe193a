package tokenizer

import "strings"

// symbol is a stretch of a text during byte-pair encoding, linked to its neighbours.
type symbol struct {
	start, size int32 // bytes; size 0 once the left neighbour has swallowed it
	prev, next  int32 // -1 at the ends
	id          int32 // -1 if no token has this spelling
}

// candidate is a pair that may merge: the symbol left of the seam and what the two were when it was found.
type candidate struct {
	rank, left, size, id int32
}

// before orders candidates: the merge learnt first, then the leftmost.
func (a candidate) before(b candidate) bool {
	return a.rank < b.rank || a.rank == b.rank && a.left < b.left
}

// mergeAll merges pairs in symbols, best first, until lookup knows no pair that stands side by side. A heap and links
// keep it at n log n: a megabyte without a space is one piece. Candidates whose symbols have changed since stay in the
// heap and are passed over when they come up; a symbol only grows, so its size tells.
func mergeAll(e *encoder, symbols []symbol, heap []candidate, lookup func(left, right symbol) (rank, id int32, ok bool)) []candidate {
	heap = heap[:0]
	consider := func(left, right int32) {
		if left < 0 || right < 0 {
			return
		}
		l, r := symbols[left], symbols[right]
		if rank, id, ok := lookup(l, r); ok {
			heap = push(heap, candidate{rank, left, l.size + r.size, id})
		}
	}
	for i := 1; i < len(symbols) && !e.over(); i++ {
		consider(int32(i-1), int32(i))
	}
	for len(heap) > 0 && !e.over() {
		var c candidate
		c, heap = pop(heap)
		left := &symbols[c.left]
		if left.size == 0 || left.next < 0 || left.size+symbols[left.next].size != c.size {
			continue
		}
		right := &symbols[left.next]
		left.size, left.id, left.next = c.size, c.id, right.next
		right.size = 0
		if left.next >= 0 {
			symbols[left.next].prev = c.left
		}
		consider(left.prev, c.left)
		consider(c.left, left.next)
	}
	return heap
}

func push(heap []candidate, c candidate) []candidate {
	heap = append(heap, c)
	i := len(heap) - 1
	for i > 0 && c.before(heap[(i-1)/2]) {
		heap[i] = heap[(i-1)/2]
		i = (i - 1) / 2
	}
	heap[i] = c
	return heap
}

func pop(heap []candidate) (candidate, []candidate) {
	top, last := heap[0], heap[len(heap)-1]
	heap = heap[:len(heap)-1]
	i := 0
	for 2*i+1 < len(heap) {
		child := 2*i + 1
		if child+1 < len(heap) && heap[child+1].before(heap[child]) {
			child++
		}
		if !heap[child].before(last) {
			break
		}
		heap[i] = heap[child]
		i = child
	}
	if len(heap) > 0 {
		heap[i] = last
	}
	return top, heap
}

// cache remembers the ids of the words of one text, which repeat a lot.
type cache map[string][]int

const (
	cachedWord  = 64      // bytes; longer words rarely come twice
	cachedWords = 1 << 16 // then it starts anew, so that memory stays bounded
)

func (c cache) put(word string, ids []int) {
	if len(word) <= cachedWord {
		if len(c) >= cachedWords {
			clear(c)
		}
		c[word] = append([]int(nil), ids...)
	}
}

const space = "▁" // how SentencePiece writes a space

// joinsWords tells whether a token crosses the seam between a word and the ▁ of the next. If no token of a vocabulary
// does, no merge ever crosses it either, and a text may be encoded word by word, which is faster and can be cached.
func joinsWords(token string) bool {
	for i := 1; i < len(token); i++ {
		if strings.HasPrefix(token[i:], space) && !strings.HasSuffix(token[:i], space) {
			return true
		}
	}
	return false
}

// nextWord is the length of the first word of text: up to a ▁ that does not follow another one.
func nextWord(text string) int {
	i := 0
	for strings.HasPrefix(text[i:], space) {
		i += len(space)
	}
	if n := strings.Index(text[i:], space); n >= 0 {
		return i + n
	}
	return len(text)
}
