//! Identifiers in AWS's forms: a prefix and 17 hexadecimal digits.

use rand::RngExt as _;

/// `i-0123456789abcdef0` for the prefix `i`.
#[must_use]
pub fn new(prefix: &str) -> String {
    let bits: u128 = rand::rng().random();
    format!("{prefix}-0{:016x}", bits & 0xffff_ffff_ffff_ffff)
}

/// `count` random characters out of A-Z and 2-7, as access keys have.
#[must_use]
pub fn base32(count: usize) -> String {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    let mut random = rand::rng();
    (0..count).map(|_| char::from(ALPHABET[random.random_range(0..ALPHABET.len())])).collect()
}

/// `count` random characters out of the base64 alphabet, as secret keys and session tokens have.
#[must_use]
pub fn base64(count: usize) -> String {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut random = rand::rng();
    (0..count).map(|_| char::from(ALPHABET[random.random_range(0..ALPHABET.len())])).collect()
}

/// A random identifier in the form of a UUID version 4, as request and activity ids have.
#[must_use]
pub fn uuid() -> String {
    let bits: u128 = rand::rng().random();
    let hex = format!("{:032x}", (bits & !(0xf << 76) & !(0x3 << 62)) | (0x4 << 76) | (0x2 << 62));
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}
