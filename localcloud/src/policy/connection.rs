//! What every request has, to whatever service: where it came from, and when.

use std::net::IpAddr;

use super::context::Context;

/// Where a request came from.
#[derive(Debug, Clone, Default)]
pub struct Connection {
    pub source: Option<IpAddr>,
    pub user_agent: String,
}

impl Connection {
    /// Set by HAProxy to the address that a request comes from; what a client sends under this name is removed there.
    pub const SOURCE: &'static str = "x-localcloud-source";

    /// The condition keys that are about it.
    pub fn describe(&self, context: &mut Context, now_epoch_secs: i64) {
        context.set("aws:EpochTime", now_epoch_secs.to_string());
        if let Ok(time) = jiff::Timestamp::from_second(now_epoch_secs) {
            context.set("aws:CurrentTime", time.to_string());
        }
        // The cloud's doors are on loopback and in its own network, and speak HTTP.
        context.set("aws:SecureTransport", "false");
        context.set("aws:ViaAWSService", "false");
        if let Some(source) = self.source {
            context.set("aws:SourceIp", source.to_string());
        }
        if !self.user_agent.is_empty() {
            context.set("aws:UserAgent", &self.user_agent);
        }
    }
}
