//go:build big

package prune

func init() { slowDepth = 8 }
