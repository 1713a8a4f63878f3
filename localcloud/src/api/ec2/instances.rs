//! Instances as the API shows and changes them. What is asked for here is only written down; the reconciler of
//! instances carries it out.

/// DescribeInstanceAttribute, ModifyInstanceAttribute, ModifyInstanceMetadataOptions.
pub mod attributes;
/// DescribeInstances.
pub mod describe;
/// An instance in an answer.
pub mod item;
/// TerminateInstances, StopInstances, StartInstances, RebootInstances.
pub mod lifecycle;
/// What an instance may be launched with, as RunInstances and launch templates word it.
pub mod parameters;
/// RunInstances.
pub mod run;
/// DescribeInstanceStatus, GetConsoleOutput.
pub mod status;
