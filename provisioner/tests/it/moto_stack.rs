//! `moto_server`, a cloud that we did not write, as a stage. Its instances are records that run at once, its load balancers say
//! of every instance that it is in service, and nothing of it is seen late: what the proxy hides is all that is hidden.

use std::ops::Deref;
use std::process::Child;

use crate::faulty_proxy::Upstream;
use crate::moto;
use crate::stage::{Ground, Stage, directory, own_port};

pub(crate) struct MotoStack {
    stage: Stage,
    server: Child,
}

impl Deref for MotoStack {
    type Target = Stage;

    fn deref(&self) -> &Stage {
        &self.stage
    }
}

impl Drop for MotoStack {
    fn drop(&mut self) {
        self.server.kill().ok();
        self.server.wait().ok();
    }
}

impl MotoStack {
    pub(crate) async fn start() -> Self {
        let directory = directory();
        let (server, port) = moto::serve(directory.path());
        let counted = own_port().await;
        let eucarc = directory.path().join("eucarc");
        std::fs::write(&eucarc, moto::eucarc(counted.0)).unwrap();
        let upstream = Upstream::Port(port);
        let ground = Ground { directory, eucarc, counted, upstream, faults: None, image: Some(moto::IMAGE) };
        let stack = Self { stage: Stage::on(ground).await, server };
        moto::answers(&stack.clients).await;
        stack
    }
}
