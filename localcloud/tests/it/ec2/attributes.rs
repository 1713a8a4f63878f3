//! Elastic addresses, interfaces, profiles and attributes: what is changed is kept, told and enforced.

use localcloud::model::{identity::InstanceProfile, tag::Tags, time::Timestamp};

use super::cloud::{Cloud, find, items, text};

impl Cloud {
    fn allocate(&self) -> (String, String) {
        let answer = self.ok("AllocateAddress", &[("Domain", "vpc")]);
        (text(&answer, "allocationId"), text(&answer, "publicIp"))
    }

    fn public_ip(&self, id: &str) -> String {
        text(&self.instance(id), "ipAddress")
    }

    fn attribute(&self, id: &str, name: &str) -> String {
        let told = self.ok("DescribeInstanceAttribute", &[("InstanceId", id), ("Attribute", name)]);
        text(&told, &format!("{name}.value"))
    }

    fn modify(&self, id: &str, more: &[(&str, &str)]) {
        self.ok("ModifyInstanceAttribute", &[&[("InstanceId", id)], more].concat());
    }

    fn count(&self, action: &str, list: &str, filter: &str, value: &str) -> usize {
        let found = self.ok(action, &[("Filter.1.Name", filter), ("Filter.1.Value.1", value)]);
        items(&found, list).len()
    }

    async fn running(&self) -> String {
        let id = self.run(&[]);
        self.until_state(&id, "running").await;
        id
    }
}

#[tokio::test]
async fn an_elastic_address_takes_the_place_of_the_instances_own_until_it_leaves() {
    let cloud = Cloud::start();
    let (one, other) = (cloud.running().await, cloud.running().await);
    let (own, others) = (cloud.public_ip(&one), cloud.public_ip(&other));
    let (allocation, elastic) = cloud.allocate();
    let to = |id: &str, more: &[(&str, &str)]| {
        let named = [("AllocationId", allocation.as_str()), ("InstanceId", id)];
        cloud.call("AssociateAddress", &[&named[..], more].concat())
    };
    let association = text(&to(&one, &[]).expect("associated"), "associationId");
    assert_eq!(text(&to(&one, &[]).expect("again"), "associationId"), association);
    assert_eq!(cloud.public_ip(&one), elastic);
    let refused = to(&other, &[("AllowReassociation", "false")]).expect_err("it is taken");
    assert_eq!(refused.code, "Resource.AlreadyAssociated");
    assert_eq!(cloud.refusal("ReleaseAddress", &[("AllocationId", &allocation)]), "InvalidIPAddress.InUse");
    let interface = cloud
        .ok("DescribeNetworkInterfaces", &[("Filter.1.Name", "association.public-ip"), ("Filter.1.Value.1", &elastic)]);
    assert_eq!(text(&interface, "networkInterfaceSet.0.attachment.instanceId"), one);
    assert_eq!(text(&interface, "networkInterfaceSet.0.association.allocationId"), allocation);
    assert_eq!(cloud.count("DescribeAddresses", "addressesSet", "instance-id", &one), 1);

    to(&other, &[("AllowReassociation", "true")]).expect("taken over");
    assert_eq!((cloud.public_ip(&one), cloud.public_ip(&other)), (own, elastic.clone()));
    assert_eq!(
        cloud.refusal("DisassociateAddress", &[("AssociationId", &association)]),
        "InvalidAssociationID.NotFound"
    );
    // Through a stop it stays; with its instance's end it is free.
    cloud.ok("StopInstances", &[("InstanceId.1", &other)]);
    cloud.until_state(&other, "stopped").await;
    assert_eq!(cloud.public_ip(&other), elastic);
    cloud.ok("DisassociateAddress", &[("PublicIp", &elastic)]);
    assert_eq!(cloud.public_ip(&other), others);
    to(&other, &[]).expect("associated with a stopped one");
    cloud.ok("TerminateInstances", &[("InstanceId.1", &other)]);
    assert!(find(&cloud.ok("DescribeAddresses", &[]), "addressesSet.0.associationId").is_none());
    cloud.ok("ReleaseAddress", &[("AllocationId", &allocation)]);
    assert_eq!(cloud.refusal("ReleaseAddress", &[("AllocationId", &allocation)]), "InvalidAllocationID.NotFound");
}

#[tokio::test]
async fn there_are_five_elastic_addresses_with_tags_and_one_that_was_released_comes_back() {
    let cloud = Cloud::found();
    let all: Vec<(String, String)> = (0..5).map(|_| cloud.allocate()).collect();
    assert_eq!(cloud.refusal("AllocateAddress", &[]), "AddressLimitExceeded");
    let (allocation, address) = &all[2];
    cloud.ok("CreateTags", &[("ResourceId.1", allocation), ("Tag.1.Key", "role"), ("Tag.1.Value", "web")]);
    assert_eq!(cloud.count("DescribeAddresses", "addressesSet", "tag:role", "w*"), 1);
    assert_eq!(cloud.count("DescribeTags", "tagSet", "resource-type", "elastic-ip"), 1);
    cloud.ok("ReleaseAddress", &[("PublicIp", address)]);
    assert_eq!(text(&cloud.ok("AllocateAddress", &[("Address", address)]), "publicIp"), *address);
    assert_eq!(cloud.refusal("DescribeAddresses", &[("PublicIp.1", "127.77.255.99")]), "InvalidAddress.NotFound");
}

#[tokio::test]
async fn a_protected_instance_is_neither_terminated_nor_stopped_with_all_that_are_named_beside_it() {
    let cloud = Cloud::start();
    let (one, other) = (cloud.running().await, cloud.running().await);
    cloud.modify(&one, &[("DisableApiTermination.Value", "true")]);
    cloud.modify(&one, &[("Attribute", "disableApiStop"), ("Value", "true")]);
    assert_eq!(cloud.attribute(&one, "disableApiTermination"), "true");
    let both = [("InstanceId.1", other.as_str()), ("InstanceId.2", one.as_str())];
    assert_eq!(cloud.refusal("TerminateInstances", &both), "OperationNotPermitted");
    assert_eq!(cloud.refusal("StopInstances", &both), "OperationNotPermitted");
    assert_eq!((cloud.state(&one), cloud.state(&other)), ("running".into(), "running".into()));
    cloud.modify(&one, &[("DisableApiTermination.Value", "false")]);
    cloud.ok("TerminateInstances", &both);
    let born = cloud.run(&[("DisableApiTermination", "true"), ("DisableApiStop", "true")]);
    assert_eq!(cloud.attribute(&born, "disableApiStop"), "true");
    assert_eq!(cloud.refusal("TerminateInstances", &[("InstanceId.1", &born)]), "OperationNotPermitted");
}

#[tokio::test]
async fn attributes_change_one_at_a_time_and_some_only_while_stopped() {
    let cloud = Cloud::start();
    let id = cloud.running().await;
    let modify = |more: &[(&str, &str)]| {
        cloud.refusal("ModifyInstanceAttribute", &[&[("InstanceId", id.as_str())], more].concat())
    };
    for stopped_only in [("InstanceType.Value", "t3.micro"), ("UserData.Value", "aGk="), ("EbsOptimized.Value", "true")]
    {
        assert_eq!(modify(&[stopped_only]), "IncorrectInstanceState", "{stopped_only:?}");
    }
    let two = [("DisableApiStop.Value", "true"), ("SourceDestCheck.Value", "false")];
    assert_eq!(
        (modify(&two), modify(&[])),
        ("InvalidParameterCombination".into(), "InvalidParameterCombination".into())
    );
    cloud.modify(&id, &[("SourceDestCheck.Value", "false")]);
    assert_eq!(cloud.count("DescribeInstances", "reservationSet", "source-dest-check", "false"), 1);
    for (action, state) in [("MonitorInstances", "enabled"), ("UnmonitorInstances", "disabled")] {
        let told = cloud.ok(action, &[("InstanceId.1", &id)]);
        assert_eq!(text(&told, "instancesSet.0.monitoring.state"), state);
        assert_eq!(text(&cloud.instance(&id), "monitoring.state"), state);
    }
    cloud.ok("ResetInstanceAttribute", &[("InstanceId", &id), ("Attribute", "sourceDestCheck")]);
    assert_eq!(cloud.attribute(&id, "sourceDestCheck"), "true");
    cloud.ok("StopInstances", &[("InstanceId.1", &id)]);
    cloud.until_state(&id, "stopped").await;
    cloud.modify(&id, &[("InstanceType.Value", "t3.micro")]);
    cloud.modify(&id, &[("UserData.Value", "aGk=")]);
    assert_eq!(
        (cloud.attribute(&id, "instanceType"), cloud.attribute(&id, "userData")),
        ("t3.micro".into(), "aGk=".into())
    );
    cloud.ok("StartInstances", &[("InstanceId.1", &id)]);
    cloud.until_state(&id, "running").await;
}

#[tokio::test]
async fn whether_a_volume_goes_with_its_instance_can_be_changed_later() {
    let cloud = Cloud::start();
    let device = [("BlockDeviceMapping.1.DeviceName", "/dev/sdf"), ("BlockDeviceMapping.1.Ebs.VolumeSize", "1")];
    let id = cloud.run(&device);
    cloud.until_state(&id, "running").await;
    let volume = text(&cloud.instance(&id), "blockDeviceMapping.0.ebs.volumeId");
    cloud.until_attached(&volume).await;
    assert_eq!(text(&cloud.instance(&id), "blockDeviceMapping.0.ebs.deleteOnTermination"), "true");
    cloud.modify(
        &id,
        &[("BlockDeviceMapping.1.DeviceName", "/dev/sdf"), ("BlockDeviceMapping.1.Ebs.DeleteOnTermination", "false")],
    );
    cloud.ok("TerminateInstances", &[("InstanceId.1", &id)]);
    cloud.until_volume(&volume, "available").await;
}

#[tokio::test]
async fn a_profile_is_given_exchanged_and_taken_away() {
    let cloud = Cloud::start();
    for name in ["web", "database"] {
        let profile = InstanceProfile {
            name: name.to_owned(),
            id: format!("AIPA{name}"),
            path: "/".to_owned(),
            created: Timestamp::now(),
            role_name: None,
            tags: Tags::new(),
        };
        cloud
            .store
            .transact(|tx| {
                tx.put(profile);
                Ok::<_, localcloud::store::StoreError>(())
            })
            .expect("commits");
    }
    let id = cloud.running().await;
    let give = [("InstanceId", id.as_str()), ("IamInstanceProfile.Name", "web")];
    let first = text(&cloud.ok("AssociateIamInstanceProfile", &give), "iamInstanceProfileAssociation.associationId");
    assert_eq!(cloud.refusal("AssociateIamInstanceProfile", &give), "IncorrectState");
    let exchange = [("AssociationId", first.as_str()), ("IamInstanceProfile.Name", "database")];
    let answer = cloud.ok("ReplaceIamInstanceProfileAssociation", &exchange);
    let second = text(&answer, "iamInstanceProfileAssociation.associationId");
    assert!(text(&cloud.instance(&id), "iamInstanceProfile.arn").ends_with("/database"));
    let set = "iamInstanceProfileAssociationSet";
    assert_eq!(cloud.count("DescribeIamInstanceProfileAssociations", set, "instance-id", &id), 1);
    assert_eq!(
        cloud.refusal("DisassociateIamInstanceProfile", &[("AssociationId", &first)]),
        "InvalidAssociationID.NotFound"
    );
    cloud.ok("DisassociateIamInstanceProfile", &[("AssociationId", &second)]);
    assert!(find(&cloud.instance(&id), "iamInstanceProfile").is_none());
}

#[tokio::test]
async fn ids_and_pages_are_not_asked_for_at_once() {
    let cloud = Cloud::start();
    let (id, volume) = (cloud.running().await, cloud.create_volume());
    for (action, parameter, value) in [
        ("DescribeInstances", "InstanceId.1", id.as_str()),
        ("DescribeInstanceStatus", "InstanceId.1", &id),
        ("DescribeVolumes", "VolumeId.1", &volume),
        ("DescribeImages", "ImageId.1", &cloud.image_id),
    ] {
        let asked = [(parameter, value), ("MaxResults", "5")];
        assert_eq!(cloud.refusal(action, &asked), "InvalidParameterCombination", "{action}");
    }
    let interface = text(&cloud.instance(&id), "networkInterfaceSet.0.networkInterfaceId");
    assert_eq!(
        cloud.count("DescribeInstances", "reservationSet", "network-interface.network-interface-id", &interface),
        1
    );
    assert_eq!(
        cloud.count("DescribeInstances", "reservationSet", "network-interface.attachment.status", "attaching"),
        0
    );
    assert_eq!(cloud.count("DescribeInstances", "reservationSet", "platform", "windows"), 0);
    assert_eq!(cloud.count("DescribeInstanceStatus", "instanceStatusSet", "instance-status.reachability", "passed"), 1);
}
