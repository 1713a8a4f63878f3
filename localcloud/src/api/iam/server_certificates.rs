//! Server certificates: what load balancers show to clients. The private key is taken and never told.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{
    already_exists, check_name, check_path, listing, no_such_entity,
    tags::{self, Tag, TagsOutput, checked, listed},
};
use crate::{
    api::{
        error::ApiError,
        operation::{Caller, Done, Operation},
    },
    model::{id, load_balancer::LoadBalancer, server_certificate::ServerCertificate, time::Timestamp},
    store::Transaction,
};

/// Certificate, chain and key, and whether they fit together.
mod material;

/// <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html>
const MOST_CERTIFICATES: usize = 20;

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Metadata {
    path: String,
    server_certificate_name: String,
    server_certificate_id: String,
    arn: String,
    upload_date: Timestamp,
    expiration: Timestamp,
}

impl Metadata {
    fn of(certificate: &ServerCertificate, account_id: &str) -> Self {
        Self {
            path: certificate.path.clone(),
            server_certificate_name: certificate.name.clone(),
            server_certificate_id: certificate.id.clone(),
            arn: certificate.arn(account_id),
            upload_date: certificate.uploaded,
            expiration: certificate.expires,
        }
    }
}

fn find(tx: &mut Transaction<'_>, name: &str) -> Result<Arc<ServerCertificate>, ApiError> {
    tx.get::<ServerCertificate>(name)
        .ok_or_else(|| no_such_entity(format!("The Server Certificate with name {name} cannot be found.")))
}

fn check_is_new(tx: &mut Transaction<'_>, name: &str) -> Result<(), ApiError> {
    if tx.list::<ServerCertificate>().iter().any(|known| known.name.eq_ignore_ascii_case(name)) {
        return Err(already_exists(format!("The Server Certificate with name {name} already exists.")));
    }
    Ok(())
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct UploadServerCertificate {
    path: Option<String>,
    server_certificate_name: String,
    certificate_body: String,
    private_key: String,
    certificate_chain: Option<String>,
    #[serde(default)]
    tags: Vec<Tag>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct UploadServerCertificateOutput {
    server_certificate_metadata: Metadata,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tags: Vec<Tag>,
}

impl Operation for UploadServerCertificate {
    const ACTION: &'static str = "UploadServerCertificate";
    type Output = UploadServerCertificateOutput;

    fn run(self, tx: &mut Transaction<'_>, caller: &Caller<'_>) -> Result<Self::Output, ApiError> {
        check_name("serverCertificateName", &self.server_certificate_name, 128)?;
        check_is_new(tx, &self.server_certificate_name)?;
        if tx.list::<ServerCertificate>().len() >= MOST_CERTIFICATES {
            let message = format!("Cannot exceed quota for ServerCertificatesPerAccount: {MOST_CERTIFICATES}");
            return Err(ApiError::new("LimitExceeded", message).status(409));
        }
        let chain = self.certificate_chain.filter(|chain| !chain.trim().is_empty());
        let expires = material::check(&self.certificate_body, chain.as_deref(), &self.private_key)?;
        let certificate = ServerCertificate {
            name: self.server_certificate_name,
            id: format!("ASCA{}", id::base32(17)),
            path: check_path(self.path)?,
            body: self.certificate_body.trim().to_owned(),
            chain: chain.map(|chain| chain.trim().to_owned()),
            private_key: self.private_key.trim().to_owned(),
            uploaded: Timestamp::now(),
            expires,
            tags: checked(self.tags)?,
        };
        let output = UploadServerCertificateOutput {
            server_certificate_metadata: Metadata::of(&certificate, &caller.account_id),
            tags: listed(&certificate.tags),
        };
        tx.put(certificate);
        Ok(output)
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct GetServerCertificate {
    server_certificate_name: String,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Description {
    server_certificate_metadata: Metadata,
    certificate_body: String,
    certificate_chain: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tags: Vec<Tag>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct GetServerCertificateOutput {
    server_certificate: Description,
}

impl Operation for GetServerCertificate {
    const ACTION: &'static str = "GetServerCertificate";
    type Output = GetServerCertificateOutput;

    fn run(self, tx: &mut Transaction<'_>, caller: &Caller<'_>) -> Result<Self::Output, ApiError> {
        let certificate = find(tx, &self.server_certificate_name)?;
        let server_certificate = Description {
            server_certificate_metadata: Metadata::of(&certificate, &caller.account_id),
            certificate_body: certificate.body.clone(),
            certificate_chain: certificate.chain.clone(),
            tags: listed(&certificate.tags),
        };
        Ok(GetServerCertificateOutput { server_certificate })
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct ListServerCertificates {
    path_prefix: Option<String>,
    marker: Option<String>,
    max_items: Option<usize>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct ListServerCertificatesOutput {
    server_certificate_metadata_list: Vec<Metadata>,
    is_truncated: bool,
    marker: Option<String>,
}

impl Operation for ListServerCertificates {
    const ACTION: &'static str = "ListServerCertificates";
    type Output = ListServerCertificatesOutput;

    fn run(self, tx: &mut Transaction<'_>, caller: &Caller<'_>) -> Result<Self::Output, ApiError> {
        let prefix = self.path_prefix.unwrap_or_else(|| "/".to_owned());
        let mut certificates = tx.list::<ServerCertificate>();
        certificates.retain(|certificate| certificate.path.starts_with(&prefix));
        let (certificates, is_truncated, marker) =
            listing(certificates, |certificate| certificate.name.clone(), self.marker.as_deref(), self.max_items)?;
        let server_certificate_metadata_list =
            certificates.iter().map(|certificate| Metadata::of(certificate, &caller.account_id)).collect();
        Ok(ListServerCertificatesOutput { server_certificate_metadata_list, is_truncated, marker })
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct UpdateServerCertificate {
    server_certificate_name: String,
    new_path: Option<String>,
    new_server_certificate_name: Option<String>,
}

impl Operation for UpdateServerCertificate {
    const ACTION: &'static str = "UpdateServerCertificate";
    type Output = Done;

    fn run(self, tx: &mut Transaction<'_>, caller: &Caller<'_>) -> Result<Done, ApiError> {
        let known = find(tx, &self.server_certificate_name)?;
        let mut renamed = ServerCertificate::clone(&known);
        if let Some(name) = self.new_server_certificate_name.filter(|name| *name != known.name) {
            check_name("newServerCertificateName", &name, 128)?;
            if !name.eq_ignore_ascii_case(&known.name) {
                check_is_new(tx, &name)?;
            }
            renamed.name = name;
        }
        if let Some(path) = self.new_path {
            renamed.path = check_path(Some(path))?;
        }
        // The name is part of the ARN, and the balancers that show it must not lose it.
        let (old, new) = (known.arn(&caller.account_id), renamed.arn(&caller.account_id));
        for name in users(tx, &old) {
            tx.update::<LoadBalancer>(&name, |balancer| {
                for listener in &mut balancer.listeners {
                    if listener.certificate_id.as_deref() == Some(&old) {
                        listener.certificate_id = Some(new.clone());
                    }
                }
            });
        }
        tx.delete::<ServerCertificate>(&known.name);
        tx.put(renamed);
        Ok(Done {})
    }
}

/// Names of the balancers that show it.
fn users(tx: &mut Transaction<'_>, arn: &str) -> Vec<String> {
    let shows = |balancer: &Arc<LoadBalancer>| {
        balancer.listeners.iter().any(|listener| listener.certificate_id.as_deref() == Some(arn))
    };
    tx.list::<LoadBalancer>().iter().filter(|balancer| shows(balancer)).map(|balancer| balancer.name.clone()).collect()
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct DeleteServerCertificate {
    server_certificate_name: String,
}

impl Operation for DeleteServerCertificate {
    const ACTION: &'static str = "DeleteServerCertificate";
    type Output = Done;

    fn run(self, tx: &mut Transaction<'_>, caller: &Caller<'_>) -> Result<Done, ApiError> {
        let certificate = find(tx, &self.server_certificate_name)?;
        if let Some(user) = users(tx, &certificate.arn(&caller.account_id)).first() {
            let (region, account) = (&caller.site.region, &caller.account_id);
            return Err(super::delete_conflict(&format!(
                "Certificate: {} is currently in use by arn:aws:elasticloadbalancing:{region}:{account}:loadbalancer/{user}. Please remove it first before deleting it from IAM.",
                certificate.id
            )));
        }
        tx.delete::<ServerCertificate>(&self.server_certificate_name);
        Ok(Done {})
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct TagServerCertificate {
    server_certificate_name: String,
    tags: Vec<Tag>,
}

impl Operation for TagServerCertificate {
    const ACTION: &'static str = "TagServerCertificate";
    type Output = Done;

    fn run(self, tx: &mut Transaction<'_>, _caller: &Caller<'_>) -> Result<Done, ApiError> {
        let mut certificate = ServerCertificate::clone(&*find(tx, &self.server_certificate_name)?);
        tags::add(&mut certificate.tags, self.tags)?;
        tx.put(certificate);
        Ok(Done {})
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct UntagServerCertificate {
    server_certificate_name: String,
    tag_keys: Vec<String>,
}

impl Operation for UntagServerCertificate {
    const ACTION: &'static str = "UntagServerCertificate";
    type Output = Done;

    fn run(self, tx: &mut Transaction<'_>, _caller: &Caller<'_>) -> Result<Done, ApiError> {
        let mut certificate = ServerCertificate::clone(&*find(tx, &self.server_certificate_name)?);
        certificate.tags.retain(|key, _| !self.tag_keys.contains(key));
        tx.put(certificate);
        Ok(Done {})
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct ListServerCertificateTags {
    server_certificate_name: String,
    marker: Option<String>,
    max_items: Option<usize>,
}

impl Operation for ListServerCertificateTags {
    const ACTION: &'static str = "ListServerCertificateTags";
    type Output = TagsOutput;

    fn run(self, tx: &mut Transaction<'_>, _caller: &Caller<'_>) -> Result<TagsOutput, ApiError> {
        tags::list(&find(tx, &self.server_certificate_name)?.tags, self.marker.as_deref(), self.max_items)
    }
}
