//! Key material: made and read by the ssh-key crate, written in AWS's forms: RSA as PKCS#1 PEM, Ed25519 as OpenSSH.
//! Fingerprints as in <https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/verify-keys.html>.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use md5::Md5;
use sha1::Sha1;
use sha2::Digest;
use ssh_key::{
    HashAlg, LineEnding, Mpint, PrivateKey, PublicKey,
    private::{Ed25519Keypair, KeypairData, RsaKeypair},
    public::{KeyData, RsaPublicKey},
    rand_core::OsRng,
};

const RSA_BITS: usize = 2048;

pub(super) struct PublicHalf {
    pub(super) key_type: &'static str,
    pub(super) fingerprint: String,
    /// One line as in `authorized_keys`.
    pub(super) line: String,
}

pub(super) struct BothHalves {
    pub(super) public: PublicHalf,
    pub(super) private: String,
}

/// The fingerprint of a pair made here is the SHA-1 of the private key in PKCS#8.
pub(super) fn rsa(comment: &str) -> Result<BothHalves, ssh_key::Error> {
    let pair = RsaKeypair::random(&mut OsRng, RSA_BITS)?;
    let pkcs1 = pkcs1_private(&pair);
    let line = PublicKey::new(KeyData::Rsa(pair.public.clone()), comment).to_openssh()?;
    let public = PublicHalf { key_type: "rsa", fingerprint: colons(&Sha1::digest(pkcs8(&pkcs1))), line };
    Ok(BothHalves { public, private: pem("RSA PRIVATE KEY", &pkcs1) })
}

pub(super) fn ed25519(comment: &str) -> Result<BothHalves, ssh_key::Error> {
    let pair = Ed25519Keypair::random(&mut OsRng);
    let key = PrivateKey::new(KeypairData::Ed25519(pair), comment)?;
    let public = PublicHalf {
        key_type: "ed25519",
        fingerprint: sha256_fingerprint(key.public_key()),
        line: key.public_key().to_openssh()?,
    };
    Ok(BothHalves { public, private: key.to_openssh(LineEnding::LF)?.to_string() })
}

/// Reads a public key. An imported RSA key's fingerprint is the MD5 of its public half.
pub(super) fn import(text: &str, comment: &str) -> Result<PublicHalf, String> {
    let mut key = PublicKey::from_openssh(text.trim()).map_err(|error| error.to_string())?;
    if key.comment().is_empty() {
        key.set_comment(comment);
    }
    let line = key.to_openssh().map_err(|error| error.to_string())?;
    match key.key_data() {
        KeyData::Rsa(rsa) => {
            Ok(PublicHalf { key_type: "rsa", fingerprint: colons(&Md5::digest(public_info(rsa))), line })
        }
        KeyData::Ed25519(_) => Ok(PublicHalf { key_type: "ed25519", fingerprint: sha256_fingerprint(&key), line }),
        other => Err(format!("{} is neither RSA nor ED25519", other.algorithm())),
    }
}

/// Base64 of the SHA-256, padded, without the `SHA256:` before it.
fn sha256_fingerprint(key: &PublicKey) -> String {
    STANDARD.encode(key.fingerprint(HashAlg::Sha256).as_bytes())
}

fn colons(digest: &[u8]) -> String {
    digest.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(":")
}

fn pem(label: &str, der: &[u8]) -> String {
    let encoded = STANDARD.encode(der);
    let mut text = format!("-----BEGIN {label}-----\n");
    for start in (0..encoded.len()).step_by(64) {
        text.push_str(&encoded[start..encoded.len().min(start + 64)]);
        text.push('\n');
    }
    text.push_str(&format!("-----END {label}-----\n"));
    text
}

// The few DER forms that keys need (ITU-T X.690).
const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const OCTET_STRING: u8 = 0x04;
const SEQUENCE: u8 = 0x30;
/// `rsaEncryption` with its NULL parameters (RFC 8017, A.1).
const RSA_ENCRYPTION: &[u8] =
    &[0x30, 0x0d, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00];

fn der(tag: u8, content: &[u8]) -> Vec<u8> {
    let mut bytes = vec![tag];
    let length = content.len();
    if let Ok(short) = u8::try_from(length)
        && short < 0x80
    {
        bytes.push(short);
    } else {
        let digits: Vec<u8> = length.to_be_bytes().into_iter().skip_while(|byte| *byte == 0).collect();
        bytes.push(0x80 | u8::try_from(digits.len()).expect("a length has at most 8 bytes"));
        bytes.extend(digits);
    }
    bytes.extend_from_slice(content);
    bytes
}

fn sequence(parts: &[Vec<u8>]) -> Vec<u8> {
    der(SEQUENCE, &parts.concat())
}

/// SSH's and DER's integers have the same form: big-endian, signed, as short as can be.
fn integer(value: &Mpint) -> Vec<u8> {
    der(INTEGER, value.as_bytes())
}

fn public_info(key: &RsaPublicKey) -> Vec<u8> {
    let bits = [vec![0], sequence(&[integer(&key.n), integer(&key.e)])].concat();
    sequence(&[RSA_ENCRYPTION.to_vec(), der(BIT_STRING, &bits)])
}

/// RFC 8017, A.1.2: version, n, e, d, p, q, d mod (p-1), d mod (q-1), the inverse of q mod p.
fn pkcs1_private(pair: &RsaKeypair) -> Vec<u8> {
    let RsaKeypair { public, private } = pair;
    sequence(&[
        der(INTEGER, &[0]),
        integer(&public.n),
        integer(&public.e),
        integer(&private.d),
        integer(&private.p),
        integer(&private.q),
        der(INTEGER, &modulo_predecessor(&private.d, &private.p)),
        der(INTEGER, &modulo_predecessor(&private.d, &private.q)),
        integer(&private.iqmp),
    ])
}

fn pkcs8(pkcs1: &[u8]) -> Vec<u8> {
    sequence(&[der(INTEGER, &[0]), RSA_ENCRYPTION.to_vec(), der(OCTET_STRING, pkcs1)])
}

/// `value mod (prime - 1)`, in DER's form.
fn modulo_predecessor(value: &Mpint, prime: &Mpint) -> Vec<u8> {
    // A prime is odd, so that its predecessor differs in the last bit alone.
    let mut modulus = prime.as_bytes().to_vec();
    if let Some(last) = modulus.last_mut() {
        *last &= 0xfe;
    }
    let modulus: Vec<u8> = modulus.into_iter().skip_while(|byte| *byte == 0).collect();
    // Long division, bit by bit: the remainder is kept one byte longer than the modulus, for the doubling.
    let mut remainder = vec![0_u8; modulus.len() + 1];
    let padded: Vec<u8> = [vec![0], modulus].concat();
    for byte in value.as_bytes() {
        for bit in (0..8).rev() {
            let mut carry = byte >> bit & 1;
            for digit in remainder.iter_mut().rev() {
                let doubled = u16::from(*digit) << 1 | u16::from(carry);
                [carry, *digit] = doubled.to_be_bytes();
            }
            if remainder >= padded {
                subtract(&mut remainder, &padded);
            }
        }
    }
    let mut digits: Vec<u8> = remainder.into_iter().skip_while(|byte| *byte == 0).collect();
    if digits.first().is_none_or(|first| first & 0x80 != 0) {
        digits.insert(0, 0);
    }
    digits
}

/// `minuend -= subtrahend`, of the same length; the minuend is not the smaller.
fn subtract(minuend: &mut [u8], subtrahend: &[u8]) {
    let mut borrow = false;
    for (digit, other) in minuend.iter_mut().zip(subtrahend).rev() {
        let (once, under) = digit.overflowing_sub(*other);
        let (twice, under_again) = once.overflowing_sub(u8::from(borrow));
        *digit = twice;
        borrow = under || under_again;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_remainder_modulo_a_primes_predecessor_is_right() {
        let number = |value: u64| {
            let bytes: Vec<u8> = value.to_be_bytes().into_iter().skip_while(|byte| *byte == 0).collect();
            Mpint::from_positive_bytes(&bytes).expect("a number")
        };
        for (value, prime) in [(1_000_003, 101), (123_456_789_012_345, 65_537), (5, 257), (256, 257), (0xffff_ffff, 3)]
        {
            let expected = value % (prime - 1);
            let digits = modulo_predecessor(&number(value), &number(prime));
            let actual = digits.iter().fold(0_u64, |sum, digit| sum << 8 | u64::from(*digit));
            assert_eq!(actual, expected, "{value} modulo {prime} - 1");
        }
    }

    #[test]
    fn an_ed25519_pair_reads_back_as_itself() {
        let made = ed25519("me").expect("made");
        let private = PrivateKey::from_openssh(&made.private).expect("OpenSSH's form");
        assert_eq!(private.public_key().to_openssh().expect("a line"), made.public.line);
        let imported = import(&made.public.line, "other").expect("imports");
        assert_eq!((imported.key_type, imported.fingerprint), ("ed25519", made.public.fingerprint));
    }

    #[test]
    fn what_is_no_key_is_refused_with_a_cause() {
        assert!(import("ssh-rsa AAAA me", "x").is_err());
        assert!(import("hello", "x").is_err());
    }
}
