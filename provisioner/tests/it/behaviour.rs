//! What the probes find, on the cloud that we bring along, as it behaves like others.

use std::sync::Arc;

use imagecrud_deploy::cloud::capabilities::{Capabilities, probe};
use imagecrud_deploy::cloud::clients::for_eucarc;
use imagecrud_deploy::cloud::eucarc::Eucarc;
use localcloud::api::{self, operation::Observer};
use localcloud::behaviour::Behaviour;
use localcloud::image::BuiltImage;
use localcloud::model::{identity::Credential, site::Site, time::Timestamp};
use localcloud::store::{Store, StoreError};
use localcloud::wire::{front::Front, listener};
use tokio_util::sync::CancellationToken;

struct NoConsoles;

impl Observer for NoConsoles {
    fn console_output(&self, _instance_id: &str) -> Vec<u8> {
        Vec::new()
    }
}

/// Asks a cloud of this behaviour, of which only the records are there.
async fn probed(behaviour: Behaviour) -> Capabilities {
    let directory = tempfile::tempdir().unwrap();
    let store = Arc::new(Store::open(&directory.path().join("records")).unwrap());
    let site = Site::new((10, 77), (127, 77), 8773);
    let image = BuiltImage {
        name: "debian".to_owned(),
        description: "Debian".to_owned(),
        root: directory.path().to_owned(),
        created: jiff::Timestamp::now(),
        recipe_hash: "0".to_owned(),
        suite: "bookworm".to_owned(),
        architecture: "x86_64".to_owned(),
    };
    let operator = Credential {
        access_key: "AKIAOPERATOR".to_owned(),
        secret_key: "secret".to_owned(),
        session_token: None,
        created: Timestamp::now(),
        expires: None,
        principal_arn: format!("arn:aws:iam::{}:root", site.account_id),
        principal_id: site.account_id.clone(),
        account_id: site.account_id.clone(),
        instance_id: None,
        role_name: None,
        user_name: None,
    };
    store
        .transact(|tx| {
            api::ec2::found(tx, &site, &image);
            tx.put(site);
            tx.put(operator);
            Ok::<_, StoreError>(())
        })
        .unwrap();
    let front = Front::new(store, api::services(), Arc::new(NoConsoles), Arc::default()).like(behaviour);
    let socket = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let base = format!("http://{}/services", socket.local_addr().unwrap());
    let stop = CancellationToken::new();
    let serving = tokio::spawn(listener::serve(socket, front.router(), stop.clone()));
    let eucarc = format!(
        "export EC2_URL={base}/compute\nexport AWS_ELB_URL={base}/LoadBalancing\nexport AWS_IAM_URL={base}/Euare\n\
         export AWS_AUTO_SCALING_URL={base}/AutoScaling\nexport AWS_CLOUDWATCH_URL={base}/CloudWatch\n\
         export S3_URL={base}/objectstorage\nexport AWS_ACCESS_KEY_ID=AKIAOPERATOR\nexport AWS_SECRET_ACCESS_KEY=secret\n"
    );
    let clients = for_eucarc(&Eucarc::parse(&eucarc, "/"), None).await.unwrap();
    let capabilities = probe(&clients).await.unwrap();
    drop(clients);
    stop.cancel();
    serving.await.unwrap();
    capabilities
}

#[tokio::test]
async fn templates_are_chosen_on_aws_and_launch_configurations_on_eucalyptus() {
    let everything = Capabilities {
        launch_templates: true,
        tags_at_creation: true,
        instance_profiles: true,
        connection_draining: true,
        default_vpc: true,
    };
    assert_eq!(probed(Behaviour::Everything).await, everything);
    assert_eq!(probed(Behaviour::Aws).await, everything);
    // Eucalyptus has the call for attributes, and keeps draining off all the same: `up` sees that later.
    assert_eq!(probed(Behaviour::Eucalyptus44).await, Capabilities { launch_templates: false, ..everything });
}
