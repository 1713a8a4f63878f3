//! A cloud whose instances, volumes and network are the fake drivers': for measuring the API, the records and the
//! reconcilers without a machine's limits. It listens on loopback and ends with its standard input.
//!
//! ```text
//! cargo run -p localcloud --example fake_cloud -- --port 18774 --state-dir DIR
//! ```

use anyhow::{Context as _, Result};
use axum::serve::ListenerExt as _;
use clap::Parser;
use localcloud::{
    behaviour::Behaviour,
    config::Config,
    daemon::{LocalCloud, Parts, watchman::Troubles},
    drivers::fake::FakeCloud,
    faults::Faults,
    image::BuiltImage,
};
use tokio::{io::AsyncReadExt as _, net::TcpListener};

#[derive(Parser)]
struct Arguments {
    #[command(flatten)]
    config: Config,
}

// More than there are cores: a request waits for the disk where it is answered, and the others go on.
#[tokio::main(worker_threads = 8)]
async fn main() -> Result<()> {
    let config = Arguments::parse().config;
    let image = BuiltImage {
        name: "fake".to_owned(),
        description: "An image that only the fake driver boots".to_owned(),
        root: config.state_dir.clone(),
        created: jiff::Timestamp::now(),
        recipe_hash: "0".to_owned(),
        suite: "bookworm".to_owned(),
        architecture: "x86_64".to_owned(),
    };
    let listener = TcpListener::bind(("127.0.0.1", config.port)).await.context("listening")?;
    let parts = Parts {
        drivers: FakeCloud::new().drivers(),
        image,
        behaviour: Behaviour::Everything,
        faults: Faults::default(),
        troubles: Troubles::default(),
    };
    let mut cloud = LocalCloud::start(&config, parts).await?;
    // Small answers must not wait for the client's delayed acknowledgement.
    cloud.serve_api(listener.tap_io(|stream| drop(stream.set_nodelay(true))));
    eprintln!("serving http://127.0.0.1:{}/services/", config.port);
    tokio::io::stdin().read_to_end(&mut Vec::new()).await?;
    cloud.shut_down().await;
    Ok(())
}
