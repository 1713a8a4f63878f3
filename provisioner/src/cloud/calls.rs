//! Every call that was made: its name, its time, and for which resource. From these it is read how many there were, and
//! which of them had to wait for each other.

use std::sync::{Arc, Mutex};
use std::time::Instant;

use aws_sdk_ec2::config::interceptors::{BeforeSerializationInterceptorContextRef, FinalizerInterceptorContextRef};
use aws_sdk_ec2::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_ec2::error::BoxError;
use aws_smithy_runtime_api::client::orchestrator::Metadata;
use aws_smithy_types::config_bag::{Storable, StoreReplace};

use crate::resource::ResourceKey;

tokio::task_local! {
    static ON_BEHALF: ResourceKey;
}

/// Notes the calls of a future as made for a resource.
pub async fn on_behalf_of<F: Future>(key: ResourceKey, work: F) -> F::Output {
    ON_BEHALF.scope(key, work).await
}

/// One call, the SDK's own repetitions of it included.
#[derive(Clone, Debug)]
pub struct Call {
    /// `EC2.DescribeVolumes`.
    pub name: String,
    /// The resource whose turn it was; none before the first turn.
    pub on_behalf: Option<ResourceKey>,
    /// When it was made.
    pub begun: Instant,
    /// When it was answered.
    pub ended: Instant,
}

/// The calls of a run, in the order in which they were answered.
#[derive(Clone, Debug, Default)]
pub struct Calls(Arc<Mutex<Vec<Call>>>);

impl Calls {
    /// Notes a call that ends now.
    pub(crate) fn note(&self, name: impl Into<String>, begun: Instant) {
        let on_behalf = ON_BEHALF.try_with(Clone::clone).ok();
        let call = Call { name: name.into(), on_behalf, begun, ended: Instant::now() };
        if let Ok(mut calls) = self.0.lock() {
            calls.push(call);
        }
    }

    /// Those so far.
    pub fn so_far(&self) -> Vec<Call> {
        self.0.lock().map(|calls| calls.clone()).unwrap_or_default()
    }
}

/// Of some calls, those that came one after the other up to the last: each is the last that was answered before the next
/// was made.
pub fn chain(mut calls: Vec<Call>) -> Vec<Call> {
    calls.sort_by_key(|call| call.ended);
    let mut chain: Vec<Call> = calls.pop().into_iter().collect();
    while let Some(next) = chain.last() {
        calls.retain(|call| call.ended <= next.begun);
        match calls.pop() {
            Some(before) => chain.push(before),
            None => break,
        }
    }
    chain.reverse();
    chain
}

#[derive(Debug)]
struct Begun(Instant);

impl Storable for Begun {
    type Storer = StoreReplace<Self>;
}

impl Intercept for Calls {
    fn name(&self) -> &'static str {
        "Calls"
    }

    fn read_before_execution(
        &self,
        _: &BeforeSerializationInterceptorContextRef<'_>,
        config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        config.interceptor_state().store_put(Begun(Instant::now()));
        Ok(())
    }

    fn read_after_execution(
        &self,
        _: &FinalizerInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        if let (Some(Begun(begun)), Some(metadata)) = (config.load::<Begun>(), config.load::<Metadata>()) {
            self.note(format!("{}.{}", metadata.service().replace(' ', ""), metadata.name()), *begun);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_chain_leads_to_the_last_call_over_those_that_it_can_have_waited_for() {
        let start = Instant::now();
        let call = |name: &str, begun: u64, ended: u64| Call {
            name: name.to_owned(),
            on_behalf: None,
            begun: start + Duration::from_millis(begun),
            ended: start + Duration::from_millis(ended),
        };
        let calls =
            vec![call("a", 0, 10), call("d", 60, 61), call("b", 0, 30), call("beside", 11, 20), call("c", 30, 60)];
        let names: Vec<String> = chain(calls).into_iter().map(|call| call.name).collect();
        assert_eq!(names, ["b", "c", "d"]);
        assert!(chain(Vec::new()).is_empty());
    }
}
