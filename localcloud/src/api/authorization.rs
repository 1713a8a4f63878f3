//! Whether the caller may: the caller's policies are held against the action, for each resource that the request is
//! about, before the action runs. The account's root may everything.

/// What a request says of itself, as condition keys.
mod keys;
/// What a request is about: one table.
mod resources;
/// Sessions that may not everything that their policies say.
mod restrictions;

use std::net::IpAddr;

use self::{keys::Keys, resources::Target};
use super::{error::ApiError, iam::identity::identity_of};
use crate::{
    model::{
        identity::{Credential, InstanceProfile, Role},
        site::Site,
        time::Timestamp,
    },
    policy::{
        Context, Document, Identity, Kind, Refusal, Request,
        evaluate::{allow, allow_assume},
        identity::Documents,
    },
    store::Transaction,
    wire::{value::Node, xml::Dialect},
};

/// Where a request came from.
#[derive(Debug, Clone, Default)]
pub struct Connection {
    pub source: Option<IpAddr>,
    pub user_agent: String,
}

/// One request, decoded.
pub struct Call<'a> {
    /// As in a signature's scope.
    pub signing_name: &'a str,
    pub dialect: Dialect,
    pub action: &'a str,
    pub input: &'a Node,
    pub connection: &'a Connection,
}

impl Call<'_> {
    /// As actions begin in policies.
    fn prefix(&self) -> &str {
        match self.signing_name {
            "monitoring" => "cloudwatch",
            name => name,
        }
    }
}

/// # Errors
/// The refusal, in the service's words.
pub fn check(
    tx: &mut Transaction<'_>,
    site: &Site,
    credential: &Credential,
    call: &Call<'_>,
    now: Timestamp,
) -> Result<(), ApiError> {
    restrictions::check(credential, call.prefix(), call.action)?;
    let assumes = (call.prefix(), call.action) == ("sts", "AssumeRole");
    // Nothing denies the root anything but the policies of resources, and only S3 and STS have such.
    if credential.principal_arn.ends_with(":root") && credential.session.policies.is_none() && !assumes {
        return Ok(());
    }
    // <https://docs.aws.amazon.com/STS/latest/APIReference/API_GetCallerIdentity.html>: told even to whom it is denied.
    if matches!((call.prefix(), call.action), ("sts", "GetCallerIdentity" | "GetSessionToken" | "GetAccessKeyInfo")) {
        return Ok(());
    }
    let identity = identity_of(tx, credential);
    let checker = Checker { site, identity: &identity, documents: identity.read(), call, now };
    if assumes { checker.assume_role(tx) } else { checker.act(tx) }
}

struct Checker<'a> {
    site: &'a Site,
    identity: &'a Identity,
    documents: Documents,
    call: &'a Call<'a>,
    now: Timestamp,
}

impl Checker<'_> {
    fn act(&self, tx: &mut Transaction<'_>) -> Result<(), ApiError> {
        let action = format!("{}:{}", self.call.prefix(), self.call.action);
        let keys = Keys::of(self.call);
        let targets = resources::of(tx, self.site, self.identity, self.call);
        for target in &targets {
            let mut context = self.context(target);
            keys.of_request(&mut context, target);
            self.may(&action, &target.arn, &context)?;
        }
        // What is tagged as it is made needs the right to tag too
        // (<https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/supported-iam-actions-tagging.html>).
        if self.call.prefix() == "ec2" && self.call.action != "CreateTags" {
            for target in targets.iter().filter(|target| target.is_new && keys.tags_new(target)) {
                let mut context = self.context(target);
                keys.of_tags(&mut context, target);
                context.set("ec2:CreateAction", self.call.action);
                self.may("ec2:CreateTags", &target.arn, &context)?;
            }
        }
        for role in resources::passed_roles(tx, self.call) {
            self.pass(tx, &role)?;
        }
        Ok(())
    }

    /// Who hands a role to an instance must be allowed to: else anybody who may launch might do all that any role may
    /// (<https://docs.aws.amazon.com/IAM/latest/UserGuide/id_roles_use_passrole.html>).
    fn pass(&self, tx: &mut Transaction<'_>, role: &str) -> Result<(), ApiError> {
        let Some(role) = tx.get::<Role>(role) else { return Ok(()) };
        let target = Target::existing(role.arn(&self.identity.account_id), role.tags.clone());
        let mut context = self.context(&target);
        context.set("iam:PassedToService", "ec2.amazonaws.com");
        self.may("iam:PassRole", &target.arn, &context)
    }

    fn assume_role(&self, tx: &mut Transaction<'_>) -> Result<(), ApiError> {
        // <https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRole.html>
        if self.identity.arn.ends_with(":root") {
            let words = "Roles may not be assumed by root accounts.";
            return Err(ApiError::new("AccessDenied", words).status(403));
        }
        let arn = resources::text(self.call.input, "RoleArn").unwrap_or_default();
        let refused = || {
            let words =
                format!("User: {} is not authorized to perform: sts:AssumeRole on resource: {arn}", self.identity.arn);
            ApiError::new("AccessDenied", words).status(403)
        };
        // A role that does not exist is refused alike, so that nobody learns which do.
        let role = resources::role_by_arn(tx, &self.identity.account_id, &arn).ok_or_else(refused)?;
        let trust = Document::parse(&role.assume_role_policy, Kind::Trust).map_err(|_| refused())?;
        let target = Target::existing(arn.clone(), role.tags.clone());
        let mut context = self.context(&target);
        Keys::of(self.call).of_request(&mut context, &target);
        let assume = Request { action: "sts:AssumeRole", resource: &arn, context: &context };
        allow_assume(self.identity, &self.documents, &trust, assume).map_err(|_| refused())?;
        // Tags and a source identity need a word of their own in the trust policy
        // (<https://docs.aws.amazon.com/IAM/latest/UserGuide/id_session-tags.html#id_session-tags_permissions-required>).
        for (action, given) in [
            ("sts:TagSession", !resources::texts(self.call.input, "Tags.Key").is_empty()),
            ("sts:SetSourceIdentity", resources::text(self.call.input, "SourceIdentity").is_some()),
        ] {
            if given {
                let request = Request { action, ..assume };
                allow_assume(self.identity, &self.documents, &trust, request).map_err(|_| {
                    let words = format!(
                        "User: {} is not authorized to perform: {action} on resource: {arn}",
                        self.identity.arn
                    );
                    ApiError::new("AccessDenied", words).status(403)
                })?;
            }
        }
        Ok(())
    }

    fn context(&self, target: &Target) -> Context {
        let mut context = Context::default();
        self.identity.describe(&mut context);
        describe_request(&mut context, self.call.connection, self.now);
        context.set("aws:RequestedRegion", &self.site.region);
        context.set("aws:ResourceAccount", &self.site.account_id);
        if self.call.prefix() == "ec2" {
            context.set("ec2:Region", &self.site.region);
        }
        for (key, value) in &target.tags {
            context.set(&format!("aws:ResourceTag/{key}"), value);
            context.set(&format!("{}:ResourceTag/{key}", self.call.prefix()), value);
        }
        for (key, value) in &target.keys {
            context.set(key, value);
        }
        context
    }

    fn may(&self, action: &str, resource: &str, context: &Context) -> Result<(), ApiError> {
        let request = Request { action, resource, context };
        allow(self.identity, &self.documents, None, request).map_err(|refusal| self.refused(action, resource, refusal))
    }

    /// <https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot_access-denied.html>
    fn refused(&self, action: &str, resource: &str, refusal: Refusal) -> ApiError {
        let on = if resource == "*" { String::new() } else { format!(" on resource: {resource}") };
        let words = format!(
            "User: {} is not authorized to perform: {action}{on} {}",
            self.identity.arn,
            refusal.reason(action)
        );
        match self.call.dialect {
            Dialect::Ec2 => ApiError::new(
                "UnauthorizedOperation",
                format!("You are not authorized to perform this operation. {words}"),
            ),
            Dialect::Query => ApiError::new("AccessDenied", words),
        }
        .status(403)
    }
}

/// The condition keys that every request has, to whatever service.
pub fn describe_request(context: &mut Context, connection: &Connection, now: Timestamp) {
    let seconds = now.millis().div_euclid(1000);
    context.set("aws:EpochTime", seconds.to_string());
    if let Ok(time) = jiff::Timestamp::from_second(seconds) {
        context.set("aws:CurrentTime", time.to_string());
    }
    // The cloud's doors are on loopback and in its own network, and speak HTTP.
    context.set("aws:SecureTransport", "false");
    context.set("aws:ViaAWSService", "false");
    if let Some(source) = connection.source {
        context.set("aws:SourceIp", source.to_string());
    }
    if !connection.user_agent.is_empty() {
        context.set("aws:UserAgent", &connection.user_agent);
    }
}

/// The role that a profile hands out.
fn role_of(tx: &mut Transaction<'_>, profile: &str) -> Option<String> {
    let name = profile.rsplit('/').next().unwrap_or(profile);
    tx.get::<InstanceProfile>(name)?.role_name.clone()
}
