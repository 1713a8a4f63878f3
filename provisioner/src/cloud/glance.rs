//! One look at the cloud, by many: while it lasts, what several resources ask is asked once. What waits for a change asks
//! anew each time, and never looks through one of these.

use std::any::Any;
use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use tokio::sync::OnceCell;

use crate::cloud::Cloud;
use crate::cloud::retry::CloudError;
use crate::resource::CloudResult;

type Answer = Arc<OnceCell<Box<dyn Any + Send + Sync>>>;

/// The answers so far, by question.
#[derive(Clone, Default)]
pub struct Glance(Arc<Mutex<HashMap<&'static str, Answer>>>);

impl Glance {
    fn answer(&self, question: &'static str) -> CloudResult<Answer> {
        let mut answers = self.0.lock().map_err(|_| CloudError::other("an earlier look panicked"))?;
        Ok(answers.entry(question).or_default().clone())
    }
}

impl Cloud {
    /// The cloud as it is now: what was answered once through the result is not asked again.
    #[must_use]
    pub fn at_a_glance(&self) -> Self {
        Self { glance: Some(self.glance.clone().unwrap_or_default()), ..self.clone() }
    }

    /// Asks, or takes the answer of this look. A question has one type of answer.
    pub(crate) async fn once<T: Clone + Send + Sync + 'static>(
        &self,
        question: &'static str,
        ask: impl Future<Output = CloudResult<T>> + Send,
    ) -> CloudResult<T> {
        let Some(glance) = &self.glance else { return ask.await };
        let answer = glance.answer(question)?;
        let known = answer.get_or_try_init(|| async { ask.await.map(|a| Box::new(a) as Box<dyn Any + Send + Sync>) });
        known.await?.downcast_ref::<T>().cloned().ok_or_else(|| CloudError::other(format!("two answers to {question}")))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::cloud::capabilities::Capabilities;
    use crate::cloud::clients::for_eucarc;
    use crate::cloud::eucarc::Eucarc;

    #[tokio::test]
    async fn a_question_is_asked_once_in_a_look_and_each_time_without_one_and_again_after_an_error() {
        let names = ["EC2", "S3", "AWS_ELB", "AWS_AUTO_SCALING", "AWS_CLOUDWATCH", "AWS_IAM"];
        let mut text: String = names.iter().map(|name| format!("export {name}_URL=http://127.0.0.1:9/\n")).collect();
        text.push_str("export AWS_ACCESS_KEY_ID=a\nexport AWS_SECRET_ACCESS_KEY=b\n");
        let clients = for_eucarc(&Eucarc::parse(&text, "/"), None).await.unwrap();
        let cloud = Cloud::new(clients, "imagecrud", "0123456789", Capabilities::default());
        let asked = AtomicUsize::new(0);
        let ask = || async { Ok(asked.fetch_add(1, Ordering::SeqCst)) };
        let glance = cloud.at_a_glance();
        let failed: CloudResult<usize> = glance.once("n", async { Err(CloudError::other("no")) }).await;
        assert!(failed.is_err());
        let (one, two) = tokio::join!(glance.once("n", ask()), glance.once("n", ask()));
        assert_eq!((one.unwrap(), two.unwrap(), glance.at_a_glance().once("n", ask()).await.unwrap()), (0, 0, 0));
        assert_eq!(glance.once("m", ask()).await.unwrap(), 1);
        assert_eq!((cloud.once("n", ask()).await.unwrap(), cloud.once("n", ask()).await.unwrap()), (2, 3));
        assert_eq!(cloud.at_a_glance().once("n", ask()).await.unwrap(), 4);
    }
}
