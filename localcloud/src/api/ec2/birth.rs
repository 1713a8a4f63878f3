//! What the cloud is born with: the default security group, and the record of the image that was built.

use super::security_groups::{allow_all_egress, permissions::rule_id};
use crate::{
    image::BuiltImage,
    model::{
        id,
        image::{Image, ImageState},
        instance::{Instance, InstanceState},
        security_group::{Rule, RuleSource, SecurityGroup},
        site::Site,
        tag::Tags,
        time::Timestamp,
    },
    store::Transaction,
};

/// Creates the default security group if it is missing, and registers the image if its tree is new; returns the image's
/// id. Older images stay as long as their trees exist or instances need them. To be called at each start: it changes
/// only what differs.
pub fn found(tx: &mut Transaction<'_>, site: &Site, built: &BuiltImage) -> String {
    if !tx.list::<SecurityGroup>().iter().any(|group| group.name == "default" && group.vpc_id == site.vpc_id) {
        let id = id::new("sg");
        tx.put(SecurityGroup {
            name: "default".to_owned(),
            description: "default VPC security group".to_owned(),
            vpc_id: site.vpc_id.clone(),
            owner_id: site.account_id.clone(),
            ingress: vec![Rule {
                id: rule_id(),
                protocol: "-1".to_owned(),
                ports: None,
                source: RuleSource::Group(id.clone()),
                description: None,
            }],
            egress: vec![allow_all_egress()],
            tags: Tags::new(),
            id,
        });
    }

    let instances = tx.list::<Instance>();
    let registered = tx.list::<Image>();
    for image in &registered {
        let needed = instances
            .iter()
            .any(|instance| instance.image_id == image.id && instance.state != InstanceState::Terminated);
        if !needed && image.root_snapshot.is_none() && !image.root.is_dir() {
            tx.delete::<Image>(&image.id);
        }
    }
    let known = registered.iter().find(|image| image.root == built.root);
    let image = Image {
        id: known.map_or_else(|| id::new("ami"), |image| image.id.clone()),
        name: built.name.clone(),
        description: built.description.clone(),
        owner_id: site.account_id.clone(),
        public: true,
        architecture: built.architecture.clone(),
        root: built.root.clone(),
        created: Timestamp::from_seconds(built.created.as_millisecond() as f64 / 1000.0),
        state: ImageState::Available,
        state_reason: None,
        root_snapshot: None,
        source_instance: None,
        no_reboot: false,
        block_devices: Vec::new(),
        launch_permissions: known.map(|image| image.launch_permissions.clone()).unwrap_or_default(),
        client_token: None,
        tags: known.map(|image| image.tags.clone()).unwrap_or_default(),
    };
    let id = image.id.clone();
    if known.is_none_or(|known| **known != image) {
        tx.put(image);
    }
    id
}

#[cfg(test)]
pub(super) mod tests {
    use std::path::Path;

    use super::*;
    use crate::store::{Store, StoreError};

    /// A built image whose tree is an empty directory.
    pub(in super::super) fn image(cache: &Path, name: &str) -> BuiltImage {
        let root = cache.join(name);
        std::fs::create_dir_all(&root).expect("a directory");
        BuiltImage {
            name: name.to_owned(),
            description: name.to_owned(),
            root,
            created: jiff::Timestamp::UNIX_EPOCH,
            recipe_hash: name.to_owned(),
            suite: "bookworm".to_owned(),
            architecture: "x86_64".to_owned(),
        }
    }

    #[test]
    fn founding_twice_changes_nothing_and_a_tree_that_is_gone_takes_its_image_along() {
        let dir = tempfile::tempdir().expect("a directory");
        let store = Store::open(&dir.path().join("records")).expect("opens");
        let site = Site::new((10, 77), (127, 77), 8773);
        let founded =
            |built: &BuiltImage| store.transact(|tx| Ok::<_, StoreError>(found(tx, &site, built))).expect("founds");
        let images = || {
            store.read(|tx| tx.list::<Image>().iter().map(|image| image.id.clone()).collect::<Vec<_>>()).expect("reads")
        };
        let (old, new) = (image(dir.path(), "old"), image(dir.path(), "new"));
        let first = founded(&old);
        let mut changed = store.subscribe();
        changed.mark_unchanged();
        assert_eq!(founded(&old), first);
        assert!(!changed.has_changed().expect("the store lives"));
        let second = founded(&new);
        assert_eq!(images().len(), 2);
        std::fs::remove_dir(&old.root).expect("removed");
        assert_eq!(founded(&new), second);
        assert_eq!(images(), [second]);
        assert_eq!(store.read(|tx| tx.list::<SecurityGroup>().len()).expect("reads"), 1);
    }
}
