//! A cloud whose instances, volumes and network are the fake drivers': for measuring the API, the records and the
//! reconcilers without a machine's limits. It listens on loopback and ends with its standard input.
//!
//! ```text
//! cargo run -p localcloud --example fake_cloud -- --port 18774 --state-dir DIR
//! ```

use anyhow::{Context as _, Result};
use clap::Parser;
use localcloud::{
    behaviour::Behaviour,
    config::Config,
    daemon::{LocalCloud, Parts, watchman::Troubles},
    drivers::fake::FakeCloud,
    faults::Faults,
    image::BuiltImage,
};
use tokio::{
    io::AsyncReadExt as _,
    net::{TcpListener, UnixStream},
};

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
    let cloud = LocalCloud::start(&config, parts).await?;
    let api = cloud.paths.socket("api");
    let serving = tokio::spawn(async move {
        // As the proxy does it in a real cloud: bytes go to the API's socket.
        while let Ok((mut client, _)) = listener.accept().await {
            // Small answers must not wait for the client's delayed acknowledgement.
            let _ = client.set_nodelay(true);
            let api = api.clone();
            tokio::spawn(async move {
                if let Ok(mut server) = UnixStream::connect(&api).await {
                    let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
                }
            });
        }
    });
    eprintln!("serving http://127.0.0.1:{}/services/", config.port);
    tokio::io::stdin().read_to_end(&mut Vec::new()).await?;
    serving.abort();
    cloud.shut_down().await;
    Ok(())
}
