//! The records: one noun, one file. Plain data with states and transitions; no file knows the wire or the drivers.
//! Fields are added with `#[serde(default)]`, so that records written before go on being read.

/// Elastic addresses.
pub mod address;
/// Volumes that an instance is launched with.
pub mod block_device;
/// Images from which instances boot.
pub mod image;
/// Instances, their states and their network identity.
pub mod instance;
/// Instance types: what `t3.micro` means here.
pub mod instance_type;
/// Key pairs: public halves only.
pub mod key_pair;
/// Launch templates and their versions.
pub mod launch_template;
/// Security groups and their rules.
pub mod security_group;
/// Region, zone, default VPC and subnets: what a cloud is born with.
pub mod site;
/// Snapshots of volumes and of instances' roots.
pub mod snapshot;
/// Tags on any resource.
pub mod tag;
/// Volumes and their attachments.
pub mod volume;

/// Alarms.
pub mod alarm;
/// What has happened to an alarm.
pub mod alarm_history;
/// The rule of a composite alarm.
pub mod alarm_rule;
/// Groups, launch configurations, policies and activities.
pub mod auto_scaling;
/// What binds clients, encrypts connections, names clients to instances.
pub mod balancer_policy;
/// Credentials, users, groups, roles, instance profiles.
pub mod identity;
/// Classic load balancers.
pub mod load_balancer;
/// Policies that are attached to users, groups and roles.
pub mod managed_policy;
/// Certificates that load balancers show.
pub mod server_certificate;
/// Which TLS listeners speak.
pub mod tls_policy;

/// Identifiers in AWS's forms.
pub mod id;
/// Points in time, as every codec writes them.
pub mod time;
