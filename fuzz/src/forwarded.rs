//! Target `forwarded`: the headers in which proxies name their client, in any bytes.
//!
//! The first byte says which header, the rest are its lines. Promises: no panic; whatever a client writes, what the proxy adds
//! behind it decides, or nothing does; one line or several are the same; who is found is somebody; what was read, written
//! again, is read the same.

use drawgate::address::forwarded::{
    Element, Fault, Named, elements, forwarded, x_forwarded_for, x_forwarded_proto,
};
use drawgate::network::Network;
use drawgate::principal::ClientAddr;

use crate::Seed;

/// Checks one input.
pub fn run(data: &[u8]) {
    let Some((which, text)) = data.split_first() else { return };
    let lines: Vec<&[u8]> = text.split(|byte| *byte == b'\n').collect();
    match which % 3 {
        0 => check_forwarded(&lines),
        1 => check_x_forwarded_for(&lines),
        _ => {
            if let Ok(Some(is_encrypted)) = x_forwarded_proto(&lines) {
                let scheme: &[u8] = if is_encrypted { b"https" } else { b"http" };
                assert_eq!(x_forwarded_proto(&[scheme]), Ok(Some(is_encrypted)));
                assert_eq!(lines.len(), 1);
            }
        }
    }
}

fn check_forwarded(lines: &[&[u8]]) {
    let found = forwarded(lines, trusts);
    if let Ok(Named { client, is_encrypted: _ }) = found {
        assert!(!client.ip().is_unspecified());
        assert_eq!(forwarded(&[&lines.join(&b", "[..])], trusts), found, "one line is the same");
    }
    let added: &[u8] = b"for=203.0.113.7";
    let with_line = forwarded(&[lines, &[added]].concat(), trusts);
    let in_line = forwarded(&[&[lines, &[added]].concat().join(&b", "[..])], trusts);
    for decided in [with_line, in_line] {
        let is_the_proxys = decided == Ok(Named { client: client(), is_encrypted: None });
        assert!(is_the_proxys || decided == Err(Fault::Malformed { header: "Forwarded" }), "{decided:?}");
    }
    for elements in lines.iter().filter_map(|line| elements(line)) {
        let written = written(&elements);
        let again = self::elements(written.as_bytes());
        assert_eq!(again.as_ref(), Some(&elements), "{written}");
    }
}

fn check_x_forwarded_for(lines: &[&[u8]]) {
    let found = x_forwarded_for(lines, trusts);
    assert_eq!(x_forwarded_for(&[&lines.join(&b", "[..])], trusts), found, "one line is the same");
    assert_eq!(x_forwarded_for(&[lines, &[b"203.0.113.7"]].concat(), trusts), Ok(client()));
    if let Ok(client) = found {
        assert!(!client.ip().is_unspecified());
        assert_eq!(x_forwarded_for(&[client.to_string().as_bytes()], trusts), Ok(client));
        if !trusts(client) {
            assert_eq!(
                x_forwarded_for(&[&[&b"\"junk,"[..]], lines].concat(), trusts),
                found,
                "the left decides nothing"
            );
        }
    }
}

/// The elements as a line, every value in quotes.
fn written(elements: &[Element<'_>]) -> String {
    let quoted = |name: &str, value: &str| {
        let escaped: String = value.chars().flat_map(|character| ['\\', character]).collect();
        format!("{name}=\"{escaped}\"")
    };
    let element = |Element { called_by, scheme }: &Element<'_>| {
        let called_by = called_by.as_ref().map(|value| quoted("For", value));
        let scheme = scheme.as_ref().map(|value| quoted("PROTO", value));
        called_by.into_iter().chain(scheme).collect::<Vec<_>>().join(";")
    };
    elements.iter().map(element).collect::<Vec<_>>().join(" ,\t")
}

fn trusts(address: ClientAddr) -> bool {
    let trusted: Network = "10.0.0.0/8".parse().expect("a network");
    trusted.contains(address.ip())
}

/// Whom the proxy adds.
fn client() -> ClientAddr {
    ClientAddr::new("203.0.113.7".parse().expect("an address"))
}

/// The examples of RFC 7239, and what clients make of them.
#[must_use]
pub fn seeds() -> Vec<Seed> {
    let seed = |name: &str, which: u8, text: &str| Seed {
        name: name.to_owned(),
        bytes: [&[which], text.as_bytes()].concat(),
    };
    vec![
        seed("forwarded-all", 0, "for=192.0.2.60;proto=http;by=203.0.113.43"),
        seed("forwarded-v6", 0, "For=\"[2001:db8:cafe::17]:4711\""),
        seed("forwarded-several", 0, "for=192.0.2.43, for=\"[2001:db8:cafe::17]\",for=10.0.0.1"),
        seed("forwarded-lines", 0, "for=192.0.2.43\nfor=198.51.100.17;proto=https\nfor=10.0.0.1"),
        seed("forwarded-hidden", 0, "for=unknown, for=\"_gazonk\", for=_SEVKISEK"),
        seed("forwarded-escaped", 0, "for=\"\\1\\92.0.2.1:_port\";x=\"a,b;c=\\\"\""),
        seed("forwarded-open-quote", 0, "for=198.51.100.1;x=\""),
        seed("forwarded-twice", 0, "for=192.0.2.1;FOR=192.0.2.2"),
        seed("x-one", 1, "203.0.113.195"),
        seed("x-several", 1, "198.51.100.1, 203.0.113.7:4711,\t[2001:db8::1]:80 , 10.0.0.1"),
        seed("x-mapped", 1, "::ffff:203.0.113.7\n::ffff:10.0.0.1"),
        seed("x-junk", 1, "unknown, 010.1.1.1, 1.2.3, , 0.0.0.0"),
        seed("proto", 2, "HTTPS"),
        seed("proto-list", 2, "https,http"),
    ]
}
