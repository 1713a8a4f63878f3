//! Instances as the API shows and changes them. What is asked for here is only written down; the reconciler of
//! instances carries it out.

/// DescribeInstanceAttribute.
pub mod attributes;
/// DescribeInstances.
pub mod describe;
/// An instance in an answer.
pub mod item;
/// TerminateInstances, StopInstances, StartInstances, RebootInstances.
pub mod lifecycle;
/// ModifyInstanceAttribute, ResetInstanceAttribute.
pub mod modify;
/// Metadata options, placement, credits, passwords, reports.
pub mod options;
/// What an instance may be launched with, as RunInstances and launch templates word it.
pub mod parameters;
/// Instance profiles of instances that run.
pub mod profiles;
/// RunInstances.
pub mod run;
/// DescribeInstanceStatus, GetConsoleOutput.
pub mod status;
