//go:build linux && big

package main

const cycles = 1000
