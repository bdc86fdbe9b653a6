//! Tokens: `berth_<id>_<secret>`, known here only by their hash.

use crate::config::Admin;
use aws_lc_rs::constant_time::verify_slices_are_equal;
use berth_core::{AccountId, Error, Result};
use http::HeaderMap;
use http::header::AUTHORIZATION;
use sha2::{Digest as _, Sha256};

/// Longest token that is looked at.
const MAX: usize = 256;

/// Who a token speaks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// The account.
    pub account_id: AccountId,
    /// The part of the token that is not secret, for the audit log.
    pub token_id: String,
}

/// The tokens that are accepted.
#[derive(Debug, Clone)]
pub struct Tokens {
    admin: AccountId,
    hash: [u8; 32],
}

impl Tokens {
    /// The administrator's token.
    ///
    /// # Errors
    ///
    /// When the configured hash is not 64 hex digits.
    pub fn new(admin: &Admin) -> std::result::Result<Self, String> {
        let mut hash = [0; 32];
        hex::decode_to_slice(&admin.token_sha256, &mut hash)
            .map_err(|_| "gateway.admin.token_sha256 must be 64 hex digits".to_owned())?;
        Ok(Self {
            admin: admin.account_id,
            hash,
        })
    }

    /// Finds out who calls.
    ///
    /// # Errors
    ///
    /// [`Error::Unauthenticated`], which does not say what of the token was
    /// wrong.
    pub fn authenticate(&self, headers: &HeaderMap) -> Result<Caller> {
        let value = headers
            .get(AUTHORIZATION)
            .ok_or_else(|| unauthenticated("NOT_SIGNED_IN", "sign in first: set BERTH_TOKEN"))?;
        let token = value
            .to_str()
            .ok()
            .and_then(|value| value.strip_prefix("Bearer "))
            .filter(|token| token.len() <= MAX)
            .ok_or_else(|| {
                unauthenticated(
                    "TOKEN_MALFORMED",
                    "the header must read `authorization: Bearer berth_<id>_<secret>`",
                )
            })?;
        let hash = Sha256::digest(token.as_bytes());
        if verify_slices_are_equal(&hash, &self.hash).is_err() {
            return Err(unauthenticated(
                "TOKEN_UNKNOWN",
                "this token is not known; check BERTH_TOKEN, or ask for a new one",
            ));
        }
        Ok(Caller {
            account_id: self.admin,
            token_id: token.split('_').nth(1).unwrap_or_default().to_owned(),
        })
    }
}

fn unauthenticated(reason: &'static str, message: &str) -> Error {
    Error::Unauthenticated {
        reason,
        message: message.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens(token: &str) -> Tokens {
        Tokens::new(&Admin {
            account_id: AccountId::generate(),
            token_sha256: hex::encode(Sha256::digest(token)),
        })
        .unwrap()
    }

    fn headers(value: &str) -> HeaderMap {
        HeaderMap::from_iter([(AUTHORIZATION, value.parse().unwrap())])
    }

    #[test]
    fn only_the_whole_token_is_accepted() {
        let tokens = tokens("berth_admin_one");
        let caller = tokens.authenticate(&headers("Bearer berth_admin_one"));
        assert_eq!(caller.unwrap().token_id, "admin");
        for wrong in [
            "Bearer berth_admin_two",
            "Bearer berth_admin_on",
            "Bearer ",
            "Basic x",
        ] {
            assert!(tokens.authenticate(&headers(wrong)).is_err(), "{wrong}");
        }
        assert!(tokens.authenticate(&HeaderMap::new()).is_err());
    }

    #[test]
    fn a_refusal_does_not_repeat_the_token() {
        let error = tokens("berth_admin_one")
            .authenticate(&headers("Bearer berth_admin_guess"))
            .unwrap_err();
        assert!(!error.to_string().contains("guess"));
    }
}
