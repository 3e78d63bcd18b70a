// Package qmailkit is the root of a library for moving mail between hosts.
// placeholder
package qmailkit
