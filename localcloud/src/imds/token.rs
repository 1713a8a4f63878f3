//! Tokens of version 2: an end and a MAC over it and the instance. Nothing is kept, so that they outlive the daemon.

use std::sync::Arc;

use base64::{Engine as _, engine::general_purpose::URL_SAFE};
use hmac::{Hmac, KeyInit as _, Mac};
use sha2::Sha256;

#[derive(Clone)]
pub(super) struct Tokens(Arc<Vec<u8>>);

impl Tokens {
    pub(super) fn new(secret: &str) -> Self {
        Self(Arc::new(format!("metadata-token:{secret}").into_bytes()))
    }

    fn mac(&self, instance_id: &str, end: [u8; 8]) -> Hmac<Sha256> {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).expect("HMAC takes keys of any length");
        mac.update(&end);
        mac.update(instance_id.as_bytes());
        mac
    }

    pub(super) fn new_token(&self, instance_id: &str, end_epoch_secs: i64) -> String {
        let end = end_epoch_secs.to_be_bytes();
        let mac = self.mac(instance_id, end).finalize().into_bytes();
        URL_SAFE.encode([end.as_slice(), mac.as_slice()].concat())
    }

    pub(super) fn is_valid(&self, token: &str, instance_id: &str, now_epoch_secs: i64) -> bool {
        let Ok(bytes) = URL_SAFE.decode(token.trim()) else { return false };
        let Some((end, mac)) = bytes.split_first_chunk::<8>() else { return false };
        self.mac(instance_id, *end).verify_slice(mac).is_ok() && now_epoch_secs < i64::from_be_bytes(*end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_one_instances_and_ends() {
        let tokens = Tokens::new("secret");
        let token = tokens.new_token("i-1", 100);
        assert!(tokens.is_valid(&token, "i-1", 99));
        assert!(!tokens.is_valid(&token, "i-1", 100), "its time is over");
        assert!(!tokens.is_valid(&token, "i-2", 99), "another instance's");
        assert!(!Tokens::new("other").is_valid(&token, "i-1", 99));
        assert!(!tokens.is_valid("", "i-1", 99) && !tokens.is_valid("AAAA", "i-1", 99));
        assert!(Tokens::new("secret").is_valid(&token, "i-1", 99), "also after a restart");
    }
}
