//! Ctrl-C: the first lets the calls under way end, saves and says how to go on; the second stops at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::Notify;

use crate::error::{Exit, Failure};

async fn either(one: &mut Signal, other: &mut Signal) {
    tokio::select! {
        _ = one.recv() => {}
        _ = other.recv() => {}
    }
}

/// Tells every walk that it should stop at the next safe point.
#[derive(Clone, Default)]
pub struct Interrupt(Arc<Inner>);

#[derive(Default)]
struct Inner {
    stopped: AtomicBool,
    wake: Notify,
}

impl Interrupt {
    /// Listens for Ctrl-C, or SIGTERM, for the rest of the process.
    pub fn listen() -> Self {
        let interrupt = Self::default();
        let listener = interrupt.clone();
        tokio::spawn(async move {
            let (Ok(mut interrupts), Ok(mut terminations)) =
                (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
            else {
                return;
            };
            either(&mut interrupts, &mut terminations).await;
            eprintln!("\nstopping after the calls under way; Ctrl-C again stops at once");
            listener.stop();
            either(&mut interrupts, &mut terminations).await;
            // The kernel takes the lock back.
            std::process::exit(Exit::Interrupted as i32);
        });
        interrupt
    }

    /// Asks to stop.
    pub fn stop(&self) {
        self.0.stopped.store(true, Ordering::SeqCst);
        self.0.wake.notify_waiters();
    }

    /// Whether to stop.
    pub fn stopped(&self) -> bool {
        self.0.stopped.load(Ordering::SeqCst)
    }

    /// The failure to end with, if asked to stop.
    pub fn check(&self) -> Result<(), Failure> {
        if !self.stopped() {
            return Ok(());
        }
        Err(Failure::new("", "stopped on request; everything so far is noted")
            .hint("run the same command again to go on, or `imagecrud-deploy teardown` to remove what is there")
            .exit(Exit::Interrupted))
    }

    /// Sleeps, or returns earlier when asked to stop.
    pub async fn sleep(&self, duration: Duration) -> Result<(), Failure> {
        let wake = self.0.wake.notified();
        if !self.stopped() {
            tokio::select! {
                () = tokio::time::sleep(duration) => {}
                () = wake => {}
            }
        }
        self.check()
    }
}
