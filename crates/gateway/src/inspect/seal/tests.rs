//! Sealed and opened: in order, once, in its own direction and session; what is not so is refused.

use super::*;

#[test]
fn what_is_sealed_opens_once_in_order_in_its_direction_and_session() {
    let (mut client, mut gate) = (sealing(1), sealing(1));
    for text in ["hello", "", "{\"a\":1}"] {
        let sealed = client.seal(Toward::Backend, text).unwrap();
        assert_eq!(gate.open(Toward::Backend, sealed.as_bytes()).as_deref(), Ok(text));
        // Again, and back at its sender.
        assert_eq!(gate.open(Toward::Backend, sealed.as_bytes()), Err(Unsealed));
        assert_eq!(client.open(Toward::Client, sealed.as_bytes()), Err(Unsealed));
    }
    let [skipped, next] = ["a", "b"].map(|text| client.seal(Toward::Backend, text).unwrap());
    assert_eq!(gate.open(Toward::Backend, next.as_bytes()), Err(Unsealed));
    assert_eq!(gate.open(Toward::Backend, skipped.as_bytes()).as_deref(), Ok("a"));
    let elsewhere = sealing(1).seal(Toward::Backend, "x").unwrap();
    assert_eq!(sealing(2).open(Toward::Backend, elsewhere.as_bytes()), Err(Unsealed));
}

#[test]
fn every_byte_that_is_changed_is_noticed() {
    let sealed = sealing(1).seal(Toward::Backend, "hello").unwrap().into_bytes();
    for at in 0..sealed.len() {
        for byte in [b'A', b'.', b'=', b'_', 0xff] {
            let mut changed = sealed.clone();
            if std::mem::replace(&mut changed[at], byte) != byte {
                assert_eq!(sealing(1).open(Toward::Backend, &changed), Err(Unsealed), "{at} {byte}");
            }
        }
        assert_eq!(sealing(1).open(Toward::Backend, &sealed[..at]), Err(Unsealed), "{at}");
    }
    assert_eq!(sealing(1).open(Toward::Backend, &sealed).as_deref(), Ok("hello"));
}

/// Each is sealed with the right key: the header alone is what is wrong with it.
#[test]
fn a_header_that_says_anything_else_is_refused() {
    let good = r#"{"alg":"dir","enc":"A256GCM","kid":"k1","seq":1,"to":"gate"}"#;
    assert_eq!(headed(good, b"hello"), Ok("hello".to_owned()));
    // Order and white space are the sender's.
    let spaced = r#" {"to":"gate", "seq":1, "kid":"k1", "enc":"A256GCM", "alg":"dir"}"#;
    assert_eq!(headed(spaced, b"hello"), Ok("hello".to_owned()));
    for (from, into) in [
        (r#""dir""#, r#""A256KW""#),
        (r#""dir""#, r#""none""#),
        (r#""A256GCM""#, r#""A128GCM""#),
        (r#""A256GCM""#, r#""A128CBC-HS256""#),
        (r#""k1""#, r#""k2""#),
        (r#""k1""#, "1"),
        (r#""gate""#, r#""client""#),
        (r#""seq":1"#, r#""seq":0"#),
        (r#""seq":1"#, r#""seq":2"#),
        (r#""seq":1"#, r#""seq":-1"#),
        (r#""seq":1"#, r#""seq":1.0"#),
        (r#""seq":1"#, r#""seq":"1""#),
        (r#""seq":1"#, r#""seq":1,"seq":1"#),
        (r#""seq":1"#, r#""seq":1,"zip":"DEF""#),
        (r#""seq":1"#, r#""seq":1,"crit":["seq"]"#),
        (r#""seq":1"#, r#""seq":1,"typ":"JWE""#),
        (r#""seq":1,"#, ""),
        (r#""gate"}"#, r#""gate"} x"#),
        (good, "[]"),
        (good, ""),
    ] {
        assert!(good.contains(from));
        assert_eq!(headed(&good.replace(from, into), b"hello"), Err(Unsealed), "{from} {into}");
    }
    let long = good.replace('{', &format!("{{{}", " ".repeat(PROTECTED_BYTES_MAX)));
    assert_eq!(headed(&long, b"hello"), Err(Unsealed));
    assert_eq!(headed(good, b"\xff"), Err(Unsealed));
}

#[test]
fn a_key_ends_before_its_last_message() {
    let config = Config { messages_max: 3, ..config() };
    let salt = [1; SALT_BYTES];
    let (mut client, mut gate) = (Sealing::new(&config, &salt), Sealing::new(&config, &salt));
    for _ in 0..2 {
        let sealed = client.seal(Toward::Backend, "x").unwrap();
        gate.open(Toward::Backend, sealed.as_bytes()).unwrap();
    }
    assert_eq!(client.seal(Toward::Backend, "x"), Err(Spent));
    let mut unbounded = sealing(1);
    let third = [(); 3].map(|()| unbounded.seal(Toward::Backend, "x").unwrap()).into_iter().last().unwrap();
    assert_eq!(gate.open(Toward::Backend, third.as_bytes()), Err(Unsealed));
    // Whatever is asked for, a key never seals 2^31.
    let beyond = Sealing::new(&Config { messages_max: u32::MAX, ..config }, &salt);
    assert_eq!(beyond.messages_max, MESSAGES_MAX);
}

#[test]
fn nothing_of_a_key_is_printed() {
    let printed = format!("{:?} {:?}", config(), sealing(1));
    assert!(
        printed.contains("redacted") && !printed.contains("ssss") && !printed.contains("115"),
        "{printed}"
    );
}

fn config() -> Config {
    Config::new(KeyId::parse("k1").unwrap(), Secret::new(&[b's'; 32]))
}

fn sealing(salt: u8) -> Sealing {
    Sealing::new(&config(), &[salt; SALT_BYTES])
}

/// What opening gives of `plain` under this header.
fn headed(header: &str, plain: &[u8]) -> Result<String, Unsealed> {
    let Sealing { to_gate, .. } = sealing(1);
    let protected = URL_SAFE_NO_PAD.encode(header);
    let (iv, mut body) = ([7; NONCE_LEN], plain.to_vec());
    let nonce = Nonce::assume_unique_for_key(iv);
    let tag =
        to_gate.key.seal_in_place_separate_tag(nonce, Aad::from(protected.as_bytes()), &mut body).unwrap();
    let [iv, body, tag] = [&iv[..], &body, tag.as_ref()].map(|bytes| URL_SAFE_NO_PAD.encode(bytes));
    sealing(1).open(Toward::Backend, format!("{protected}..{iv}.{body}.{tag}").as_bytes())
}
