//go:build ui

package ui_test

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

// screens is the variable that names a folder for screenshots of the application's states.
const screens = "VKCOME_SCREENS"

// program is vkcome ui, running.
type program struct {
	*testing.T
	root, address string
	cmd           *exec.Cmd
}

// binary builds vkcome once.
var binary = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "vkcome-ui-")
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "vkcome")
	out, err := exec.Command("go", "build", "-o", path, "github.com/vkcome/vkcome/cmd/vkcome").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("go build: %w: %s", err, out)
	}
	return path, nil
})

func TestMain(m *testing.M) {
	code := m.Run()
	if path, err := binary(); err == nil {
		_ = os.RemoveAll(filepath.Dir(path))
	}
	os.Exit(code)
}

func start(t *testing.T, root, state string) *program {
	t.Helper()
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	p := &program{T: t, root: root, cmd: exec.Command(path, "ui", "--root", root, "--no-open", "-q")}
	p.cmd.Env = append(os.Environ(), "XDG_STATE_HOME="+state, "HF_HUB_CACHE="+filepath.Join(state, "hub"))
	p.cmd.Stderr = os.Stderr
	out, err := p.cmd.StdoutPipe()
	if err == nil {
		err = p.cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.cmd.Process.Kill() })
	if p.address, err = bufio.NewReader(out).ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	p.address = strings.TrimSpace(p.address)
	return p
}

// interrupt is ^C: the program ends within a second, here with some more for a busy machine.
func (p *program) interrupt() {
	p.Helper()
	begun := time.Now()
	if err := p.cmd.Process.Signal(os.Interrupt); err != nil {
		p.Fatal(err)
	}
	_ = p.cmd.Wait()
	if code := p.cmd.ProcessState.Sys().(syscall.WaitStatus).ExitStatus(); code != 130 || time.Since(begun) > 3*time.Second {
		p.Errorf("exit %d %v after ^C", code, time.Since(begun))
	}
}

func (p *program) host() string {
	u, err := url.Parse(p.address)
	if err != nil {
		p.Fatal(err)
	}
	return u.Host
}

// chromium opens a page. Whatever the page complains of fails the test, unless quiet.
func chromium(t *testing.T, quiet bool, more ...chromedp.ExecAllocatorOption) context.Context {
	t.Helper()
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.NoSandbox, chromedp.WindowSize(1100, 900))
	if path, err := exec.LookPath("chromium"); err == nil {
		options = append(options, chromedp.ExecPath(path))
	}
	ctx, cancel := chromedp.NewExecAllocator(t.Context(), append(options, more...)...)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewContext(ctx)
	t.Cleanup(cancel)
	if err := chromedp.Listen(ctx, func(event any) {
		switch e := event.(type) {
		case *runtime.EventExceptionThrown:
			t.Errorf("the page: %s", e.ExceptionDetails.Text)
		case *log.EventEntryAdded:
			refused := strings.Contains(e.Entry.Text, "status of 4") // which the test asks for
			lost := strings.Contains(e.Entry.Text, "net::ERR_")      // as it ends the program
			if !quiet && !refused && !lost {
				t.Errorf("the page: %s %s", e.Entry.Text, e.Entry.URL)
			}
		}
	}); err != nil {
		t.Fatal(err)
	}
	return ctx
}

type step = chromedp.Action[chromedp.Void]

// do carries out steps. What it is about names the failure.
func do(t *testing.T, ctx context.Context, what string, steps ...step) {
	t.Helper()
	within, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	if err := chromedp.Do(within, steps...); err != nil {
		t.Fatalf("%s: %v; the page says: %s", what, err, get(t, ctx, chromedp.Evaluate[string]("document.body.innerText")))
	}
}

// get is a value that an action gives.
func get[T any](t *testing.T, ctx context.Context, a chromedp.Action[T]) T {
	t.Helper()
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	v, err := chromedp.Run(ctx, a)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// until waits for an expression to be true, on this page or one that follows.
func until(expression string) step {
	return func(ctx context.Context, t *chromedp.Target) (chromedp.Void, error) {
		for {
			if is, err := chromedp.Evaluate[bool]("Boolean("+expression+")")(ctx, t); err == nil && is {
				return chromedp.Void{}, nil
			}
			select {
			case <-ctx.Done():
				return chromedp.Void{}, fmt.Errorf("%s: %w", expression, ctx.Err())
			case <-time.After(20 * time.Millisecond):
			}
		}
	}
}

// says waits until an element that can be seen has a text.
func says(selector, text string) step {
	return until(fmt.Sprintf(`document.querySelector(%[1]q)?.checkVisibility() && document.querySelector(%[1]q).innerText.includes(%[2]q)`, selector, text))
}

// script is JavaScript that is run on the page.
func script(text string) step {
	return func(ctx context.Context, t *chromedp.Target) (chromedp.Void, error) {
		return chromedp.Evaluate[chromedp.Void](text)(ctx, t)
	}
}

func set(selector, value string) step {
	return chromedp.Steps(chromedp.Focus(chromedp.CSS(selector)), script(fmt.Sprintf(`document.querySelector(%q).value = ''`, selector)), chromedp.SendKeys(chromedp.CSS(selector), value))
}

// click waits until a button can be pressed, as none can that would begin something beside what runs, and presses it where it is: the page may
// move, and make its buttons anew, between a look for one and a pointer's press there.
func click(selector string) step {
	return until(fmt.Sprintf(`(() => {
		const button = document.querySelector(%q);
		if (!button || button.disabled || !button.checkVisibility()) return false;
		button.click();
		return true;
	})()`, selector))
}

// shoot takes a screenshot of the whole page, where a folder for them is given.
func shoot(t *testing.T, ctx context.Context, name string) {
	t.Helper()
	dir := os.Getenv(screens)
	if dir == "" {
		return
	}
	image := get(t, ctx, chromedp.FullScreenshot(100))
	if err := os.WriteFile(filepath.Join(dir, name+".png"), image, 0o644); err != nil {
		t.Fatal(err)
	}
}

// fold chooses the embedded model by the keyboard, and fills in a run to 8 layers.
func fold(out string) step {
	return chromedp.Steps(set("#model", "embedded:tiny12"+kb.Enter), says("#model-said", "12 layers"), script(`document.querySelector('#layers').value = 9`), chromedp.Focus(chromedp.CSS("#layers")),
		chromedp.KeyEvent(kb.ArrowLeft), says("#target-said", "2,099,328 parameters"), set("#out", out))
}

// TestBrowser goes through the application as a user does: it chooses, runs, stops, resumes, fails, chats, compares.
func TestBrowser(t *testing.T) {
	root, state := t.TempDir(), t.TempDir()
	if err := os.WriteFile(filepath.Join(root, "empty.txt"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	p := start(t, root, state)
	ctx := chromium(t, false)
	do(t, ctx, "first start", chromedp.Navigate(p.address), says("#suggestions", "embedded:tiny12"), says("#no-runs", "None yet"), says("#device", "GiB"))
	if where := get(t, ctx, chromedp.Location()); strings.Contains(where, "token") || strings.Contains(where, p.address[len(p.address)-64:]) {
		t.Errorf("the address is %s", where)
	}
	shoot(t, ctx, "1-first-start")

	do(t, ctx, "browse", click(`[data-browse="model"]`), says("#browser-list", root), chromedp.KeyEvent(kb.Enter), says("#browser-list", "empty.txt"))
	shoot(t, ctx, "2-browse")
	do(t, ctx, "leave by Escape", chromedp.KeyEvent(kb.Escape), chromedp.WaitNotVisible(chromedp.CSS("#browser")))
	do(t, ctx, "a model that is none", set("#model", "/etc/passwd"+kb.Enter), says("#model-said", "outside"))
	do(t, ctx, "choose", fold("small"), click("#plan"), says("#plan-said", "union"))
	shoot(t, ctx, "3-chosen")

	do(t, ctx, "start", chromedp.Focus(chromedp.CSS("#out")), chromedp.KeyEvent(kb.Enter), says("#now-title", "Pruning"), says("#now-figure", "12 layers → 10"), click("#stop"), says("#now-title", "stopped"), says("#run-list", "Resume"))
	shoot(t, ctx, "4-stopped")
	do(t, ctx, "resume", click("#resume"), says("#now-figure", "12 layers → 9"))
	shoot(t, ctx, "5-running")
	p.interrupt()
	do(t, ctx, "the program ended", says("#lost", "connection"))

	p = start(t, root, state)
	do(t, ctx, "start again", chromedp.Navigate(p.address), says("#run-list", "stopped"), click(`[data-key="Resume-1"]`), says("#now-title", "Pruning: done"), says("#now-figure", "12 layers → 8"), says("#run-list", "2,099,328 parameters"))
	shoot(t, ctx, "6-done")
	if _, err := os.Stat(filepath.Join(root, "small", "vkcome.json")); err != nil {
		t.Error(err)
	}

	at := get(t, ctx, chromedp.Evaluate[string]("location.href"))
	do(t, ctx, "report", chromedp.Navigate(at+"report/1"), says("h1", "small"), says("h2", "small"),
		until(`getComputedStyle(document.querySelector('svg rect')).fill !== '' && document.querySelector('th button, th[aria-sort], th') !== null`))
	shoot(t, ctx, "11-report")
	do(t, ctx, "back", chromedp.Navigate(at), says("#run-list", "2,099,328 parameters"))

	do(t, ctx, "fail", fold("other"), set("#text", "empty.txt"), click("#start"), says("#now-title", "Pruning: failed"), says("#now-error", "empty.txt"), says("#run-list", "failed"))
	shoot(t, ctx, "7-failed")
	do(t, ctx, "refused at once", set("#out", "small"), click("#start"), says("#form-error", "there already"))

	do(t, ctx, "export", click(`[data-key="Export GGUF-1"]`), says("#run-list", "small.gguf"))
	do(t, ctx, "measure", click("#measure-form button[type=submit]"), says("#table", "36."))
	do(t, ctx, "chat", click(`[data-key="Chat-1"]`), until(`!document.querySelector('#say').disabled`), set("#message", "The film is"+kb.Enter),
		until(`document.querySelectorAll('[data-ended]').length === 2`))
	said := get(t, ctx, chromedp.Evaluate[[]string](`[...document.querySelectorAll('.said p')].map((p) => p.textContent)`))
	if len(said) != 2 || !strings.Contains(said[0], "bigger") || said[0] == said[1] {
		t.Errorf("said: %q", said)
	}
	shoot(t, ctx, "8-chat")
	if _, err := chromedp.Call(ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: "dark"}}}); err != nil {
		t.Fatal(err)
	}
	shoot(t, ctx, "9-dark")
	do(t, ctx, "a phone", chromedp.EmulateViewport(360, 740))
	if get(t, ctx, chromedp.Evaluate[bool](`document.documentElement.scrollWidth > 360`)) {
		t.Error("the page is wider than a phone")
	}
	shoot(t, ctx, "10-phone")
	p.interrupt()
}

// TestStrangers: a page of another port, and one of a name that points here, reach nothing, though the browser has a session.
func TestStrangers(t *testing.T) {
	p := start(t, t.TempDir(), t.TempDir())
	ctx := chromium(t, true, chromedp.Flag("host-resolver-rules", "MAP evil.example 127.0.0.1"))
	do(t, ctx, "session", chromedp.Navigate(p.address), says("#suggestions", "embedded:tiny12"))
	ours := get(t, ctx, chromedp.Location()) // which no stranger knows; the attacks go by it all the same

	var heard sync.Map // cookies that the stranger was sent
	stranger := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		heard.Store(r.Header.Get("Cookie"), true)
		w.Header().Set("Content-Type", "text/html")
		fmt.Fprintf(w, `<iframe id="frame" src="%[1]s"></iframe><form id="form" method="post" action="%[1]sapi/stop"></form>`, ours)
	}))
	defer stranger.Close()
	for _, from := range []string{stranger.URL, strings.Replace(stranger.URL, "127.0.0.1", "localhost", 1), strings.Replace(stranger.URL, "127.0.0.1", "evil.example", 1)} {
		for _, attack := range []string{
			`fetch('OURSapi/models', {credentials: 'include'}).then((r) => r.text(), () => 'refused')`,
			`fetch('OURSapi/stop', {method: 'POST', credentials: 'include', body: '{}'}).then((r) => r.text(), () => 'refused')`,
			`fetch('OURSapi/stop', {method: 'POST', credentials: 'include', headers: {'Content-Type': 'application/json', 'X-Vkcome-Csrf': 'x'}, body: '{}'}).then((r) => r.text(), () => 'refused')`,
			`fetch('OURSapi/stop', {method: 'POST', mode: 'no-cors', credentials: 'include', body: '{}'}).then((r) => r.type === 'opaque' ? 'refused' : 'read', () => 'refused')`,
			`new Promise((end) => { const e = new EventSource('OURSapi/events', {withCredentials: true}); e.onmessage = () => end('read'); e.onerror = () => end('refused'); })`,
			`import('OURSapp.js').then(() => 'read', () => 'refused')`,
		} {
			do(t, ctx, "a stranger's page", chromedp.Navigate(from))
			if got := get(t, ctx, chromedp.Evaluate[string](strings.ReplaceAll(attack, "OURS", ours), chromedp.EvalAwaitPromise)); got != "refused" {
				t.Errorf("from %s: %s gives %s", from, attack, got)
			}
		}
		do(t, ctx, "a form", chromedp.Navigate(from), script(`document.querySelector('#form').submit()`), until(`location.pathname.endsWith('/api/stop') && document.body.innerText`))
		if text := get(t, ctx, chromedp.Text(chromedp.CSS("body"))); !strings.Contains(text, "another site") {
			t.Errorf("a form from %s: %s", from, text)
		}
	}

	heard.Range(func(cookie, _ any) bool {
		if cookie != "" {
			t.Errorf("a stranger was sent %q", cookie)
		}
		return true
	})

	_, token, _ := strings.Cut(p.address, "?")
	_, port, _ := strings.Cut(p.host(), ":")
	for _, path := range []string{"/", "/?" + token, strings.TrimPrefix(ours, "http://"+p.host())} {
		do(t, ctx, "a rebound name", chromedp.Navigate("http://evil.example:"+port+path))
		if text := get(t, ctx, chromedp.Text(chromedp.CSS("body"))); !strings.Contains(text, "no such host name") {
			t.Errorf("evil.example%s: %s", path, text)
		}
	}
	do(t, ctx, "the page still works", chromedp.Navigate(ours), says("#suggestions", "embedded:tiny12"))
	p.interrupt()
}
