//! Properties: nothing that a peer can send panics, and nothing but what was signed verifies.

use drawgate::auth::Authenticator;
use drawgate::clock::UnixTime;
use proptest::prelude::*;
use serde_json::json;

use crate::made::*;

proptest! {
    #[test]
    fn arbitrary_bytes_never_verify_and_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..512)) {
        prop_assert!(Authenticator::new(config()).unwrap().verify(&bytes, now()).is_err());
    }

    #[test]
    fn arbitrary_signed_texts_never_panic(header in any::<String>(), claims in any::<String>()) {
        let _ = verify(&raw_token(&header, &claims));
        let _ = with_claims(&claims);
    }

    #[test]
    fn arbitrary_claims_never_panic(
        exp in "-?[0-9]{1,20}(\\.[0-9]{1,9})?(e-?[0-9]{1,3})?",
        iat in any::<f64>(),
        nbf in any::<u64>(),
        now_millis in any::<u64>(),
    ) {
        let claims = format!(r#"{{"sub":"alice","exp":{exp},"iat":{},"nbf":{nbf}}}"#, json!(iat));
        let token = raw_token(HEADER, &claims);
        let _ = Authenticator::new(config()).unwrap().verify(token.as_bytes(), UnixTime::from_millis(now_millis));
    }

    #[test]
    fn a_token_with_any_byte_changed_never_verifies(index in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut token = token(&json!({})).into_bytes();
        let place = index.index(token.len());
        prop_assume!(token[place] != byte);
        token[place] = byte;
        prop_assert!(Authenticator::new(config()).unwrap().verify(&token, now()).is_err());
    }

    #[test]
    fn a_token_cut_or_grown_never_verifies(index in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let authenticator = Authenticator::new(config()).unwrap();
        let good = token(&json!({})).into_bytes();
        let place = index.index(good.len());
        prop_assert!(authenticator.verify(&good[..place], now()).is_err());
        let mut grown = good;
        grown.insert(place, byte);
        prop_assert!(authenticator.verify(&grown, now()).is_err());
    }
}

#[test]
fn a_token_with_any_character_changed_never_verifies() {
    let authenticator = Authenticator::new(config()).unwrap();
    let good = token(&json!({}));
    assert!(authenticator.verify(good.as_bytes(), now()).is_ok());
    for place in 0..good.len() {
        for byte in b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.+/= \n\0" {
            let mut changed = good.clone().into_bytes();
            if changed[place] != *byte {
                changed[place] = *byte;
                assert!(authenticator.verify(&changed, now()).is_err(), "byte {place} as {byte}");
            }
        }
    }
}
