// Package users reads and writes users/assign and users/cdb, by which qmail
// knows who gets the mail for a local part (qmail-users(5)).
//
// NewU does the whole job of qmail-newu: it makes users/cdb of users/assign,
// byte for byte as that program does, durably, and in memory that does not
// grow with the file beyond a few bytes a line. WriteCDB is the part without
// files. ParseAssign reads users/assign for editing and keeps every byte. PW2U
// makes users/assign of the accounts of a system, as qmail-pw2u does.
//
// OpenDB looks local parts up in users/cdb. Lspawn adds what qmail-lspawn does
// around it: without a hit, or without users/cdb, Getpw asks the accounts of
// the system as qmail-getpw does.
//
// Check tells what in these files does not work as it looks, among it a
// users/cdb that is not made of the users/assign beside it.
//
// ParsePoppasswd reads users/poppasswd, a file of Plesk, for editing.
//
// All text is bytes, and case is folded for ASCII letters only. Fields are not
// checked beyond what qmail-newu checks: a uid may be any text.
package users
