//! The crate's integration tests: one binary, one file per subject.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod access_logs;
mod alarms;
mod authorization;
mod auto_scaling;
mod bad_input;
mod balancer_policies;
mod behaviour;
mod boto3;
mod cloudwatch;
mod cost;
mod disk_full;
mod ec2;
mod elb;
mod fake_world;
mod faults;
mod fuzz;
mod haproxy;
mod iam;
mod identity;
mod kill;
mod measures;
mod metrics;
mod mortal;
mod network;
mod nspawn;
mod object_access;
mod object_storage;
mod programs;
mod raw;
mod sandbox;
mod signed;
mod snapshots;
mod sts;
mod volumes;
mod walk;
