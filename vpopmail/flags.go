package vpopmail

// Flags are the bits of the gid field of vpasswd, pw_gid in memory
// (vpopmail.h). The letter behind each is vmoduser's option for it.
type Flags uint32

const (
	NoPasswordChange Flags = 1 << iota // -d
	NoPOP                              // -p
	NoWebmail                          // -w
	NoIMAP                             // -i
	BounceMail                         // -b
	NoRelay                            // -r
	NoDialup                           // -u
	User0                              // -0
	User1                              // -1
	User2                              // -2
	User3                              // -3
	NoSMTP                             // -s
	QmailAdmin                         // -a
	Override                           // -o
	NoSpamAssassin                     // -f
	DeleteSpam                         // -F
	SAAdmin                            // -S
	SAExpert                           // -E
	NoMaildrop                         // -m
)

// flagLetters are vmoduser's options in the order of the bits.
const flagLetters = "dpwibru0123saofFSEm"

// Letters returns the options of vmoduser that set these flags, in the order
// of the bits. Bits that have no option are left out.
func (f Flags) Letters() string {
	var b []byte
	for i := range len(flagLetters) {
		if f&(1<<i) != 0 {
			b = append(b, flagLetters[i])
		}
	}
	return string(b)
}
