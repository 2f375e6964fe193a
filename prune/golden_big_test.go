//go:build big

package prune_test

func init() { slowDepth = 8 }
