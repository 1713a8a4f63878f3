//! A MySQL of the user's own in the place of the database VM: its URL stands in the bucket, where the database VM
//! would have written its own, so that the web VMs find it in the same way and follow when it changes.

use async_trait::async_trait;

use crate::cloud::Cloud;
use crate::cloud::retry::{CloudError, found, gone};
use crate::error::Failure;
use crate::resource::{Changes, ClientToken, CloudResult, Desired, Observed, Outputs, Resource, ResourceKey};
use crate::resources::database_endpoint::{OBJECT_KEY, host_of};
use crate::resources::keys;
use crate::state::sha256_hex;

/// The authority that signed its certificate.
pub const AUTHORITY_KEY: &str = "config/database-authority.pem";
/// Where web VMs keep it.
const AUTHORITY_PATH: &str = "/etc/imagecrud/database-authority.pem";

/// The database.
#[derive(Clone, PartialEq, Eq)]
pub struct OwnDatabase {
    /// With TLS and what verifies it.
    url: String,
    /// A certificate in PEM, where it is none of those that everybody trusts.
    authority: Option<String>,
}

impl OwnDatabase {
    /// A database by its URL. Messages never repeat it, as it holds a password.
    pub fn new(url: &str, authority: Option<String>) -> Result<Self, Failure> {
        let bad = |what: &str| {
            Failure::usage(format!("database.url {what}"))
                .hint("write it as mysql://USER:PASSWORD@HOST:3306/DATABASE, with %XX for what URLs do not take")
        };
        let mut parsed = reqwest::Url::parse(url).map_err(|_| bad("is no URL"))?;
        if !matches!(parsed.scheme(), "mysql" | "mariadb") {
            return Err(bad("does not begin with mysql://"));
        }
        if parsed.host_str().is_none_or(str::is_empty) || parsed.username().is_empty() {
            return Err(bad("names no user and host"));
        }
        if parsed.path().trim_matches('/').is_empty() {
            return Err(bad("names no database after the last slash"));
        }
        let options: Vec<(String, String)> =
            parsed.query_pairs().map(|(name, value)| (name.into_owned(), value.into_owned())).collect();
        if options.iter().any(|(name, _)| name.to_ascii_lowercase().starts_with("ssl")) {
            return Err(Failure::usage("database.url has an option about TLS")
                .hint("leave it out: TLS is verified always; database.authority names who signed the certificate"));
        }
        parsed.query_pairs_mut().append_pair("ssl-mode", "VERIFY_IDENTITY");
        if let Some(authority) = &authority {
            if !authority.contains("-----BEGIN CERTIFICATE-----") {
                return Err(Failure::usage("database.authority holds no certificate in PEM")
                    .hint("it is the file that begins with -----BEGIN CERTIFICATE-----"));
            }
            parsed.query_pairs_mut().append_pair("ssl-ca", AUTHORITY_PATH);
        }
        Ok(Self { url: parsed.into(), authority })
    }

    /// The hash by which a web VM knows the authority.
    pub fn authority_sha256(&self) -> Option<String> {
        self.authority.as_ref().map(|pem| sha256_hex(pem.as_bytes()))
    }

    fn body(&self) -> String {
        serde_json::json!({ "url": self.url }).to_string()
    }

    async fn put(&self, cloud: &Cloud) -> CloudResult<()> {
        let put = |key: &str, body: String| {
            cloud.s3.put_object().bucket(cloud.bucket()).key(key).body(body.into_bytes().into()).send()
        };
        if let Some(authority) = &self.authority {
            put(AUTHORITY_KEY, authority.clone()).await?;
        }
        put(OBJECT_KEY, self.body()).await?;
        Ok(())
    }
}

async fn digest_of(cloud: &Cloud, key: &str) -> CloudResult<Option<(String, Vec<u8>)>> {
    let get = cloud.s3.get_object().bucket(cloud.bucket()).key(key).send().await;
    let Some(object) = found(get.map_err(CloudError::from))? else { return Ok(None) };
    let body = object.body.collect().await.map_err(|error| CloudError::Transport(error.to_string()))?.to_vec();
    Ok(Some((sha256_hex(&body)[..12].to_owned(), body)))
}

#[async_trait]
impl Resource for OwnDatabase {
    fn key(&self) -> ResourceKey {
        keys::database_endpoint()
    }

    fn needs(&self) -> Vec<ResourceKey> {
        vec![keys::bucket()]
    }

    fn desired(&self, _known: &Outputs) -> Desired {
        let desired = Desired::default().with("url", &sha256_hex(self.body().as_bytes())[..12]);
        match self.authority_sha256() {
            Some(sha256) => desired.with("authority", &sha256[..12]),
            None => desired,
        }
    }

    async fn find(&self, cloud: &Cloud) -> CloudResult<Option<Observed>> {
        let (object, authority) = tokio::join!(digest_of(cloud, OBJECT_KEY), digest_of(cloud, AUTHORITY_KEY));
        let Some((digest, body)) = object? else { return Ok(None) };
        let json: serde_json::Value = serde_json::from_slice(&body).unwrap_or_default();
        let authority = authority?.map_or_else(|| "none".to_owned(), |(digest, _)| digest);
        Ok(Some(
            Observed::ready(OBJECT_KEY)
                .with("url", digest)
                .with("authority", authority)
                .detail(format!("{}, not of this stack", host_of(json["url"].as_str().unwrap_or_default()))),
        ))
    }

    async fn create(&self, cloud: &Cloud, _: &Outputs, _: &ClientToken) -> CloudResult<()> {
        self.put(cloud).await
    }

    async fn update(&self, cloud: &Cloud, _: &Outputs, _: &Observed, _: &Changes) -> CloudResult<()> {
        self.put(cloud).await
    }

    /// The database itself is nobody's but the user's.
    async fn delete(&self, cloud: &Cloud, _observed: &Observed) -> CloudResult<()> {
        for key in [OBJECT_KEY, AUTHORITY_KEY] {
            let delete = cloud.s3.delete_object().bucket(cloud.bucket()).key(key);
            gone(delete.send().await.map_err(CloudError::from))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tls_is_verified_whatever_the_url_says() {
        let plain = OwnDatabase::new("mysql://jo:p%40ss@db.example.com/eucapp", None).unwrap();
        assert_eq!(plain.url, "mysql://jo:p%40ss@db.example.com/eucapp?ssl-mode=VERIFY_IDENTITY");
        let pem = "-----BEGIN CERTIFICATE-----".to_owned();
        let signed = OwnDatabase::new("mysql://jo:p@db:3307/a?charset=utf8mb4", Some(pem)).unwrap();
        assert!(signed.url.contains("?charset=utf8mb4&ssl-mode=VERIFY_IDENTITY&ssl-ca="), "{}", signed.url);
    }

    #[test]
    fn what_is_no_database_is_refused_without_its_password() {
        for (url, says) in [
            ("postgres://jo:secret@h/a", "does not begin with mysql://"),
            ("mysql://jo:secret@h/", "names no database"),
            ("mysql://h/a", "names no user"),
            ("mysql://jo:secret@h/a?ssl-mode=DISABLED", "about TLS"),
            ("secret", "is no URL"),
        ] {
            let failure = OwnDatabase::new(url, None).err().unwrap().to_string();
            assert!(failure.contains(says) && !failure.contains("secret"), "{failure}");
        }
        assert!(OwnDatabase::new("mysql://jo:p@h/a", Some("no PEM".into())).is_err());
    }
}
