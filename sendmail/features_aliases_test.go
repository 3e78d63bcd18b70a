package sendmail

// featureAliases have what an alias can hold, and what none should.
const featureAliases = `postmaster: root
MAILER-DAEMON: postmaster
root: alice
a1: bob
A2: Carol
a3: bob+box
a4: bob+box@example.com
a5: "bob"@example.com
a6: <@a.example,@b.example:c@d.example>
a7: @a.example:c@d.example
a8: @example.com:bob@example.com
a9: here!there!bob
a10: bob%a.example%example.com
a11: bob%example.com
a12: mail.example.com!bob
a13: group: bob, carol;
a14: Mr. Bob <bob>
a15: "Mr. Bob, Esq." <bob@example.com>, carol
a16: Bob (the (nested) one) <bob>
a17: bob (x, y), carol
a18: "|/bin/prog a, b"
a19: |/bin/prog a
a20: |"/bin/prog a, b"
a21: "|/bin/prog \"q\" $u"
a22: "|IFS=' ' && exec /usr/bin/procmail -f- || exit 75 #bob"
a23: '|/bin/prog'
a24: \"|/bin/prog\"
a25: /var/mail/a.box
a26: "/var/mail/a box"
a27: /var/mail/a box
a28: "\bob"
a29: \bob@example.com
a30: \alice
a31: \ALICE
a32: b\ob
a33: bob\
a34: "\\bob"
a35: :include:/etc/mail/lists/one
a36: ":include:/etc/mail/lists/one"
a37: :include: /etc/mail/lists/one
a38: :Include:/etc/mail/lists/one
a39: :include:lists/one
a40: :include:/etc/mail/lists/../lists/one
a41: :include:~/one
a42: :include:/etc/mail/lists/nested
a43: bob; carol
a44: bob carol
a45: bob@example.com carol@example.com
a46: bob@example..com
a47: bob@.example.com
a48: bob@example.com.
a49: bob@
a50: @example.com
a51: bob@example.com@remote.example
a52: bob@[192.0.2.1]
a53: bob@[mail.example.com]
a54: bob@[IPv6:::1]
a55: bob@localhost
a56: bob@mail
a57: bob@MAIL.EXAMPLE.COM
a58: bob@host.UUCP
a59: bob@host.BITNET
a60: host::bob
a61: bob@host.DECNET
a62: x.REDIRECT
a63: x@y.example.REDIRECT
a64: x@y.example.redirect
a65: bob,,carol
a66: bob,
a67: ,bob
a68: bob, # carol
a69: bob # carol
a70: #bob
a71: bob@remote.example, BOB@remote.example, bob@REMOTE.example, bob@remote.example.
a72: bob, bob+x, bob+y, \bob
a73: a74, a75
a74: a75, bob
a75: bob, carol, a73
a76: nosuch, bob
a77: nosuch
a78: error
a79: bob@remote.example (comment) , (c) carol
a80: ""@example.com
a81: "a b"@example.com
a82: "a b"@remote.example
a83: a.b
a84: .bob
a85: bob.
a86: bob..
a87: b"o"b
a88: "b"ob
a89: =bob
a90: bob/box
a91: /
a92: //var/mail/x
a93: |
a94: "|"
a95: :include:
a96: ~bob
a97: bob@example.com:25
a98: [bob]
a99: <>
a100: <bob>, <carol>
a101: <bob, carol>
a102: bob <>
a103: <bob> carol
a104: "first last"
first.last: bob
"first last": carol
a105: first.last@example.com
a106: "first.last"@example.com
a107: DEC%VAX
a108: Bob.Smith
a109: Bob_Smith
a110: "Bob Smith"
a111: "Bob Smith"@example.com
a112: bob.smith@example.com
a113: /dev/null
a114: /DEV/NULL
a115: "/dev/null"
a116: \/dev/null
a117: \|/bin/x
a118: bob@example.com, a119@example.org, carol@v.example
a119: erin
a120: erin+work
a121: erin+play@example.com
a122: special-x
a123: x@old.example
a124: bob+list@example.com
a125: frank.pop
a126: fax number@5551234.fax
a127: :fail: not here
a128: :blackhole:
a129: bob@example.com<carol@example.com>
a130: "bob"<carol@example.com>
a131: <carol@example.com>(x)bob
a132: bob @ example.com
a133: bob . smith @ example . com
a134: bob@exa mple.com
a135: bob@@example.com
a136: bob@remote.example>, carol
a137: <bob@remote.example, carol
a138: bob), carol
a139: (bob, carol
a140: "bob, carol
a141: carol, "bob
a142: \"bob
a143: \,bob
a144: bob\,carol
a145: bob\@remote.example
a146: bob\ carol
a147: "bob\"x"@remote.example
a148: bob@remote.example;
a149: J` + "\xf6" + `rg
j` + "\xf6" + `rg: bob
a150: owner-list
list: bob, carol@remote.example
owner-list: dave
owner-owner: root
list-dave: erin
list-x: frank
a151: bob@in.inside.example
a152: old bob
a153: bob@bit
a154: erin.
plus+one: bob
plus+*: carol
plus: dave
star+*: bob
a155: plus+one, plus+two, plus
a156: star+x, star
a157: bob+, bob++, bob+*, bob++x
a158: +bob
a159: bob@example.com+x
x+y@example.com: bob
at@mail.example.com: carol
at2@localhost: carol
<angle>: bob
(com) paren: bob
two words: bob
"x+y z": bob
!bang: bob
per%cent: bob
col\:on: bob
"q:q": carol
tab	tab: bob
a160:bob,carol
a161 :	bob	,	carol
a162: bob,\
   carol
a163: bob
	,carol
a164: bob
  # carol
a165: "bob
   smith", carol
a166: bob,
# comment between
 carol
a167: dup-a
dup-a: bob
DUP-A: carol
a168: nobody@[127.0.0.1]
a169: grace@example.com, heidi@example.org, ivan
a170: usenet.group@news
a171: bob@host.usenet
a172: x@dmap.example
`
