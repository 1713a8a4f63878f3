//! Records for the reconcilers' tests.

use std::net::Ipv4Addr;

use crate::model::{
    instance::{Instance, InstanceState},
    tag::Tags,
    time::Timestamp,
};

/// An instance of this id, in this state since now.
pub(super) fn instance(id: &str, state: InstanceState) -> Instance {
    let now = Timestamp::now();
    Instance {
        id: id.to_owned(),
        reservation_id: "r-1".to_owned(),
        launch_index: 0,
        image_id: "ami-1".to_owned(),
        instance_type: "t3.micro".to_owned(),
        state,
        launched: now,
        zone: "PARTI00".into(),
        private_ip: Ipv4Addr::new(10, 77, 0, 10),
        public_ip: Ipv4Addr::new(127, 77, 0, 10),
        mac_address: "02:00:0a:4d:00:0a".to_owned(),
        key_name: None,
        security_group_ids: Vec::new(),
        instance_profile: None,
        user_data: None,
        client_token: None,
        request_digest: None,
        metadata_tokens_required: false,
        shutdown_terminates: false,
        state_changed: now,
        state_reason: None,
        reboot_requested: false,
        monitoring: false,
        attributes: Default::default(),
        tags: Tags::new(),
        trouble: None,
    }
}
