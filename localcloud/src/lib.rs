//! An EC2-compatible cloud on one Linux machine. The flow is `wire → api → store ← reconcile → drivers`:
//! an API action only writes records; reconcilers bring the world to the records. This file is the map.

/// The services' actions: each writes records in one transaction and touches nothing else.
pub mod api;
/// The program's commands.
pub mod commands;
/// What the operator chose: state directory, port, subnets.
pub mod config;
/// The running cloud: assembles store, drivers, reconcilers and listeners, and stops them.
pub mod daemon;
/// The traits behind which the world is changed, and their implementations, real and fake.
pub mod drivers;
/// What Linux offers: processes, namespaces, cgroups, mounts, loop devices. One file per system command.
pub mod host;
/// Builds and caches the Debian tree from which instances boot.
pub mod image;
/// The instance metadata service at 169.254.169.254, versions 1 and 2.
pub mod imds;
/// Metrics: samples by name and dimensions, and statistics over them.
pub mod metrics;
/// The records: one noun, one file.
pub mod model;
/// S3 by s3s, as a process of its own.
pub mod object_storage;
/// Every name that the cloud gives to a file or socket of its own.
pub mod paths;
/// IAM policies: documents read, and requests held against them. Pure.
pub mod policy;
/// Loops that compare the records with the world and act on the difference.
pub mod reconcile;
/// Records on disk: transactions, notification.
pub mod store;
/// Protocols: AWS query, EC2 query, JSON, RPC-v2-CBOR; signatures. Knows no service.
pub mod wire;
