//! The records: one noun, one file. Plain data with states and transitions; no file knows the wire or the drivers.
//! Fields are added with `#[serde(default)]`, so that records written before go on being read.

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
/// Users' and roles' credentials, roles, instance profiles.
pub mod identity;
/// Classic load balancers.
pub mod load_balancer;

/// Identifiers in AWS's forms.
pub mod id;
/// Points in time, as every codec writes them.
pub mod time;
