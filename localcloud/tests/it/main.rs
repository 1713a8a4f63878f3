//! The crate's integration tests: one binary, one file per subject.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod alarms;
mod auto_scaling;
mod boto3;
mod cloudwatch;
mod ec2;
mod elb;
mod fake_world;
mod haproxy;
mod iam;
mod metrics;
mod network;
mod nspawn;
mod object_storage;
mod sandbox;
mod volumes;
