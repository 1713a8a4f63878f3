//! The instance metadata service at 169.254.169.254, versions 1 and 2. HAProxy stands before it and says, in a header
//! that instances cannot set, from which address a request comes: by that the instance is known. It reads records, and
//! writes none but the temporary credentials of a role.

/// Tokens of version 2.
mod token;
/// What is said of one instance, as a tree.
mod tree;

use std::{net::Ipv4Addr, sync::Arc};

use axum::{
    Router,
    extract::{Request, State},
    http::{HeaderMap, Method, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use percent_encoding::percent_decode_str;

use self::{
    token::Tokens,
    tree::{Facts, Node},
};
use crate::{
    api::iam::role_credentials::{role_credential, trusts_instances},
    model::{
        auto_scaling::{AutoScalingGroup, GROUP_TAG},
        identity::{Credential, InstanceProfile, Role},
        instance::{Instance, InstanceState},
        key_pair::KeyPair,
        security_group::SecurityGroup,
        site::Site,
        time::Timestamp,
        volume::Volume,
    },
    paths::Paths,
    reconcile::credentials::write_for_s3,
    store::{Store, StoreError},
};

/// Set by HAProxy; what a client sends under this name is removed there.
const SOURCE: &str = "x-localcloud-source";
const TOKEN: &str = "x-aws-ec2-metadata-token";
const TOKEN_TTL: &str = "x-aws-ec2-metadata-token-ttl-seconds";
/// Clients ask for the version that they were written for; all are answered alike.
const VERSIONS: &[&str] = &[
    "1.0",
    "2007-01-19",
    "2007-03-01",
    "2007-08-29",
    "2007-10-10",
    "2007-12-15",
    "2008-02-01",
    "2008-09-01",
    "2009-04-04",
    "2011-01-01",
    "2011-05-01",
    "2012-01-12",
    "2014-02-25",
    "2014-11-05",
    "2015-10-20",
    "2016-04-19",
    "2016-06-30",
    "2016-09-02",
    "2018-03-28",
    "2018-08-17",
    "2018-09-24",
    "2019-10-01",
    "2020-10-27",
    "2021-01-03",
    "2021-03-23",
    "2021-07-15",
    "2022-09-24",
    "latest",
];

#[derive(Clone)]
struct Imds {
    store: Arc<Store>,
    paths: Paths,
    tokens: Tokens,
    clock: Clock,
}

/// What time it is; a test has a clock of its own.
type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// Answers all requests of all instances.
pub fn router(store: Arc<Store>, paths: Paths) -> Router {
    router_by(Arc::new(Timestamp::now), store, paths)
}

fn router_by(clock: Clock, store: Arc<Store>, paths: Paths) -> Router {
    let tokens = Tokens::new(&token_secret(&store));
    Router::new().fallback(answer).with_state(Imds { store, paths, tokens, clock })
}

/// Tokens outlive the daemon, so their key is made of something that does: the operator's secret key.
fn token_secret(store: &Store) -> String {
    let operators = store.read(|tx| {
        tx.list::<Credential>()
            .iter()
            .find(|credential| credential.expires.is_none() && credential.principal_arn.ends_with(":root"))
            .map(|credential| credential.secret_key.clone())
    });
    operators.ok().flatten().unwrap_or_else(|| crate::model::id::base64(40))
}

async fn answer(State(imds): State<Imds>, request: Request) -> Response {
    let instance = match imds.instance(request.headers()) {
        Ok(Some(instance)) => instance,
        Ok(None) => return refuse(StatusCode::NOT_FOUND, "No instance has the address that you ask from."),
        Err(error) => return failed(&error),
    };
    let path = request.uri().path();
    if path.trim_end_matches('/') == "/latest/api/token" {
        return imds.hand_out_token(&instance, request.method(), request.headers());
    }
    if request.method() != Method::GET && request.method() != Method::HEAD {
        return refuse(StatusCode::METHOD_NOT_ALLOWED, "Only GET is allowed here.");
    }
    let token = request.headers().get(TOKEN).map(|value| value.to_str().unwrap_or_default());
    let now = Timestamp::now().millis() / 1000;
    match token {
        Some(token) if !imds.tokens.is_valid(token, &instance.id, now) => {
            return refuse(StatusCode::UNAUTHORIZED, "The token is not valid for this instance, or has expired.");
        }
        None if instance.metadata_tokens_required => {
            return refuse(StatusCode::UNAUTHORIZED, "A token is required: PUT /latest/api/token first.");
        }
        _ => {}
    }
    match imds.look_up(instance, path).await {
        Ok(Some(body)) => ([(header::CONTENT_TYPE, "text/plain"), (header::SERVER, "EC2ws")], body).into_response(),
        Ok(None) => refuse(StatusCode::NOT_FOUND, "There is nothing of this name."),
        Err(error) => failed(&error),
    }
}

fn refuse(status: StatusCode, words: &'static str) -> Response {
    (status, [(header::CONTENT_TYPE, "text/plain"), (header::SERVER, "EC2ws")], words).into_response()
}

fn failed(error: &anyhow::Error) -> Response {
    tracing::error!("answering an instance's question for metadata: {error:#}");
    refuse(StatusCode::INTERNAL_SERVER_ERROR, "The records cannot be read at the moment.")
}

impl Imds {
    /// The instance that asks. One that is shutting down may still ask: it has work to end.
    fn instance(&self, headers: &HeaderMap) -> anyhow::Result<Option<Arc<Instance>>> {
        let source = headers.get(SOURCE).and_then(|value| value.to_str().ok()?.parse::<Ipv4Addr>().ok());
        let Some(source) = source else { return Ok(None) };
        let found = self.store.read(|tx| {
            tx.list::<Instance>()
                .into_iter()
                .filter(|instance| instance.private_ip == source && instance.state != InstanceState::Terminated)
                .max_by_key(|instance| (instance.state.is_alive(), instance.launched))
        })?;
        Ok(found)
    }

    /// <https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instance-metadata-v2-how-it-works.html>
    fn hand_out_token(&self, instance: &Instance, method: &Method, headers: &HeaderMap) -> Response {
        if method != Method::PUT {
            return refuse(StatusCode::METHOD_NOT_ALLOWED, "Only PUT is allowed here.");
        }
        // Whoever comes through a proxy of the instance is not the instance.
        if headers.contains_key("x-forwarded-for") {
            return refuse(StatusCode::FORBIDDEN, "Tokens are not given through a proxy.");
        }
        let ttl = headers.get(TOKEN_TTL).and_then(|value| value.to_str().ok()?.trim().parse::<i64>().ok());
        let Some(ttl) = ttl.filter(|ttl| (1..=21_600).contains(ttl)) else {
            return refuse(StatusCode::BAD_REQUEST, "X-aws-ec2-metadata-token-ttl-seconds must be 1 to 21600.");
        };
        let token = self.tokens.new_token(&instance.id, (self.clock)().millis() / 1000 + ttl);
        let headers = [
            (header::CONTENT_TYPE.as_str(), "text/plain".to_owned()),
            (header::SERVER.as_str(), "EC2ws".to_owned()),
            (TOKEN_TTL, ttl.to_string()),
        ];
        (headers, token).into_response()
    }

    async fn look_up(&self, instance: Arc<Instance>, path: &str) -> anyhow::Result<Option<Vec<u8>>> {
        let segments: Vec<String> = path
            .split('/')
            .filter(|segment| !segment.is_empty())
            .map(|segment| percent_decode_str(segment).decode_utf8_lossy().into_owned())
            .collect();
        let Some((version, rest)) = segments.split_first() else { return Ok(Some(VERSIONS.join("\n").into_bytes())) };
        if !VERSIONS.contains(&version.as_str()) {
            return Ok(None);
        }
        let facts = self.facts(instance)?;
        let root = tree::of(&facts);
        let found = rest.iter().try_fold(&root, |node, segment| node.child(segment));
        match found {
            None => Ok(None),
            Some(Node::Directory(_)) => Ok(found.map(|node| node.listing().into_bytes())),
            Some(Node::Leaf(bytes)) => Ok(Some(bytes.clone())),
            Some(Node::RoleCredentials(role)) => self.role_credentials(&facts.instance.id, role).await.map(Some),
        }
    }

    fn facts(&self, instance: Arc<Instance>) -> anyhow::Result<Facts> {
        let facts = self.store.read(|tx| {
            let site = tx.get::<Site>(Site::KEY)?;
            let key_pair = instance.key_name.as_ref().and_then(|name| tx.get::<KeyPair>(name));
            let profile = instance.instance_profile.as_ref().and_then(|name| tx.get::<InstanceProfile>(name));
            let security_groups =
                instance.security_group_ids.iter().filter_map(|id| tx.get::<SecurityGroup>(id)).collect();
            let volumes = tx
                .list::<Volume>()
                .into_iter()
                .filter(|volume| {
                    volume.attachment.as_ref().is_some_and(|attachment| attachment.instance_id == instance.id)
                })
                .collect();
            let group = instance.tags.get(GROUP_TAG).and_then(|name| tx.get::<AutoScalingGroup>(name));
            let member =
                group.as_ref().and_then(|group| group.members.iter().find(|member| member.instance_id == instance.id));
            let lifecycle = member.map(|member| member.lifecycle);
            Some(Facts { site, key_pair, profile, security_groups, volumes, instance, lifecycle })
        })?;
        facts.ok_or_else(|| anyhow::anyhow!("the cloud has no site record"))
    }

    /// The role's credentials for this instance; known to S3 before they are handed out.
    async fn role_credentials(&self, instance_id: &str, role: &str) -> anyhow::Result<Vec<u8>> {
        let (store, paths) = (Arc::clone(&self.store), self.paths.clone());
        let (instance_id, role, now) = (instance_id.to_owned(), role.to_owned(), (self.clock)());
        let document = tokio::task::spawn_blocking(move || {
            let document = store.transact(|tx| {
                let Some(site) = tx.get::<Site>(Site::KEY) else { return Ok::<_, StoreError>(None) };
                if !tx.get::<Role>(&role).is_some_and(|found| trusts_instances(&found)) {
                    return Ok(Some(tree::refusal_document(&role, now)));
                }
                let credential = role_credential(tx, &site, &instance_id, &role, now);
                Ok(Some(tree::credentials_document(&credential)))
            })?;
            write_for_s3(&store, &paths)?;
            document.ok_or_else(|| anyhow::anyhow!("the cloud has no site record"))
        })
        .await??;
        Ok(document.into_bytes())
    }
}

#[cfg(test)]
mod tests;
