//! The crate's integration tests: one binary, one file per subject.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod access_logs;
mod alarms;
mod authorization;
mod auto_scaling;
mod balancer_policies;
mod boto3;
mod cloudwatch;
mod cost;
mod ec2;
mod elb;
mod fake_world;
mod haproxy;
mod iam;
mod identity;
mod measures;
mod metrics;
mod network;
mod nspawn;
mod object_access;
mod object_storage;
mod sandbox;
mod signed;
mod snapshots;
mod sts;
mod volumes;
