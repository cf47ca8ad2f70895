//! E-mail addresses: those that people have, and those that grammars allow and nobody should take (catalogue M15).

use drawgate::inspect::email::{Domain, Flaw, parse};

#[test]
fn m15_addresses_that_are_taken_and_what_they_become() {
    let local = "a".repeat(64);
    let long = format!("{local}@{}.example", ["b".repeat(63), "c".repeat(63), "d".repeat(53)].join("."));
    assert_eq!(long.len(), 254);
    for (text, address) in [
        ("ada@example.com", "ada@example.com"),
        ("Ada.Lovelace+chat@Example.COM", "Ada.Lovelace+chat@example.com"),
        ("o'brien@example.ie", "o'brien@example.ie"),
        ("_x-1@sub.sub.example.co.uk", "_x-1@sub.sub.example.co.uk"),
        ("!#$%&'*+-/=?^_`{|}~@example.org", "!#$%&'*+-/=?^_`{|}~@example.org"),
        ("1234567890@example.com", "1234567890@example.com"),
        ("a@b.co", "a@b.co"),
        ("x@xn--bcher-kva.example", "x@xn--bcher-kva.example"),
        (&format!("{local}@example.com"), &format!("{local}@example.com")),
        (&long, &long),
    ] {
        assert_eq!(parse(text, Domain::Ascii).as_deref(), Ok(address), "{text}");
        assert_eq!(parse(text, Domain::Any).as_deref(), Ok(address), "{text}");
    }
    for (text, address) in [
        ("ada@b\u{fc}cher.example", "ada@xn--bcher-kva.example"),
        ("ada@B\u{dc}CHER.example", "ada@xn--bcher-kva.example"),
        ("ada@bu\u{308}cher.example", "ada@xn--bcher-kva.example"),
        ("ada@\u{4f8b}\u{3048}.\u{30c6}\u{30b9}\u{30c8}", "ada@xn--r8jz45g.xn--zckzah"),
        // The full-width and the ideographic full stop are dots (UTS #46).
        ("ada@example\u{3002}com", "ada@example.com"),
    ] {
        assert_eq!(parse(text, Domain::Any).as_deref(), Ok(address), "{text}");
        assert_eq!(parse(text, Domain::Ascii), Err(Flaw::DomainMalformed), "{text}");
    }
}

/// Each with why it is refused, though some grammar or program takes it.
#[test]
fn m15_addresses_that_are_refused() {
    let long_local = format!("{}@example.com", "a".repeat(65));
    let long =
        format!("{}@{}.examples", "a".repeat(64), ["b".repeat(63), "c".repeat(63), "d".repeat(53)].join("."));
    assert_eq!(long.len(), 255);
    for (text, flaw, _why) in [
        ("", Flaw::Malformed, "nothing"),
        ("ada", Flaw::Malformed, "no @"),
        ("@example.com", Flaw::LocalMalformed, "no local part"),
        ("ada@", Flaw::DomainMalformed, "no domain"),
        (&long_local, Flaw::LocalTooLong, "RFC 5321 4.5.3.1.1"),
        (&long, Flaw::TooLong, "RFC 5321 4.5.3.1.3"),
        (
            "\"ada\"@example.com",
            Flaw::LocalMalformed,
            "quoted: allowed by RFC 5321, in no use, a trap for whoever splits at @",
        ),
        ("\"a@b\"@example.com", Flaw::LocalMalformed, "the same"),
        ("\"a\\\"b\"@example.com", Flaw::LocalMalformed, "the same"),
        ("ada(comment)@example.com", Flaw::LocalMalformed, "comments are RFC 5322 alone"),
        ("ada@(comment)example.com", Flaw::DomainMalformed, "the same"),
        ("Ada <ada@example.com>", Flaw::LocalMalformed, "a display name"),
        ("<ada@example.com>", Flaw::LocalMalformed, "a path, not an address"),
        ("mailto:ada@example.com", Flaw::LocalMalformed, "a URI; a colon is no atext"),
        ("ada@[192.0.2.1]", Flaw::DomainMalformed, "an address literal: mail to no domain"),
        ("ada@[IPv6:2001:db8::1]", Flaw::DomainMalformed, "the same"),
        ("ada@192.0.2.1", Flaw::DomainMalformed, "an address is no domain name"),
        ("ada@localhost", Flaw::DomainMalformed, "no dot: a name of this network alone"),
        ("ada@example.c", Flaw::DomainMalformed, "no top-level domain has one letter"),
        ("ada@example.123", Flaw::DomainMalformed, "none is all digits"),
        ("ada@example..com", Flaw::DomainMalformed, "an empty label"),
        ("ada@.example.com", Flaw::DomainMalformed, "the same"),
        ("ada@example.com.", Flaw::DomainMalformed, "RFC 5321 has no dot at the end"),
        ("ada@-example.com", Flaw::DomainMalformed, "a label begins with no hyphen"),
        ("ada@example-.com", Flaw::DomainMalformed, "nor ends with one"),
        ("ada@ex_ample.com", Flaw::DomainMalformed, "an underscore is in no host name"),
        ("ada@ex--ample.com\u{0}", Flaw::DomainMalformed, "a NUL, at which some readers stop"),
        ("ada@xn--a.com", Flaw::DomainMalformed, "says that it is Punycode and is not"),
        (".ada@example.com", Flaw::LocalMalformed, "a dot at the beginning"),
        ("ada.@example.com", Flaw::LocalMalformed, "at the end"),
        ("a..da@example.com", Flaw::LocalMalformed, "two dots; one large provider in Japan took them once"),
        ("ada@b@example.com", Flaw::LocalMalformed, "two @"),
        ("ada lovelace@example.com", Flaw::LocalMalformed, "a space"),
        (" ada@example.com", Flaw::LocalMalformed, "the same; who means it trims it"),
        ("ada@example.com ", Flaw::DomainMalformed, "the same"),
        ("ada@example.com\r\nBcc: all@example.com", Flaw::LocalMalformed, "a header smuggled in"),
        ("ada@example.com\n", Flaw::DomainMalformed, "a line's end"),
        ("a\u{0}da@example.com", Flaw::LocalMalformed, "a NUL"),
        (
            "ad\u{430}@example.com",
            Flaw::LocalMalformed,
            "a Cyrillic a: a local part beyond ASCII (RFC 6531) looks like others",
        ),
        ("a\u{200b}da@example.com", Flaw::LocalMalformed, "a character of no width"),
        ("\u{202e}ada@example.com", Flaw::LocalMalformed, "a control of direction"),
        ("ada,bob@example.com", Flaw::LocalMalformed, "a list to some programs"),
        ("ada;bob@example.com", Flaw::LocalMalformed, "the same"),
        ("a\\b@example.com", Flaw::LocalMalformed, "a backslash is no atext"),
        ("ada@exa%6dple.com", Flaw::DomainMalformed, "percent escapes are no part of it"),
        ("ada@example.com:25", Flaw::DomainMalformed, "nor are ports"),
    ] {
        assert_eq!(parse(text, Domain::Ascii), Err(flaw), "{text:?}");
        assert_eq!(parse(text, Domain::Any), Err(flaw), "{text:?}");
    }
    for (text, _why) in [
        ("ada@ex\u{200b}ample\u{202e}.com", "a control of direction in a domain"),
        ("ada@\u{5d0}a.example", "a label of two directions (RFC 5893)"),
        ("ada@\u{1f4a9}\u{0}.example", "a NUL behind what Unicode allows"),
        ("ada@a\u{2100}b.example", "a sign that becomes `a/c`, which is in no name"),
    ] {
        assert_eq!(parse(text, Domain::Any), Err(Flaw::DomainMalformed), "{text:?}");
    }
    let grows =
        format!("{}@{}.example", "a".repeat(64), ["\u{fc}".repeat(30), "\u{fc}".repeat(30)].join("."));
    assert!(parse(&grows, Domain::Any).is_ok() && grows.len() < 254);
}
