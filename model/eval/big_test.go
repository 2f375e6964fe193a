//go:build big

package eval_test

func init() { big = true }
