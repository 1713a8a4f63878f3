//! Credentials from a metadata service without tokens (IMDSv1), as Eucalyptus 4 has it: the SDK asks with a token only.
//! https://docs.rs/aws-config/latest/aws_config/imds/client/struct.Client.html

use std::time::{Duration, SystemTime};

use aws_credential_types::provider::{self, ProvideCredentials, SharedCredentialsProvider, future};
use aws_sdk_s3::config::Credentials;
use aws_sdk_s3::primitives::{DateTime, DateTimeFormat};
use serde::Deserialize;

const BASE: &str = "http://169.254.169.254/latest/meta-data/iam/security-credentials/";
const LIMIT: Duration = Duration::from_secs(2);

/// Asks the SDK's own chain first, and the metadata service without a token where that has nothing.
#[derive(Debug)]
pub(super) struct OrWithoutToken {
    chain: SharedCredentialsProvider,
    base: String,
    http: reqwest::Client,
}

/// <https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instance-metadata-security-credentials.html>
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct RoleCredentials {
    access_key_id: String,
    secret_access_key: String,
    token: String,
    expiration: String,
}

impl OrWithoutToken {
    pub(super) fn new(chain: SharedCredentialsProvider) -> Self {
        Self { chain, base: BASE.into(), http: reqwest::Client::builder().no_proxy().build().unwrap_or_default() }
    }

    async fn provide(&self) -> provider::Result {
        let refused = match self.chain.provide_credentials().await {
            Ok(credentials) => return Ok(credentials),
            Err(error) => error,
        };
        match self.without_token().await {
            Ok(credentials) => Ok(credentials),
            Err(error) => {
                tracing::debug!("no credentials without a token either: {error}");
                Err(refused)
            }
        }
    }

    async fn without_token(&self) -> Result<Credentials, Box<dyn std::error::Error + Send + Sync>> {
        let text = async |url: &str| self.http.get(url).timeout(LIMIT).send().await?.error_for_status()?.text().await;
        let roles = text(&self.base).await?;
        let role = roles.lines().next().filter(|role| !role.is_empty()).ok_or("the instance has no role")?;
        let document: RoleCredentials = serde_json::from_str(&text(&format!("{}{role}", self.base)).await?)?;
        let expiry = SystemTime::try_from(DateTime::from_str(&document.expiration, DateTimeFormat::DateTime)?)?;
        let RoleCredentials { access_key_id, secret_access_key, token, .. } = document;
        Ok(Credentials::new(access_key_id, secret_access_key, Some(token), Some(expiry), "IMDSv1"))
    }
}

impl ProvideCredentials for OrWithoutToken {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(self.provide())
    }
}

#[cfg(test)]
mod tests {
    use aws_credential_types::provider::error::CredentialsError;
    use axum::routing::get;

    use super::*;

    #[derive(Debug)]
    struct Empty;

    impl ProvideCredentials for Empty {
        fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
        where
            Self: 'a,
        {
            future::ProvideCredentials::ready(Err(CredentialsError::not_loaded("nothing")))
        }
    }

    async fn metadata_service(roles: &'static str) -> String {
        let document = r#"{"Code": "Success", "AccessKeyId": "A", "SecretAccessKey": "S", "Token": "T",
            "Expiration": "2030-01-02T03:04:05Z"}"#;
        let router = axum::Router::new()
            .route("/", get(move || async move { roles }))
            .route("/web", get(move || async move { document }));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}/", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, router).await });
        base
    }

    fn asking(base: String) -> OrWithoutToken {
        OrWithoutToken { base, ..OrWithoutToken::new(SharedCredentialsProvider::new(Empty)) }
    }

    #[tokio::test]
    async fn a_metadata_service_without_tokens_gives_the_roles_credentials_and_their_end() {
        let credentials = asking(metadata_service("web").await).provide_credentials().await.unwrap();
        assert_eq!((credentials.access_key_id(), credentials.session_token()), ("A", Some("T")));
        let expiry = credentials.expiry().unwrap().duration_since(SystemTime::UNIX_EPOCH).unwrap();
        assert_eq!(expiry.as_secs(), 1_893_553_445);
    }

    #[tokio::test]
    async fn without_a_role_the_chains_own_refusal_is_told() {
        let error = asking(metadata_service("").await).provide_credentials().await.unwrap_err();
        assert!(matches!(error, CredentialsError::CredentialsNotLoaded(_)), "{error:?}");
    }
}
