//! What comes in the place of an answer: nothing, a web page, half of one. Told with the address that was asked, which the
//! SDK's errors do not know.

use std::error::Error;
use std::time::Duration;

use aws_sdk_ec2::config::interceptors::FinalizerInterceptorContextMut;
use aws_sdk_ec2::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_ec2::error::{BoxError, ConnectorError};
use aws_smithy_runtime_api::client::orchestrator::{HttpResponse, OrchestratorError};

use crate::report::seconds;

/// How far two clocks may be apart before a signature is refused: five minutes, and less where a proxy takes its time.
/// https://docs.aws.amazon.com/IAM/latest/UserGuide/signing-elements.html
const TOLERATED_SKEW: Duration = Duration::from_secs(240);
/// The begin of a sentence about an answer that no API gives.
pub const STRANGE: &str = "what answers at ";
/// Among the words about a refusal where the clocks are to blame.
pub const CLOCK: &str = "the clock of this machine is";

const UNTRUSTED: &str = "nobody that this machine trusts has signed its certificate";
const EXPIRED: &str = "its certificate has expired";
const EARLY: &str = "its certificate is not valid yet";
const OF_ANOTHER: &str = "its certificate is for another name";
const CLOSED: &str = "it closed the connection without an answer";
const NO_TLS: &str = "it speaks no TLS";
const NO_HTTP: &str = "it speaks no HTTP";

/// Tells errors of one API by its address.
#[derive(Debug)]
pub struct Asked(pub String);

/// No answer of the API.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct NoAnswer(pub String);

impl Intercept for Asked {
    fn name(&self) -> &'static str {
        "Asked"
    }

    fn modify_before_completion(
        &self,
        context: &mut FinalizerInterceptorContextMut<'_>,
        _components: &RuntimeComponents,
        _config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let (strange, has_response) = (context.response().and_then(strangeness), context.response().is_some());
        let Some(Err(error)) = context.output_or_error_mut() else { return Ok(()) };
        let Self(address) = self;
        if error.is_connector_error() || error.is_timeout_error() {
            let why = why_none(error);
            let none = NoAnswer(format!("{address}: {why}"));
            *error = OrchestratorError::connector(ConnectorError::other(none.into(), None));
        } else if error.is_response_error() && has_response {
            *error =
                OrchestratorError::response(NoAnswer(format!("{STRANGE}{address} broke off in the middle")).into());
        } else if error.is_operation_error()
            && let Some(strange) = strange
        {
            *error = OrchestratorError::response(NoAnswer(format!("{STRANGE}{address} {strange}")).into());
        }
        Ok(())
    }
}

/// The causes of an error, itself the first.
pub fn chain<'e>(error: &'e (dyn Error + 'static)) -> impl Iterator<Item = &'e (dyn Error + 'static)> {
    std::iter::successors(Some(error), |error: &&'e (dyn Error + 'static)| (*error).source())
}

/// Why there was no answer. The last cause says most ("Connection refused"); those around it are the layers of the SDK.
fn why_none(error: &(dyn Error + 'static)) -> String {
    let texts: Vec<String> = chain(error).map(ToString::to_string).collect();
    let timeout = texts.iter().find_map(|text| text.split_once(" timeout occurred after "));
    if let Some((kind, limit)) = timeout {
        let what = if kind.contains("connect") { "no connection" } else { "no answer" };
        return format!("{what} within {limit}");
    }
    let last = texts.last().map_or("", String::as_str);
    let last = last.split(" (os error").next().unwrap_or(last);
    match last {
        _ if last.contains("InvalidContentType") => NO_TLS.to_owned(),
        _ if last.contains("invalid HTTP version") || last.contains("invalid HTTP header") => NO_HTTP.to_owned(),
        _ if last.contains("message completed") => CLOSED.to_owned(),
        _ if last.contains("message length") => "its answer broke off".to_owned(),
        _ => match last.strip_prefix("invalid peer certificate: ") {
            Some("UnknownIssuer") => UNTRUSTED.to_owned(),
            Some(why) if why.to_lowercase().contains("expired") => EXPIRED.to_owned(),
            Some(why) if why.replace(' ', "").to_lowercase().contains("notvalidyet") => EARLY.to_owned(),
            Some(why) if why.replace(' ', "").to_lowercase().contains("notvalidforname") => OF_ANOTHER.to_owned(),
            Some(why) => format!("its certificate is refused: {why}"),
            None => last.trim_start_matches("failed to lookup address information: ").to_owned(),
        },
    }
}

/// What can be done where there was no answer for such a reason.
pub fn hint(why: &str) -> &'static str {
    match why {
        _ if why.contains(UNTRUSTED) => {
            "where the cloud's own authority has signed it: add that to those of the system, or name its file in SSL_CERT_FILE"
        }
        _ if why.contains(EXPIRED) => "renew the cloud's certificate; or is the clock of this machine ahead?",
        _ if why.contains(EARLY) => "is the clock of this machine behind?",
        _ if why.contains(OF_ANOTHER) => "write the name that stands in the cloud's certificate into its address",
        _ if why.contains(CLOSED) => {
            "is the cloud running, and its address right? it may have to begin with https:// instead of http://"
        }
        _ if why.contains(NO_TLS) => "is it the right port? the address may have to begin with http://",
        _ if why.contains(NO_HTTP) => "is it the right port? the address may have to begin with https://",
        _ => "is the cloud running, and its address right?",
    }
}

/// What is strange about an answer, if anything: that of an API is XML, whole, and no web page.
fn strangeness(response: &HttpResponse) -> Option<String> {
    let body = String::from_utf8_lossy(response.body().bytes()?);
    let body = body.trim_start_matches('\u{feff}').trim();
    let lower = body.get(..body.len().min(4096)).unwrap_or(body).to_ascii_lowercase();
    if lower.starts_with("<!doctype html") || lower.starts_with("<html") {
        let title = lower.find("<title>").zip(lower.find("</title>"));
        let title = title.and_then(|(begin, end)| body.get(begin + "<title>".len()..end));
        let title = title.map_or_else(String::new, |title| format!(" (\u{201c}{}\u{201d})", title.trim()));
        return Some(format!("is a web page{title}, and no API of a cloud"));
    }
    if !response.status().is_success() {
        return None;
    }
    Some(match body {
        "" => "says nothing: its answer is empty".to_owned(),
        _ if body.starts_with('<') => "has sent XML that breaks off, or is that of another API".to_owned(),
        _ => "has sent something else than XML".to_owned(),
    })
}

/// How far this machine's clock is from that of the cloud, in words, where that is too far.
pub fn clock_skew(response: &HttpResponse) -> Option<String> {
    let theirs = jiff::fmt::rfc2822::parse(response.headers().get("date")?).ok()?.timestamp();
    skew(jiff::Timestamp::now(), theirs)
}

fn skew(ours: jiff::Timestamp, theirs: jiff::Timestamp) -> Option<String> {
    let apart = ours.duration_since(theirs);
    let word = if apart.is_negative() { "behind" } else { "ahead of" };
    let by = apart.unsigned_abs();
    (by > TOLERATED_SKEW).then(|| format!("{CLOCK} {} {word} the cloud's", seconds(by)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_is_off_is_told_with_how_far() {
        let at = |text: &str| text.parse::<jiff::Timestamp>().unwrap();
        let (one, other) = (at("2026-11-27T10:00:00Z"), at("2026-11-27T12:05:30Z"));
        assert_eq!(skew(one, other).unwrap(), "the clock of this machine is 125m30s behind the cloud's");
        assert_eq!(skew(other, one).unwrap(), "the clock of this machine is 125m30s ahead of the cloud's");
        assert_eq!(skew(one, at("2026-11-27T10:03:00Z")), None);
    }
}
