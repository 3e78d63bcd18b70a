// Package samplehost makes the file system of a small Sendmail host, with the
// oddities that real ones have gathered over the years. It is made in code
// because some of its names and bytes would not survive in a source tree, and
// it comes out the same, byte for byte, each time.
//
// The Manifest says what is in it: who can log in and with which password, how
// many messages each mailbox has, and what a migration must report.
package samplehost
