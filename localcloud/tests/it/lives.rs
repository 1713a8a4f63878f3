//! One client and many daemons: whenever a life is over the next begins, and the client goes on until it has its answer.

use std::time::{Duration, Instant};

use crate::{
    fake_world::{Answer, FakeWorld},
    mortal::Life,
};

const PAUSE: Duration = Duration::from_millis(2);

type Next = Box<dyn Fn(usize) -> (Life, FakeWorld) + Send + Sync>;

/// The daemon that lives now, and how the next one comes.
pub(crate) struct Lives {
    pub(crate) life: Life,
    pub(crate) world: FakeWorld,
    /// So many were killed.
    pub(crate) kills: usize,
    /// The longest that anything may take.
    limit: Duration,
    /// What there is, for messages.
    portrait: fn(&FakeWorld) -> String,
    next: Next,
}

impl Lives {
    pub(crate) fn new(
        (life, world): (Life, FakeWorld),
        limit: Duration,
        portrait: fn(&FakeWorld) -> String,
        next: impl Fn(usize) -> (Life, FakeWorld) + Send + Sync + 'static,
    ) -> Self {
        Self { life, world, kills: 0, limit, portrait, next: Box::new(next) }
    }

    /// A new daemon, if the last one was killed.
    fn revive(&mut self) {
        if self.life.is_over() {
            self.kills += 1;
            (self.life, self.world) = (self.next)(self.kills);
        }
    }

    /// Calls until there is an answer. `done` is what a call is told whose first try was carried out and not answered.
    pub(crate) fn call(
        &mut self,
        service: &str,
        action: &str,
        parameters: &[(&str, &str)],
        done: &[&str],
    ) -> Option<Answer> {
        loop {
            self.revive();
            match self.world.call(service, action, parameters) {
                Ok(answer) => return Some(answer),
                Err(_) if self.life.is_over() => {}
                Err(error) if self.kills > 0 && done.contains(&error.code.as_str()) => return None,
                Err(error) => panic!("{action}: {error}"),
            }
        }
    }

    pub(crate) async fn until(&mut self, what: &str, so: impl Fn(&FakeWorld) -> bool) {
        let start = Instant::now();
        loop {
            self.revive();
            if so(&self.world) {
                return;
            }
            let limit = self.limit;
            assert!(start.elapsed() < limit, "waited {limit:?}: {what}\n{}", (self.portrait)(&self.world));
            let life = self.life.clone();
            tokio::select! {
                () = self.world.pass() => {}
                () = life.over() => {}
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
}
