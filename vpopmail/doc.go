// Package vpopmail adds domains, alias domains and users to a vpopmail
// installation, as vadddomain, vaddaliasdomain and vadduser do, and reads what
// is there.
//
// Open takes vpopmail's home and qmail's directory, each as an *os.Root.
// AddDomain, AddAliasDomain and AddUser are the classic jobs one by one, and
// leave the same bytes, modes and owners as the real programs. A migration
// takes them apart: PrepareDomain makes everything that the outside does not
// see, AddUsers and PutUsers put any number of accounts into a domain with one
// rewrite of its records, Place says where a Maildir lies, and GoLive tells
// qmail of any number of domains, in an order in which no mail bounces.
//
// The bytes are those of vpopmail 5.4.33 or 5.6, as the Profile says.
//
// Login decides on a login as vchkpw does, and CheckLogin says which hashes it
// can check. DeliveryPlan says what vdelivermail does with mail for an address,
// and Deliver does it.
//
// ModifyUser does the job of vmoduser, SetQuota that of vsetuserquota,
// SetPassword and ChangePassword those of vpasswd and vchangepw, DeleteUser
// that of vdeluser, RebuildCDB that of vmkpasswd.
//
// DeleteDomain does the job of vdeldomain; AddAlias, RemoveAlias and Aliases
// that of valias; Limits, EditLimits and RemoveLimits that of vmoddomlimits;
// AddIPAlias and RemoveIPAlias that of vipmap.
//
// NewSQL makes a Backend of a MySQL or MariaDB database in either layout of
// vpopmail's tables, ReadSQLConfig says which database an installation uses, and
// ConvertDomain does the job of vconvert between the two forms. Package
// vpopmailtest has one test suite for every Backend.
//
// WriteUserInfo and WriteDomainInfo print what vuserinfo and vdominfo print,
// Usage says how full a Maildir is, and Check tells what is wrong with an
// installation. None of these writes anything.
//
// # Durability
//
// What a call has done is on the disk when it returns. PrepareDomain, PutUsers,
// GoLive and DeleteDomain can be cut short anywhere, by a crash or a full disk,
// and run again: they complete what is missing, take back what cannot be
// completed, and the result is that of one clean run. While a change is under
// way there is a note of it (.qmailkit_change and .qmailkit_after in a domain's
// directory, .qmailkit_pending beside the domains); it is gone when the change is done. The users' records
// are changed under vpopmail's own lock, .vpasswd.lock, and qmail's files under
// FILE.lock, so vpopmail's programs may run at the same time.
//
// # Defects of vpopmail
//
// What the real programs do wrong is imitated where only bytes depend on it,
// and not done where mail is lost by it or somebody is let in.
//
//	real programs                                        here
//	.dir-control: third numbers read from the second      imitated
//	hash directory moves on whenever a count is ..00      imitated
//	sort key of domains with five labels and more         imitated
//	a file out of order is sorted as a whole, with a      imitated; Problem
//	    notice                                                control.out-of-order
//	a new domain gets a second line in rcpthosts and      imitated for a domain that
//	    virtualdomains if it has one                          was not in users/assign
//	domain names such as "...", ".a.", "a..b" (5.4),      imitated
//	    alias names such as "x", "-dash"
//	.dir-control counts accounts that failed              not done: they are checked first
//	.dir-control and users/cdb without a lock             done under a lock
//	predictable salts                                     random salts
//	vpasswd readable to all after some commands           always 0600
//	an account half made after an error (long hash or     ErrTooLong, nothing made
//	    quota)
//	half a domain after an error, users/assign beyond     ErrTooLong, nothing made
//	    repair: names of 88 characters and more
//	vpasswd lines that the readers cut (255, 511 bytes)   ErrTooLong
//	quotas such as 10G (ten bytes), 1000c, 1.5M, -5       ErrQuota; see ClassicQuota
//	'/' in user names: an account outside its domain      ErrBadUser
//	user names that are vpopmail's or qmail's own files   ErrUserDir
//	':' and LF in hash and gecos, LF and NUL in a clear   ErrBadByte
//	    password
//	catch-all: any text, run by a shell                   letters, digits, ._-+=@ only
//	no control/locals: an empty one is made, mail for     not made, unless the domain
//	    the name in control/me bounces                        is that name
//	NAME in control/locals in capitals or with blanks     removed as qmail reads it
//	    stays, and the domain stays local
//	users/assign without its final dot                    mended, as there
//	users/assign that qmail-newu refuses: change half     ErrAssign, nothing changed
//	    done
//	text behind the dot of users/assign comes to life     ErrAssign, nothing changed
//	lines over 299 bytes are cut in two                   kept; Problem control.long-line
//	a missing vlimits.default stops vadduser              no default quota then
//	HUP to every process with "qmail-send" in its line    the caller's function
//	-e in 5.4 keeps the old clear password (vmoduser)     removed with its hash
//	SQL: text cut or refused by its column after half of    ErrTooLong or ErrBadByte,
//	    the account is made                                  nothing made
//	SQL: permissions behind perm_autoresponder are read   read by their names
//	    from the column before
//	SQL: a-b.c and a.b.c share one table                  ErrBadDomain
//	SQL: backslashes before quotes, in any sql_mode       placeholders only
//	SQL: ':' in gecos, which vconvert makes fields of     ErrBadByte
//	vconvert deletes the target first and loses what      *ConvertError, nothing changed
//	    does not fit
//	vuserinfo and vdominfo write maildirsize,             not done: nothing that only
//	    vpasswd.cdb and .dir-control                          tells writes
//	vuserinfo prints the path of an empty lastauth as     an empty address
//	    the address
//	stray .PID file for a uid without a home              not made; such domains are not
//	                                                          counted
//
//	vdeluser: the path of the freed hash directory is     imitated, below the domain's
//	    cut where the user's name first occurs (5.4)          directory
//	vdeluser: the catch-all account goes if it is named   ErrCatchAll
//	    by path (5.4)
//	vdeluser: whatever directory the record names goes,   kept unless it lies below the
//	    "/" and that of other users too                       domain's and is his alone
//	vdeluser: an interruption leaves directory, counter   completed by the next change
//	    or record
//	vmoduser -c with ':' shifts the fields behind         ErrBadByte
//	vmoduser -n leaves vpasswd.cdb as it was              not offered
//	vmoduser, vsetuserquota of a domain stop half way     all or none
//	vmoduser -S, -E are dropped unless root asks          ErrNotRoot
//	vpasswd -r, vadduser -r: passwords follow from the    random
//	    time
//	vchangepw tells who exists by the time it takes       the same work
//	onchange before a removal; twice for vadduser -e      after it; once
//	a look-up makes a missing vpasswd.cdb                 vpasswd is read; RebuildCDB
//
//	vdeldomain: aliases go without -f where the name is   ErrHasAliases
//	    given in capitals
//	vdeldomain: an alias without a dot, or listed in      removed with its domain
//	    morercpthosts, outlives its domain
//	vdeldomain: names in capitals or with blanks stay in  removed as qmail reads them
//	    rcpthosts, and mail for the domain is taken on
//	vdeldomain: morercpthosts.cdb is compiled only if     compiled if anything changed
//	    exactly one line went
//	vdeldomain: the tree goes while mail still arrives    it goes last
//	vdeldomain: empty rcpthosts, morercpthosts and        not made
//	    virtualdomains are made
//	vdeldomain: any directory that users/assign names,    ErrSharedDir
//	    vpopmail's own and that of other domains too
//	vdeldomain: files go through a directory that is a    the link goes, nothing behind it
//	    link
//	domains/.dir-control goes from 0 to 2^64-1            stays 0
//	domains/.dir-control is readable to all afterwards    imitated
//	vmoddomlimits: what is forbidden to users and         kept (in perm_maillist)
//	    moderators of mailing lists is lost
//	.qmailadmin-limits is root's, readable to all; who    the owner's at once; reading
//	    reads it as root gives it to the owner                changes nothing
//	valias: a line of 160 bytes and more is not stored    ErrTooLong
//	valias: a blank first line, a blank before an         ErrBadAlias
//	    address: mail fails
//	valias: NUL and LF in a line                          ErrBadByte
//	valias: '/' in the name: a file outside the domain    ErrBadUser
//	valias -i and -d of "default": the catch-all          ErrBadAlias
//	valias: a line is added to one without its LF         the LF is added
//	valias -s ends at an alias without lines              goes on
//	vipmap drops lines that are no mapping                kept
//	vipmap stores domains in capitals, never found        in lower case
//
//	APOP and CRAM-MD5 with an empty challenge: MD5 of     refused
//	    the bare password lets in
//	a login's password is cut at 155 bytes less the name, compared whole, up to 512
//	    and the environment at 99                             bytes; whole
//	a password is learnt that is the answer to a          refused
//	    challenge, that has a LF (another account!), or
//	    beside a clear password that is another
//	a password is learnt although the login is refused    not learnt
//	an account without a directory gets one that is not   status 14; mail is deferred
//	    stored; its mail bounces
//	relaying for what is no IPv4 address                  not opened
//	two deliveries of one process in a second have one    names have a part of their own
//	    name
//	a line of .qmail over 499 bytes is read as two        mail is deferred
//	a blank line in .qmail is an address                  passed over; Problem
//	                                                          delivery.blank-line
//	a .qmail of comments only throws mail away            imitated; Problem
//	                                                          delivery.discard
//	links, "..", directories of others in and behind      mail is deferred
//	    .qmail are followed
//	a maildirsize of less than nothing bounces all mail   counted anew
//	"(null)" before the message for want of $RPLINE       left out
//	a message of no byte is accepted and dropped          imitated
//
// Passwords and hashes are qmailkit.Secret and are in no error.
package vpopmail
