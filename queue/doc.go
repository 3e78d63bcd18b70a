// Package queue reads, checks and mends the queue of qmail: the directory
// queue below qmail's home, with the messages that were accepted and are not
// yet delivered.
//
// Open takes the directory and finds out how it is laid out; it only reads, and
// does no harm while qmail-send lives. Messages yields what is there, Check
// what is wrong with it, and WriteQread and WriteQstat print what qmail-qread
// and qmail-qstat print.
//
// # The files of a message
//
// The number of a message is the inode number of its file in mess. Which other
// files of that number are there says how far it has come (INTERNALS, section
// 2; + is there, - is not, ? may be):
//
//	S1  -mess
//	S2  +mess -intd -todo -info -local -remote -bounce   arriving, or left behind
//	S3  +mess +intd -todo -info -local -remote -bounce   arriving, or left behind
//	S4  +mess ?intd +todo ?info ?local ?remote -bounce   queued
//	S5  +mess -intd -todo +info ?local ?remote ?bounce   preprocessed
//
// Everything else is Illegal: no qmail program leaves it behind, wherever it
// is killed.
//
// mess, info, local and remote are split into directories named after the rest
// of the number when it is divided by conf-split, which is 23 almost always;
// with the big-todo patch todo and intd are split too. Both are read from the
// directories, and nothing here knows 23.
//
// # A queue in use
//
// Nothing locks a reader out, and nothing a reader could hold would stop
// qmail-queue. So files vanish under the reader, and messages come and go. That
// is normal: a message that ended meanwhile is left out, and one whose files
// changed state is looked at again before anything is said of it.
//
// # Changing a queue
//
// What changes a queue is a method of Lock, the lock that qmail-send holds for
// as long as it lives; only Enqueue, Expire and Retry do without, because they
// do what qmail's own programs do beside it. PlanRepair and PlanConvert say what
// would be done, Lock.Apply does it, Lock.Quarantine and Lock.Delete take
// messages out, Quarantine.Restore brings one back, Create makes an empty queue.
//
// Each of them can be killed at any moment and called again: no message is lost
// or doubled, and where files are on their way to other names qmail-send cannot
// start before they have arrived.
//
// # Memory
//
// A few bytes for each number in the queue are kept, and of each message as
// much as a small buffer holds; longer files are read when they are asked for.
// A plan to repair or to convert holds some dozens of bytes for each file.
package queue
