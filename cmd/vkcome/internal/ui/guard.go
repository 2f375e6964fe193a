package ui

import (
	"crypto/rand"
	"crypto/subtle"
	"encoding/hex"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// guard decides which requests reach the application. A request must
//
//   - come from this machine, for a host that is this machine's loopback address or localhost with the very port: another name, which a
//     stranger's server could make point here (DNS rebinding), is refused;
//   - come from a page of this application, or from none, as the browser says (Sec-Fetch-Site, Origin);
//   - have the cookie of a session, which begins with the token of the address, and go to the folder of that session;
//   - and, where it changes anything, have the header that only a page of this application knows, and be JSON.
type guard struct {
	token   string // of the address
	session string // value of the cookie
	csrf    string // value of csrfHeader
	// base is the folder that the application has in addresses, "/…/". Browsers send the cookies of a host to all its ports: this one is of
	// the folder, whose name another port's server does not know, and so is not sent there.
	base string

	mu   sync.Mutex
	once map[string]time.Time // tokens that serve once, and until when
}

const (
	noSession  = "no session: open the address that vkcome ui printed, with its token"
	csrfHeader = "X-Vkcome-Csrf"
	onceTime   = time.Minute // that a browser may take to start
)

func newGuard() *guard {
	return &guard{token: secret(), session: secret(), csrf: secret(), base: "/" + secret() + "/", once: map[string]time.Time{}}
}

// secret is 256 random bits.
func secret() string {
	b := make([]byte, 32)
	_, _ = rand.Read(b) // never fails
	return hex.EncodeToString(b)
}

func (g *guard) newOnce() string {
	g.mu.Lock()
	defer g.mu.Unlock()
	token := secret()
	g.once[token] = time.Now().Add(onceTime)
	return token
}

// knows says whether a token begins a session. One that serves once has served then.
func (g *guard) knows(token string) bool {
	if same(token, g.token) {
		return true
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	for t, until := range g.once {
		if same(token, t) {
			delete(g.once, t)
			return time.Now().Before(until)
		}
	}
	return false
}

func same(a, b string) bool { return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1 }

// cookieName has the port in it, so that two of these applications do not take each other's.
func cookieName(port int) string { return fmt.Sprintf("vkcome-%d", port) }

// headers of every answer: nothing is loaded from elsewhere, shown in another page, or kept.
var headers = map[string]string{
	"Content-Security-Policy":      "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
	"X-Content-Type-Options":       "nosniff",
	"X-Frame-Options":              "DENY",
	"Referrer-Policy":              "no-referrer",
	"Cross-Origin-Resource-Policy": "same-origin",
	"Cross-Origin-Opener-Policy":   "same-origin",
	"Cache-Control":                "no-store",
}

// protect lets through to h what is allowed on a port.
func (g *guard) protect(h http.Handler, port int) http.Handler {
	var hosts []string
	for _, name := range []string{"127.0.0.1", "localhost", "::1"} {
		hosts = append(hosts, net.JoinHostPort(name, strconv.Itoa(port)))
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for name, value := range headers {
			w.Header().Set(name, value)
		}
		from, _, _ := net.SplitHostPort(r.RemoteAddr)
		if ip := net.ParseIP(from); ip == nil || !ip.IsLoopback() {
			forbid(w, "this application answers to its own machine alone")
			return
		}
		if !slices.Contains(hosts, r.Host) {
			forbid(w, "this application has no such host name")
			return
		}
		if r.Method == http.MethodGet && r.URL.Path == "/" && r.URL.Query().Has("token") {
			g.begin(w, r, port) // from wherever: who knows the token is welcome
			return
		}
		if !strings.HasPrefix(r.URL.Path, g.base) {
			forbid(w, noSession)
			return
		}
		if site := r.Header.Get("Sec-Fetch-Site"); site != "" && site != "same-origin" && site != "none" {
			forbid(w, "a request of another site")
			return
		}
		origin := r.Header.Get("Origin")
		if origin != "" && origin != "http://"+r.Host {
			forbid(w, "a request of another origin")
			return
		}
		if c, err := r.Cookie(cookieName(port)); err != nil || !same(c.Value, g.session) {
			forbid(w, noSession)
			return
		}
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			switch {
			case origin == "" && r.Header.Get("Sec-Fetch-Site") != "same-origin":
				forbid(w, "a request of no page")
				return
			case !same(r.Header.Get(csrfHeader), g.csrf):
				forbid(w, "a request without the page's secret: load the page again")
				return
			case r.Header.Get("Content-Type") != "application/json":
				forbid(w, "a request that is not JSON")
				return
			}
		}
		http.StripPrefix(strings.TrimSuffix(g.base, "/"), h).ServeHTTP(w, r)
	})
}

// begin begins a session and takes the token out of the address. It is a page that goes on to another, not a redirect: what follows is then a
// request of this application, wherever the link was, and has its cookie.
func (g *guard) begin(w http.ResponseWriter, r *http.Request, port int) {
	if !g.knows(r.URL.Query().Get("token")) {
		forbid(w, "the token is not that of this application, or has served")
		return
	}
	http.SetCookie(w, &http.Cookie{Name: cookieName(port), Value: g.session, Path: g.base, HttpOnly: true, SameSite: http.SameSiteStrictMode})
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	_, _ = fmt.Fprintf(w, `<!doctype html><html lang="en"><title>vkcome</title><meta http-equiv="refresh" content="0;url=%[1]s"><a href="%[1]s">vkcome</a></html>`, g.base)
}

func forbid(w http.ResponseWriter, why string) { http.Error(w, why, http.StatusForbidden) }
