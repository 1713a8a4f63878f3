//! What is uploaded as a server certificate, and whether it fits together: the key is the certificate's, the chain leads
//! on from it (<https://docs.aws.amazon.com/IAM/latest/UserGuide/id_credentials_server-certs.html>).

use pkcs8::der::{Decode as _, Encode as _, SecretDocument};
use x509_cert::Certificate;

use crate::{api::error::ApiError, model::time::Timestamp};

const BEGIN: &str = "-----BEGIN CERTIFICATE-----";

/// When the certificate expires.
///
/// # Errors
/// `MalformedCertificate` or `KeyPairMismatch`, as IAM words them.
pub(super) fn check(body: &str, chain: Option<&str>, private_key: &str) -> Result<Timestamp, ApiError> {
    let certificate = match &certificates(body)?[..] {
        [only] => only.clone(),
        _ => return Err(malformed("Unable to parse certificate. Please ensure the certificate is in PEM format.")),
    };
    let expires = certificate.tbs_certificate.validity.not_after.to_unix_duration().as_secs_f64();
    if !is_key_of(&certificate, private_key)? {
        return Err(ApiError::new(
            "KeyPairMismatch",
            "Private key does not match the certificate: the public key of the certificate and the private key belong to different pairs.",
        ));
    }
    if let Some(chain) = chain {
        check_chain(&certificate, &certificates(chain)?)?;
    }
    Ok(Timestamp::from_seconds(expires))
}

fn malformed(message: impl Into<String>) -> ApiError {
    ApiError::new("MalformedCertificate", message)
}

fn certificates(pem: &str) -> Result<Vec<Certificate>, ApiError> {
    let unreadable = || malformed("Unable to parse certificate. Please ensure the certificate is in PEM format.");
    // Tools write a certificate's text before it.
    let begin = pem.find(BEGIN).ok_or_else(unreadable)?;
    Certificate::load_pem_chain(pem[begin..].trim().as_bytes()).map_err(|_| unreadable())
}

/// Each is issued by the one that follows; the last one's issuer is the clients' affair.
fn check_chain(certificate: &Certificate, chain: &[Certificate]) -> Result<(), ApiError> {
    let mut issued = certificate;
    for (index, issuer) in chain.iter().enumerate() {
        if issued.tbs_certificate.issuer != issuer.tbs_certificate.subject {
            return Err(malformed(format!(
                "Unable to validate certificate chain. The certificate chain must start with the immediate signing certificate, followed by any intermediaries in order. The index within the chain of the invalid certificate is: {index}"
            )));
        }
        issued = issuer;
    }
    Ok(())
}

/// Compares public halves, as the certificate has it and as the private key has it.
fn is_key_of(certificate: &Certificate, pem: &str) -> Result<bool, ApiError> {
    let invalid = |why: &str| {
        malformed(format!("Unable to parse private key: {why}. It must be a PEM-encoded, unencrypted key."))
    };
    let unreadable = || invalid("it is no key in PEM format");
    let begin = pem.find("-----BEGIN ").ok_or_else(unreadable)?;
    // OpenSSL writes the curve's parameters before an elliptic key.
    let begin = match pem.rfind("-----BEGIN EC PRIVATE KEY-----") {
        Some(elliptic) => elliptic,
        None => begin,
    };
    let (label, document) = SecretDocument::from_pem(pem[begin..].trim()).map_err(|_| unreadable())?;
    let der = document.as_bytes();
    let public = match label {
        "PRIVATE KEY" => {
            let info = pkcs8::PrivateKeyInfo::from_der(der).map_err(|_| unreadable())?;
            match info.algorithm.oid {
                pkcs1::ALGORITHM_OID => public_half_of_rsa(info.private_key),
                sec1::ALGORITHM_OID => public_half_of_elliptic(info.private_key),
                _ => return Err(invalid("it is neither an RSA nor an elliptic-curve key")),
            }
        }
        "RSA PRIVATE KEY" => public_half_of_rsa(der),
        "EC PRIVATE KEY" => public_half_of_elliptic(der),
        "ENCRYPTED PRIVATE KEY" => return Err(invalid("it is encrypted")),
        _ => return Err(unreadable()),
    };
    let public = public.ok_or_else(|| invalid("it lacks its public half, or is damaged"))?;
    Ok(certificate.tbs_certificate.subject_public_key_info.subject_public_key.raw_bytes() == public)
}

fn public_half_of_rsa(der: &[u8]) -> Option<Vec<u8>> {
    pkcs1::RsaPrivateKey::from_der(der).ok()?.public_key().to_der().ok()
}

fn public_half_of_elliptic(der: &[u8]) -> Option<Vec<u8>> {
    sec1::EcPrivateKey::from_der(der).ok()?.public_key.map(<[u8]>::to_vec)
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    /// Runs openssl in a directory of its own; keys are made anew by each run and lie in no repository.
    fn openssl(script: &str, files: &[&str]) -> Vec<String> {
        let directory = tempfile::tempdir().expect("a directory");
        let done = Command::new("sh").args(["-ec", script]).current_dir(directory.path()).output().expect("sh");
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        files.iter().map(|file| std::fs::read_to_string(directory.path().join(file)).expect(file)).collect()
    }

    const SELF_SIGNED: &str = "openssl req -x509 -nodes -days 2 -subj /CN=a.example -out c -keyout k -newkey";

    #[test]
    fn keys_of_all_forms_are_held_against_the_certificate() {
        let script = format!(
            "{SELF_SIGNED} rsa:2048; openssl rsa -in k -traditional -out k1
             openssl ecparam -name prime256v1 -genkey -out e1; openssl pkcs8 -topk8 -nocrypt -in e1 -out e
             openssl req -x509 -key e -days 2 -subj /CN=b.example -out ec
             openssl rsa -in k -aes128 -passout pass:x -out encrypted"
        );
        let files = openssl(&script, &["c", "k", "k1", "ec", "e", "e1", "encrypted"]);
        let [rsa, key, traditional, elliptic, elliptic_key, elliptic_traditional, encrypted] = &files[..] else {
            panic!("seven files")
        };
        for (body, key) in [(rsa, key), (rsa, traditional), (elliptic, elliptic_key), (elliptic, elliptic_traditional)]
        {
            assert!(check(body, None, key).expect("they belong together") > Timestamp::now());
        }
        let code = |body: &str, key: &str| check(body, None, key).expect_err("refused").code;
        assert_eq!(code(rsa, elliptic_key), "KeyPairMismatch");
        assert_eq!(code(rsa, encrypted), "MalformedCertificate");
        assert_eq!(code(rsa, rsa), "MalformedCertificate");
        assert_eq!(code("no certificate", key), "MalformedCertificate");
        assert_eq!(code(&rsa.replace("MII", "MIX"), key), "MalformedCertificate");
    }

    #[test]
    fn a_chain_leads_from_issuer_to_issuer() {
        let script = "
            openssl req -x509 -nodes -days 2 -subj /CN=root -newkey rsa:2048 -keyout rk -out root
            openssl req -nodes -subj /CN=between -newkey rsa:2048 -keyout bk -out b.csr
            openssl x509 -req -in b.csr -CA root -CAkey rk -CAcreateserial -days 2 -out between
            openssl req -nodes -subj /CN=leaf -newkey rsa:2048 -keyout k -out c.csr
            openssl x509 -req -in c.csr -CA between -CAkey bk -CAcreateserial -days 2 -out c";
        let files = openssl(script, &["c", "k", "between", "root"]);
        let [leaf, key, between, root] = &files[..] else { panic!("four files") };
        check(leaf, Some(&format!("{between}{root}")), key).expect("in order");
        let error = check(leaf, Some(&format!("{root}{between}")), key).expect_err("out of order");
        assert_eq!(error.code, "MalformedCertificate");
        assert!(error.message.ends_with("is: 0"), "{}", error.message);
    }
}
