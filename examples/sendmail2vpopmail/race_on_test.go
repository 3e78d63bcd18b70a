//go:build race

package main

// memoryFactor is how many times as much memory the tests' programs may take:
// the race detector keeps a shadow of it.
const memoryFactor = 4
