// Package users reads and writes users/assign and users/cdb, by which qmail
// knows who gets the mail for a local part (qmail-users(5)).
//
// NewU does the whole job of qmail-newu: it makes users/cdb of users/assign,
// byte for byte as that program does, durably, and in memory that does not
// grow with the file beyond a few bytes a line. WriteCDB is the part without
// files. ParseAssign reads users/assign for editing and keeps every byte.
//
// OpenDB looks local parts up in users/cdb. Lspawn adds what qmail-lspawn does
// around it: without a hit, or without users/cdb, Getpw asks the accounts of
// the system as qmail-getpw does.
//
// All text is bytes, and case is folded for ASCII letters only. Fields are not
// checked beyond what qmail-newu checks: a uid may be any text.
package users
