//! Access logs into their buckets, through the S3 process's own API, as the account's root.

use std::{collections::BTreeSet, fs, sync::Arc};

use anyhow::{Context as _, bail};

use super::spool::{Destination, Spool, Spooled};
use crate::{
    model::{identity::Credential, load_balancer::LoadBalancer, site::Site, time::Timestamp},
    object_storage::client::Client,
    reconcile::runner::Context,
    store::StoreError,
};

/// A request that ends with its interval is written some seconds later.
const LATE_SECS: i64 = 15;
/// For so long a bucket may be away; AWS too delivers as well as it can, and no better.
const LONGEST_WAIT_SECS: i64 = 24 * 3600;

/// Puts what is due into the buckets. What cannot be put stays for a day, and is tried again.
pub async fn deliver(
    cx: &Context,
    site: &Site,
    balancers: &[Arc<LoadBalancer>],
    spool: &Spool,
    now: Timestamp,
) -> anyhow::Result<()> {
    let waiting = spool.list().context("looking for access logs")?;
    if waiting.is_empty() {
        return Ok(());
    }
    let kept: BTreeSet<&str> = balancers
        .iter()
        .filter(|balancer| balancer.access_log.enabled)
        .map(|balancer| balancer.name.as_str())
        .collect();
    let mut failure = None;
    let mut delivered = BTreeSet::new();
    for spooled in &waiting {
        let balancer = spooled.balancer.as_str();
        // Those of a balancer that keeps no more logs do not wait.
        if kept.contains(balancer) && spooled.end.plus_secs(LATE_SECS) > now {
            continue;
        }
        // A bucket that is gone keeps no other balancer's logs from theirs.
        match put(cx, &spooled.destination.bucket, &key(site, spooled), fs::read(&spooled.path)?).await {
            Ok(()) => {
                delivered.insert(balancer);
            }
            Err(error) if spooled.end.plus_secs(LONGEST_WAIT_SECS) <= now => {
                tracing::warn!("giving up an access log of the load balancer {balancer}: {error:#}");
            }
            Err(error) => {
                failure = Some(error);
                continue;
            }
        }
        fs::remove_file(&spooled.path).with_context(|| format!("removing {}", spooled.path.display()))?;
    }
    let left: BTreeSet<String> = spool.list()?.into_iter().map(|spooled| spooled.balancer).collect();
    for balancer in delivered.into_iter().filter(|balancer| !kept.contains(balancer) && !left.contains(*balancer)) {
        spool.forget(balancer)?;
    }
    failure.map_or(Ok(()), Err)
}

/// Writes the object by which a bucket is tried when logs are switched on.
pub async fn try_buckets(cx: &Context, site: &Site, balancers: &[Arc<LoadBalancer>]) -> anyhow::Result<()> {
    let mut failure = None;
    for balancer in balancers.iter().filter(|balancer| balancer.access_log.test_file_due) {
        let Some(destination) = Destination::of(balancer) else { continue };
        let key = format!("{}ELBAccessLogTestFile", folder(site, destination.prefix.as_deref()));
        let text = format!("Enable AccessLog for ELB: {} at {}", balancer.name, Timestamp::now());
        match put(cx, &destination.bucket, &key, text.into_bytes()).await {
            Ok(()) => note_tried(cx, Arc::clone(balancer)).await?,
            Err(error) => failure = Some(error),
        }
    }
    failure.map_or(Ok(()), Err)
}

/// Unless logs have been switched elsewhere meanwhile.
async fn note_tried(cx: &Context, tried: Arc<LoadBalancer>) -> anyhow::Result<()> {
    let store = Arc::clone(&cx.store);
    let noted = tokio::task::spawn_blocking(move || {
        store.transact(|tx| {
            tx.update::<LoadBalancer>(&tried.name, |record| {
                if record.access_log == tried.access_log {
                    record.access_log.test_file_due = false;
                }
            });
            Ok::<_, StoreError>(())
        })
    });
    Ok(noted.await??)
}

async fn put(cx: &Context, bucket: &str, key: &str, body: Vec<u8>) -> anyhow::Result<()> {
    let (site, root) = cx.store.read(|tx| {
        let root = tx.list::<Credential>().into_iter().find(|credential| credential.is_root());
        (tx.get::<Site>(Site::KEY), root)
    })?;
    let (Some(site), Some(root)) = (site, root) else {
        bail!("the cloud has no credentials to write access logs with")
    };
    let client = Client::new(&cx.paths.socket("s3"), &site.region, &root.access_key, &root.secret_key);
    client
        .put(bucket, key, body)
        .await
        .with_context(|| format!("writing the access log {key} into the bucket {bucket}"))
}

/// `PREFIX/AWSLogs/ACCOUNT/`
fn folder(site: &Site, prefix: Option<&str>) -> String {
    let prefix = prefix.map(|prefix| format!("{}/", prefix.trim_end_matches('/'))).unwrap_or_default();
    format!("{prefix}AWSLogs/{}/", site.account_id)
}

fn key(site: &Site, spooled: &Spooled) -> String {
    let Site { account_id, region, .. } = site;
    let end = jiff::Timestamp::from_millisecond(spooled.end.millis()).unwrap_or_default();
    format!(
        "{}elasticloadbalancing/{region}/{}/{account_id}_elasticloadbalancing_{region}_{}_{}_{}_{}.log",
        folder(site, spooled.destination.prefix.as_deref()),
        end.strftime("%Y/%m/%d"),
        spooled.balancer,
        end.strftime("%Y%m%dT%H%MZ"),
        spooled.destination.address,
        spooled.random
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_as_in_aws_s_documentation() {
        let mut site = Site::new((10, 77), (127, 77), 8773);
        site.account_id = "123456789012".into();
        let spooled = Spooled {
            balancer: "my-lb".into(),
            path: "x".into(),
            end: Timestamp::from_seconds(1_526_427_600.0),
            random: "20sg8hgm".into(),
            destination: Destination {
                bucket: "b".into(),
                prefix: Some("logging-prefix".into()),
                address: "10.77.255.1".into(),
                interval_secs: 300,
            },
        };
        assert_eq!(
            key(&site, &spooled),
            "logging-prefix/AWSLogs/123456789012/elasticloadbalancing/localcloud/2018/05/15/\
             123456789012_elasticloadbalancing_localcloud_my-lb_20180515T2340Z_10.77.255.1_20sg8hgm.log"
        );
    }
}
