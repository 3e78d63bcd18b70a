package sendmail

import (
	"context"
	"strings"
)

// standardRules are those of a host without a sendmail.cf: names of class w are
// local, virtual users come first, then the routes of mailertable, and a plus
// sign parts a user from a detail. They are our own, and smaller than those of
// cf/README, because nothing but recipients, and by standardChecks envelopes, is
// asked of them.
const standardRules = `O OperatorChars=.:%@!^/[]+
O BlankSub=.
O OldStyleHeaders=True
O ForwardPath=$z/.forward.$w+$h:$z/.forward+$h:$z/.forward.$w:$z/.forward
Kdequote dequote
Kvirtuser hash -o /etc/mail/virtusertable
Kmailertable hash -o /etc/mail/mailertable
Kdomaintable hash -o /etc/mail/domaintable
Fw-o /etc/mail/local-host-names
Fw-o /etc/mail/sendmail.cw
Fw-o /etc/sendmail.cw
F{VirtHost}-o /etc/mail/virtuser-domains
CPREDIRECT
Mlocal,	F=lsDFMAw5:/|@qSPfhn9
Mprog,	F=lsDFMoqeu9
Msmtp,	P=[IPC], F=mDFMuX, A=TCP $h
Mesmtp,	P=[IPC], F=mDFMuXa, A=TCP $h
Mrelay,	P=[IPC], F=mDFMuXa8, A=TCP $h
S3
R$*<$*>$*	$2
R$+@$+	$:$1<@$2>
R$+<$+@$+>	$1$2<@$3>
R$+<@$+.>	$:$1<@$2>
R$+<@localhost>	$:$1<@$j>
R$+<@$+>	$@$1<@$(domaintable $2 $)>
S0
R$+<@$=w>	$:<$(virtuser $1@$2 $@ $1 $:none$)>$1<@$2>
R$+<@$={VirtHost}>	$:<$(virtuser $1@$2 $@ $1 $:none$)>$1<@$2>
R<none>$+ + $+<@$+>	$:<$(virtuser $1++@$3 $@ $1 $@ $2 $@ +$2 $:none$)>$1+$2<@$3>
R<none>$+ + $*<@$+>	$:<$(virtuser $1+*@$3 $@ $1 $@ $2 $@ +$2 $:none$)>$1+$2<@$3>
R<none>$+ + $*<@$+>	$:<$(virtuser $1@$3 $@ $1 $@ $2 $@ +$2 $:none$)>$1+$2<@$3>
R<none>$+ + $*<@$+>	$:<$(virtuser @$3 $@ $1 $@ $2 $@ +$2 $:none$)>$1+$2<@$3>
R<none>$+<@$+>	$:<$(virtuser @$2 $@ $1 $:none$)>$1<@$2>
R<none>$+	$:$1
R<error:$-.$-.$-:$+>$*	$#error $@ $1.$2.$3 $: $4
R<error:$-:$+>$*	$#error $@ $1 $: $2
R<error:$-$+>$*	$#error $@ $1 $: $2
R<$+>$+<@$+>	$@ $>0 $>3 $1
R$+<@$+.REDIRECT>	$#error $@ 5.1.1 $: "551 User has moved; please try " <$1@$2>
R$+<@$=w>	$#local $: $(dequote $1 $)
R$+<@$+>	$:<$(mailertable $2 $:none$)>$1<@$2>
R<$-:$*>$+	$@ $>Way <$1:$2>$3
R<$*>$+<@$+>	$:<none><><$3>$2<@$3>
R<none><$*><$-.$+>$+	<$(mailertable .$3 $@ $1$2 $:none$)><$1$2.><$3>$4
R<$-:$*><$*><$*>$+	$@ $>Way <$1:$2>$5
R<$*><$*><$*>$+<@$+>	$:<$(mailertable . $@ $5 $:none$)>$4<@$5>
R<$-:$*>$+	$@ $>Way <$1:$2>$3
R<$*>$+<@$+>	$#esmtp $@ $3 $: $2@$3
R$+	$#local $: $(dequote $1 $)
SWay
R<error:$-.$-.$-:$+>$*	$#error $@ $1.$2.$3 $: $4
R<error:$-:$+>$*	$#error $@ $1 $: $2
R<error:$-$+>$*	$#error $@ $1 $: $2
R<local:$+>$+<@$+>	$#local $@ $2@$3 $: $1
R<local:>$+<@$+>	$#local $@ $1@$2 $: $1
R<$-:$+>$+<@$+>	$#$1 $@ $2 $: $3@$4
S5
R$+ + *	$#local $@ $&h $: $1
R$+ + $*	$#local $@ +$2 $: $1 + *
R$+	$:$1<>$&h
R$+<> + $*	$#local $@ $2 $: @ $1
R$+<>$*	$:$1
`

// standard gives a config the rules above, and the alias file that exists.
func (c *config) standard(ctx context.Context, h *Host) error {
	r := configReader{host: h, ctx: ctx, conf: c, ruleset: "0"}
	n := 0
	for text := range strings.Lines(standardRules + standardChecks) {
		n++
		if err := r.line(line{place: place{line: n}, raw: strings.TrimSuffix(text, "\n")}); err != nil {
			return err
		}
	}
	if c.options["aliasfile"] != "" {
		return nil
	}
	at, err := h.findFile("etc/mail/aliases", "etc/aliases", "usr/lib/aliases")
	if err == nil && at != "" {
		c.options["aliasfile"] = "/" + at
	}
	return err
}
