package sendmail

// standardChecks are the rules by which a host without a sendmail.cf takes
// mail: relay-domains, and the access map for clients, senders and recipients
// ("blocklist_recipients" is not asked for). A key with a tag comes before one
// without, and an address before the domain or network that it is in.
const standardChecks = `Kaccess hash -o /etc/mail/access
FR-o /etc/mail/relay-domains
FR-o /etc/sendmail.cR
CR$={VirtHost}
C{Accept}OK RELAY
SOne
R<$-> <$+>	$: <$(access $1:$2 $: ? $)> <$1> <$2>
R<?> <$-> <$+>	$: <$(access $2 $: ? $)> <$1> <$2>
SByDomain
R<$-> <$+>	$: $>One <$1> <$2>
R<SKIP> <$-> <$+>	$@ ?
R<?> <$-> <$-.$+>	$@ $>ByDomain <$1> <$3>
R<$*> <$-> <$+>	$@ $1
SByNet
R<$-> <$+>	$: $>One <$1> <$2>
R<SKIP> <$-> <$+>	$@ ?
R<?> <$-> <$+::$->	$@ $>ByNet <$1> <$2>
R<?> <$-> <$+:$->	$@ $>ByNet <$1> <$2>
R<?> <$-> <$+.$->	$@ $>ByNet <$1> <$2>
R<$*> <$-> <$+>	$@ $1
SVerdict
R?	$@ OK
R$={Accept}	$@ OK
RSKIP	$@ OK
RREJECT	$#error $@ 5.7.1 $: "550 Access denied"
RDISCARD	$#discard $: discard
RQUARANTINE:$+	$#error $@ quarantine $: $1
RERROR:$-.$-.$-:$+	$#error $@ $1.$2.$3 $: $4
RERROR:$+	$#error $: $1
R$+	$#error $: $1
Scheck_relay
R$* $| $*	$: $>ByDomain <Connect> <$1>
R?	$: $>ByNet <Connect> <$&{client_addr}>
R$*	$@ $>Verdict $1
SSender
R$+<@$+.>	$: $1<@$2>
R$+<@$+>	$: $>One <From> <$1@$2>
R<?> <$-> <$+@$+>	$: $3 $| $>One <From> <$2@>
R$+ $| <?> $*	$@ $>ByDomain <From> <$1>
R$+ $| $+	$: $2
R<$*> $*	$@ $1
Scheck_mail
R<>	$@ OK
R$*	$: $>Sender $>3 $1
R$*	$@ $>Verdict $1
Scheck_rcpt
R$*	$: $>3 $1
R$+<@$+.>	$: $1<@$2>
R$-	$@ OK
R$* % $*<@$*>	$: $1<@percent.hack>
R$+<@$=w>	$@ OK
R$+<@$={VirtHost}>	$@ OK
R$+<@$*$=R>	$@ OK
R$+<@$+>	$: $>ByDomain <To> <$2>
RRELAY	$@ OK
R$*	$: $&{client_addr}
R$@	$@ OK
R127.0.0.1	$@ OK
RIPv6:::1	$@ OK
R$=R $*	$@ OK
R$+	$: $>ByNet <Connect> <$1>
RRELAY	$@ OK
R$*	$: $&{client_name}
R$=w	$@ OK
R$*$=R	$@ OK
R$+	$: $>ByDomain <Connect> <$1>
RRELAY	$@ OK
R$*	$#error $@ 5.7.1 $: "550 Relaying denied"
`
