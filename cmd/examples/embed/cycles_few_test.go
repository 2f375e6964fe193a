//go:build linux && !big

package main

const cycles = 100 // some five seconds of a core
