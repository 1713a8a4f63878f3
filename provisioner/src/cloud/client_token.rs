//! Leaves the client token out of a call: the SDK puts one into whatever may have one, and a cloud that does not know it
//! there refuses the whole call.

use aws_sdk_ec2::config::interceptors::BeforeTransmitInterceptorContextMut;
use aws_sdk_ec2::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_ec2::error::BoxError;
use aws_smithy_types::body::SdkBody;

/// For one call of EC2, of which it takes the token before the call is signed.
#[derive(Debug)]
pub struct WithoutClientToken;

impl Intercept for WithoutClientToken {
    fn name(&self) -> &'static str {
        "WithoutClientToken"
    }

    fn modify_before_retry_loop(
        &self,
        context: &mut BeforeTransmitInterceptorContextMut<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let request = context.request_mut();
        let Some(form) = request.body().bytes() else { return Ok(()) };
        let form = without_token(std::str::from_utf8(form)?);
        request.headers_mut().insert("content-length", form.len().to_string());
        *request.body_mut() = SdkBody::from(form);
        Ok(())
    }
}

fn without_token(form: &str) -> String {
    form.split('&').filter(|pair| !pair.starts_with("ClientToken=")).collect::<Vec<_>>().join("&")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_token_goes_and_all_else_stays_as_it_is() {
        for form in ["Action=A&ClientToken=x%2Fy&Size=1", "ClientToken=x&Action=A&Size=1", "Action=A&Size=1"] {
            assert_eq!(without_token(form), "Action=A&Size=1");
        }
    }
}
