//! Founds a cloud's records: its site, the operator's credentials, its image, and the eucarc by which clients find it.
//! Every step finds what an earlier start has left.

use anyhow::{Context as _, Result};

use crate::{
    api::ec2,
    config::Config,
    host::file,
    image::BuiltImage,
    model::{id, identity::Credential, site::Site, time::Timestamp},
    paths::Paths,
    reconcile::credentials,
    store::{Store, StoreError},
};

/// Brings the records of a new or an old cloud to where instances can be launched.
///
/// # Errors
/// When the records or the eucarc cannot be written.
pub fn found(store: &Store, config: &Config, paths: &Paths, image: &BuiltImage) -> Result<()> {
    let (site, operator) = store.transact(|tx| {
        let (subnet, public) = ((config.subnet.0, config.subnet.1), (config.public_subnet.0, config.public_subnet.1));
        let site = match tx.get::<Site>(Site::KEY) {
            // The port may be chosen anew at every start; addresses stay, as instances hold them.
            Some(site) => Site::clone(&site),
            None => Site::new(subnet, public, config.port),
        };
        let site = Site { port: config.port, instance_limit: config.instance_limit, ..site.with_zones(config.zones) };
        tx.put(site.clone());
        ec2::found(tx, &site, image);
        let known = tx.list::<Credential>().into_iter().find(|credential| credential.is_root());
        let operator = match known {
            Some(credential) => Credential::clone(&credential),
            None => {
                let credential = new_operator(&site);
                tx.put(credential.clone());
                credential
            }
        };
        Ok::<_, StoreError>((site, operator))
    })?;
    credentials::write_for_s3(store, paths).context("writing the credentials for S3")?;
    write_eucarc(paths, &site, &operator)
}

fn new_operator(site: &Site) -> Credential {
    let access_key = format!("AKIA{}", id::base32(16));
    Credential::of_root(&site.account_id, access_key, id::base64(40), Timestamp::now())
}

/// Names as in Eucalyptus's eucarc; the last two are this cloud's own, as VMs and browsers reach S3 by other names than
/// programs on the host do.
fn write_eucarc(paths: &Paths, site: &Site, operator: &Credential) -> Result<()> {
    let Site { port, region, account_id, subnet, .. } = site;
    let base = format!("http://127.0.0.1:{port}/services");
    let Credential { access_key, secret_key, .. } = operator;
    let lines = [
        ("EC2_URL", format!("{base}/compute")),
        ("AWS_AUTO_SCALING_URL", format!("{base}/AutoScaling")),
        ("AWS_ELB_URL", format!("{base}/LoadBalancing")),
        ("AWS_CLOUDWATCH_URL", format!("{base}/CloudWatch")),
        ("AWS_IAM_URL", format!("{base}/Euare")),
        ("TOKEN_URL", format!("{base}/Tokens")),
        ("S3_URL", format!("{base}/objectstorage")),
        ("AWS_ACCESS_KEY_ID", access_key.clone()),
        ("AWS_SECRET_ACCESS_KEY", secret_key.clone()),
        ("EC2_ACCESS_KEY", access_key.clone()),
        ("EC2_SECRET_KEY", secret_key.clone()),
        ("AWS_AUTH_REGION", region.clone()),
        ("EC2_ACCOUNT_NUMBER", account_id.clone()),
        ("S3_VM_URL", format!("http://{}.{}.0.1:{port}", subnet.0, subnet.1)),
        ("S3_PUBLIC_URL", format!("http://s3.localhost:{port}")),
    ];
    let text: String = lines.iter().map(|(name, value)| format!("export {name}={value}\n")).collect();
    file::replace_secret(&paths.eucarc(), text.as_bytes()).context("writing the eucarc")
}
