//! Amazon EC2: all that this cloud does of it, in one list. What is not in the list is refused as an invalid action.
//! <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/Welcome.html>

/// Elastic addresses.
pub mod addresses;
/// What the cloud is born with.
mod birth;
/// Volumes that an instance is launched with.
pub mod block_devices;
mod dry_run;
/// Filters of the Describe actions.
pub mod filters;
/// Checks of the identifiers that requests name.
mod identifiers;
pub mod images;
pub mod instance_types;
pub mod instances;
/// DescribeNetworkInterfaces.
pub mod interfaces;
pub mod key_pairs;
/// Launching, for RunInstances and Auto Scaling alike.
pub mod launch;
pub mod launch_templates;
/// VPC, subnet, zone, region.
pub mod network;
mod pagination;
/// Who may use an image or a snapshot.
pub mod permissions;
pub mod security_groups;
pub mod snapshots;
/// Tags given at creation, and tags in answers.
pub mod tag_specifications;
pub mod tags;
pub mod volumes;
/// DescribeVpcAttribute.
pub mod vpc_attribute;

pub use birth::found;

use super::operation::Service;
use crate::wire::xml::Dialect;

#[must_use]
pub fn service() -> Service {
    Service::new(
        "ec2",
        &["compute", "eucalyptus", "ec2"],
        Dialect::Ec2,
        "http://ec2.amazonaws.com/doc/2016-11-15/",
        None,
    )
    // Instances
    .with::<instances::run::RunInstances>()
    .with::<instances::describe::DescribeInstances>()
    .with::<instances::status::DescribeInstanceStatus>()
    .with::<instances::status::GetConsoleOutput>()
    .with::<instances::lifecycle::TerminateInstances>()
    .with::<instances::lifecycle::StopInstances>()
    .with::<instances::lifecycle::StartInstances>()
    .with::<instances::lifecycle::RebootInstances>()
    .with::<instances::attributes::DescribeInstanceAttribute>()
    .with::<instances::modify::ModifyInstanceAttribute>()
    .with::<instances::modify::ResetInstanceAttribute>()
    .with::<instances::monitoring::MonitorInstances>()
    .with::<instances::monitoring::UnmonitorInstances>()
    .with::<instances::options::ModifyInstanceMetadataOptions>()
    .with::<instances::options::ModifyInstancePlacement>()
    .with::<instances::options::DescribeInstanceCreditSpecifications>()
    .with::<instances::options::GetPasswordData>()
    .with::<instances::options::ReportInstanceStatus>()
    .with::<instances::profiles::AssociateIamInstanceProfile>()
    .with::<instances::profiles::DisassociateIamInstanceProfile>()
    .with::<instances::profiles::ReplaceIamInstanceProfileAssociation>()
    .with::<instances::profiles::DescribeIamInstanceProfileAssociations>()
    .with::<instance_types::DescribeInstanceTypes>()
    .with::<instance_types::DescribeInstanceTypeOfferings>()
    // Volumes
    .with::<volumes::CreateVolume>()
    .with::<volumes::DeleteVolume>()
    .with::<volumes::describe::DescribeVolumes>()
    .with::<volumes::describe::DescribeVolumeStatus>()
    .with::<volumes::attachment::AttachVolume>()
    .with::<volumes::attachment::DetachVolume>()
    .with::<volumes::modify::ModifyVolume>()
    .with::<volumes::modify::DescribeVolumesModifications>()
    .with::<volumes::attributes::DescribeVolumeAttribute>()
    .with::<volumes::attributes::ModifyVolumeAttribute>()
    .with::<volumes::attributes::EnableVolumeIO>()
    // Snapshots
    .with::<snapshots::CreateSnapshot>()
    .with::<snapshots::CreateSnapshots>()
    .with::<snapshots::CopySnapshot>()
    .with::<snapshots::DeleteSnapshot>()
    .with::<snapshots::describe::DescribeSnapshots>()
    .with::<snapshots::attributes::DescribeSnapshotAttribute>()
    .with::<snapshots::attributes::ModifySnapshotAttribute>()
    .with::<snapshots::attributes::ResetSnapshotAttribute>()
    // Images and key pairs
    .with::<images::describe::DescribeImages>()
    .with::<images::create::CreateImage>()
    .with::<images::copy::CopyImage>()
    .with::<images::register::RegisterImage>()
    .with::<images::register::DeregisterImage>()
    .with::<images::attributes::DescribeImageAttribute>()
    .with::<images::attributes::ModifyImageAttribute>()
    .with::<images::attributes::ResetImageAttribute>()
    .with::<key_pairs::CreateKeyPair>()
    .with::<key_pairs::ImportKeyPair>()
    .with::<key_pairs::DeleteKeyPair>()
    .with::<key_pairs::DescribeKeyPairs>()
    // Security groups
    .with::<security_groups::CreateSecurityGroup>()
    .with::<security_groups::DeleteSecurityGroup>()
    .with::<security_groups::describe::DescribeSecurityGroups>()
    .with::<security_groups::describe::DescribeSecurityGroupRules>()
    .with::<security_groups::authorize::AuthorizeSecurityGroupIngress>()
    .with::<security_groups::authorize::AuthorizeSecurityGroupEgress>()
    .with::<security_groups::revoke::RevokeSecurityGroupIngress>()
    .with::<security_groups::revoke::RevokeSecurityGroupEgress>()
    // Launch templates
    .with::<launch_templates::CreateLaunchTemplate>()
    .with::<launch_templates::DeleteLaunchTemplate>()
    .with::<launch_templates::DescribeLaunchTemplates>()
    .with::<launch_templates::versions::CreateLaunchTemplateVersion>()
    .with::<launch_templates::versions::DescribeLaunchTemplateVersions>()
    .with::<launch_templates::versions::DeleteLaunchTemplateVersions>()
    .with::<launch_templates::versions::ModifyLaunchTemplate>()
    // Elastic addresses
    .with::<addresses::AllocateAddress>()
    .with::<addresses::ReleaseAddress>()
    .with::<addresses::DescribeAddresses>()
    .with::<addresses::association::AssociateAddress>()
    .with::<addresses::association::DisassociateAddress>()
    // Tags
    .with::<tags::CreateTags>()
    .with::<tags::DeleteTags>()
    .with::<tags::DescribeTags>()
    // Where all of it lies
    .with::<network::DescribeVpcs>()
    .with::<vpc_attribute::DescribeVpcAttribute>()
    .with::<network::DescribeSubnets>()
    .with::<network::DescribeAvailabilityZones>()
    .with::<network::DescribeRegions>()
    .with::<network::DescribeAccountAttributes>()
    .with::<interfaces::DescribeNetworkInterfaces>()
    .with::<network::DescribeInternetGateways>()
}
