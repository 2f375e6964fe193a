package main

import (
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"sync"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/rivo/uniseg"

	"github.com/vkcome/vkcome/model/memory"
	"github.com/vkcome/vkcome/model/printable"
	"github.com/vkcome/vkcome/prune/distill"
	"github.com/vkcome/vkcome/vk"
)

const (
	redraw   = 100 * time.Millisecond // the least time between two states of the progress line
	logEvery = time.Second            // the same of --log-format json
	maxStage = 200                    // bytes of a stage's name, which may be that of a file
)

// bar is the progress of a verb: a line on a terminal, that is drawn again as it goes, lines of JSON with --log-format json, else nothing.
// Its methods may be called from one goroutine; another one draws.
type bar struct {
	off    bool
	c      *common
	mu     sync.Mutex
	now    state
	rate   rate
	logged state         // what was last written as JSON
	wrote  time.Time     // when
	stop   chan struct{} // nil: nothing is drawn
	ended  chan struct{}
}

// state is what progress shows.
type state struct {
	stage       string
	done, total int
	bytes       bool            // done and total are
	training    *distill.Status // nil where nothing is trained
	begin       time.Time       // of the stage
}

func (c *common) bar() *bar {
	return &bar{c: c, off: c.quiet || !onTerminal && !screen.json}
}

// set shows done of total of a stage.
func (b *bar) set(stage string, done, total int) {
	b.show(state{stage: stage, done: done, total: total})
}

// setBytes is set of bytes.
func (b *bar) setBytes(stage string, done, total int64) {
	b.show(state{stage: stage, done: int(done), total: int(total), bytes: true})
}

// train shows how far a stage of training is.
func (b *bar) train(s *distill.Status) {
	if s.Tokens == 0 {
		b.set(s.Stage, s.Done, s.Total)
		return
	}
	copied := *s
	copied.Record = nil // which the line does not need
	b.show(state{stage: s.Stage, done: s.Done, total: s.Total, training: &copied})
}

func (b *bar) show(s state) {
	if b.off {
		return
	}
	now := time.Now()
	b.mu.Lock()
	first := b.stop == nil
	fresh := first || s.stage != b.now.stage
	if fresh {
		b.now.begin = now
		b.rate = rate{}
	}
	b.rate.add(now, s.done)
	s.begin = b.now.begin
	b.now = s
	if first {
		b.stop, b.ended = make(chan struct{}), make(chan struct{})
		go b.draw(b.stop, b.ended)
	}
	b.mu.Unlock()
	if screen.json {
		b.log(now, false)
	} else if fresh {
		screen.draw(b.line(now))
	}
}

// draw draws the line anew until stop is closed: when something changed, and every second, as time goes on.
func (b *bar) draw(stop, ended chan struct{}) {
	defer close(ended)
	tick := time.NewTicker(redraw)
	defer tick.Stop()
	var last state
	var drawn time.Time
	for {
		select {
		case <-stop:
			return
		case now := <-tick.C:
			b.mu.Lock()
			changed := b.now != last
			last = b.now
			b.mu.Unlock()
			if screen.json {
				b.log(now, false)
			} else if changed || now.Sub(drawn) >= time.Second {
				drawn = now
				screen.draw(b.line(now))
			}
		}
	}
}

// finish takes the line away.
func (b *bar) finish() {
	b.mu.Lock()
	stop, ended := b.stop, b.ended
	b.stop = nil
	b.mu.Unlock()
	if stop == nil {
		return
	}
	close(stop)
	<-ended
	if screen.json {
		b.log(time.Now(), true)
	} else {
		screen.draw("")
	}
}

// log writes the state as a line of JSON if it is another than the last one and that is a second ago; a new stage, and the end of one, at once.
func (b *bar) log(now time.Time, last bool) {
	b.mu.Lock()
	s, left, known := b.now, time.Duration(0), false
	if s != b.logged && (last || s.stage != b.logged.stage || s.done >= s.total || now.Sub(b.wrote) >= logEvery) {
		left, known = b.left(now)
		b.logged, b.wrote = s, now
	} else {
		s.stage = ""
	}
	b.mu.Unlock()
	if s.stage == "" {
		return
	}
	device, _ := b.c.deviceMemory()
	e := entry{Level: "info", Stage: printable.Clip(s.stage, maxStage), Done: &s.done, Total: &s.total, Elapsed: rounded(now.Sub(s.begin).Seconds()), Host: memory.Resident().Now, Device: device}
	if known {
		seconds := rounded(left.Seconds())
		e.Left = &seconds
	}
	if t := s.training; t != nil {
		e.Loss, e.HeldOut, e.Tokens = finite(t.Loss), finite(t.HeldOut), finite(t.Tokens)
	}
	screen.log(e)
}

// finite is a number that JSON has, 0 for others.
func finite(v float64) float64 {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return 0
	}
	return v
}

func rounded(seconds float64) float64 { return math.Round(seconds*10) / 10 }

// left is how long the stage is still going to take, if that is known. The caller holds the lock.
func (b *bar) left(now time.Time) (time.Duration, bool) {
	if t := b.now.training; t != nil {
		return t.Left, t.Left > 0
	}
	return b.rate.left(now, b.now.total)
}

// line is the progress as a line of the terminal's width.
func (b *bar) line(now time.Time) string {
	b.mu.Lock()
	s := b.now
	left, known := b.left(now)
	b.mu.Unlock()
	var taken []string
	if host := memory.Resident().Now; host > 0 {
		taken = append(taken, "host "+vk.Bytes(host))
	}
	if device, known := b.c.deviceMemory(); known {
		taken = append(taken, "device "+vk.Bytes(device))
	}
	elapsed := now.Sub(s.begin)
	return progressLine(screen.width(), s, elapsed, left, known, taken)
}

// progressLine is a line of fewer cells than a width, as terminals go on to the next line after their last cell. What matters less is left out
// where there is no room.
func progressLine(width int, s state, elapsed, left time.Duration, known bool, taken []string) string {
	room := width - 1
	fraction := 0.0
	if s.total > 0 {
		fraction = min(1, max(0, float64(s.done)/float64(s.total)))
	}
	count := fmt.Sprintf("%d/%d", s.done, s.total)
	if s.bytes {
		count = vk.Bytes(int64(s.done)) + "/" + vk.Bytes(int64(s.total))
	}
	stage := printable.Clip(printable.Line(s.stage), maxStage)
	if room < 1 {
		return ""
	}
	if uniseg.StringWidth(stage)+1+len(count) > room { // the numbers stay, the name is cut
		return cut(cut(stage, max(0, room-1-len(count)))+" "+count, room)
	}
	room -= uniseg.StringWidth(stage) + 1 + len(count)
	const (
		barPart = iota
		percentPart
		elapsedPart
		leftPart
		memoryPart
	)
	parts := map[int]string{}
	take := func(part int, text string) {
		if text != "" && uniseg.StringWidth(text)+2 <= room {
			parts[part] = text
			room -= uniseg.StringWidth(text) + 2
		}
	}
	if known {
		take(leftPart, clock(left)+" left")
	}
	take(percentPart, fmt.Sprintf("%.0f %%", 100*fraction))
	take(elapsedPart, clock(elapsed))
	for i, text := range taken {
		take(memoryPart+i, text)
	}
	if t := s.training; t != nil {
		take(memoryPart+len(taken), fmt.Sprintf("loss %.4g", t.Loss))
		if t.HeldOut != 0 {
			take(memoryPart+len(taken)+1, fmt.Sprintf("held out %.4g", t.HeldOut))
		}
		take(memoryPart+len(taken)+2, humanize.Comma(int64(t.Tokens))+" tokens/s")
	}
	if cells := min(30, room-4); cells >= 10 {
		full := int(fraction * float64(cells))
		parts[barPart] = "[" + strings.Repeat("#", full) + strings.Repeat(".", cells-full) + "]"
	}
	line := stage + " " + count
	for part := range memoryPart + len(taken) + 3 {
		if text, ok := parts[part]; ok {
			line += "  " + text
		}
	}
	return line
}

// cut is a text of at most so many cells: of a longer one the beginning and an ellipsis. A cell is what a digit takes; letters of East Asia take
// two, and marks on others none.
func cut(text string, cells int) string {
	if uniseg.StringWidth(text) <= cells {
		return text
	}
	var out strings.Builder
	taken := 0
	for state := -1; text != ""; {
		var letter string
		var width int
		letter, text, width, state = uniseg.FirstGraphemeClusterInString(text, state)
		if taken+width > cells-1 {
			break
		}
		taken += width
		out.WriteString(letter)
	}
	if cells < 1 {
		return ""
	}
	return out.String() + "…"
}

// clock is a duration as people say it: 42s, 3m05s, 2h07m.
func clock(d time.Duration) string {
	seconds := int64(max(0, d).Round(time.Second) / time.Second)
	switch {
	case seconds < 60:
		return fmt.Sprintf("%ds", seconds)
	case seconds < 3600:
		return fmt.Sprintf("%dm%02ds", seconds/60, seconds%60)
	}
	return fmt.Sprintf("%dh%02dm", seconds/3600, seconds/60%60)
}

// rate estimates how fast a stage goes from its last half: what came at once before, as from a cache, is soon forgotten, and a burst within
// it is not taken for the rule.
type rate struct {
	points []point // of the stage so far, the first is its beginning
}

type point struct {
	at   time.Time
	done int
}

const (
	maxPoints  = 128             // beyond them every other one is forgotten
	leastShown = 2 * time.Second // before that there is no estimate
)

// add notes that so much is done. Steps back begin anew.
func (r *rate) add(now time.Time, done int) {
	if n := len(r.points); n > 0 && done < r.points[n-1].done {
		r.points = nil
	} else if n > 0 && done == r.points[n-1].done {
		return
	}
	if r.points = append(r.points, point{now, done}); len(r.points) > maxPoints {
		kept := r.points[:1]
		for i := 2; i < len(r.points); i += 2 {
			kept = append(kept, r.points[i])
		}
		r.points = kept // the last one is there, as their number is odd
	}
}

// left is how long the rest takes, if that can be said: the mean of an item over the last half of the time, times the items that are left. An item
// that takes longer than that already counts as long as it has taken.
func (r *rate) left(now time.Time, total int) (time.Duration, bool) {
	n := len(r.points)
	if n < 2 || now.Sub(r.points[0].at) < leastShown {
		return 0, false
	}
	last := r.points[n-1]
	middle := r.points[0].at.Add(last.at.Sub(r.points[0].at) / 2)
	from := r.points[0]
	for _, p := range r.points[:n-1] { // the last one before the middle
		if !p.at.After(middle) {
			from = p
		}
	}
	if last.done >= total { // what comes now has no measure
		return 0, false
	}
	items, since := float64(last.done-from.done), now.Sub(last.at).Seconds()
	each := last.at.Sub(from.at).Seconds() / items
	if since > each {
		each = (last.at.Sub(from.at).Seconds() + since) / (items + 1)
	}
	seconds := each*float64(total-last.done) - min(since, each)
	if seconds > math.MaxInt32 {
		return 0, false
	}
	return time.Duration(max(0, seconds) * float64(time.Second)), true
}

// opened are the devices that a verb has open.
type opened struct {
	mu   sync.Mutex
	list []*vk.Device
}

func (o *opened) add(d *vk.Device) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.list = append(o.list, d)
}

// close closes a device, which nothing asks for its memory any more.
func (o *opened) close(d *vk.Device) error {
	o.mu.Lock()
	for i := range o.list {
		if o.list[i] == d {
			o.list = append(o.list[:i:i], o.list[i+1:]...)
			break
		}
	}
	o.mu.Unlock()
	return d.Close()
}

// deviceMemory is what buffers on the open devices take, if there are any.
func (c *common) deviceMemory() (used int64, open bool) {
	c.opened.mu.Lock()
	defer c.opened.mu.Unlock()
	for _, d := range c.opened.list {
		used += d.Memory().Used
	}
	return used, len(c.opened.list) > 0
}

// entry is a line of --log-format json. The README documents it.
type entry struct {
	Time    string   `json:"time"`
	Level   string   `json:"level"` // info, warning or error
	Stage   string   `json:"stage,omitempty"`
	Done    *int     `json:"done,omitempty"`
	Total   *int     `json:"total,omitempty"`
	Elapsed float64  `json:"elapsed_seconds,omitempty"`
	Left    *float64 `json:"left_seconds,omitempty"`
	Host    int64    `json:"host_bytes,omitempty"`
	Device  int64    `json:"device_bytes,omitempty"`
	Loss    float64  `json:"loss,omitempty"`
	HeldOut float64  `json:"held_out_loss,omitempty"`
	Tokens  float64  `json:"tokens_per_second,omitempty"`
	Message string   `json:"message,omitempty"`
	Error   string   `json:"error,omitempty"`
}

// logFormat is the value of --log-format, which logsJSON has read before.
type logFormat struct{}

func (logFormat) String() string { return "text" }
func (logFormat) Type() string   { return "string" }

func (logFormat) Set(text string) error {
	if text != "text" && text != "json" {
		return fmt.Errorf("%q, expected text or json", text)
	}
	return nil
}

// logsJSON says whether a command line asks for --log-format json, so that what is wrong with the rest of it is told so too.
func logsJSON(args []string) (is bool) {
	for i, a := range args {
		switch {
		case a == "--":
			return is
		case strings.HasPrefix(a, "--log-format="):
			is = a == "--log-format=json"
		case a == "--log-format" && i+1 < len(args):
			is = args[i+1] == "json"
		}
	}
	return is
}

// encode is a line of JSON; control characters that JSON lets through are written as \uNNNN.
func (e entry) encode(now time.Time) string {
	e.Time = now.UTC().Format("2006-01-02T15:04:05.000Z")
	var out strings.Builder
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(e) // texts and finite numbers
	return printable.Text(out.String())
}
