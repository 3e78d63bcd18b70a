// Package plesk reads what a Plesk host with qmail keeps of its mail: the
// database psa, live or from a dump.
package plesk
