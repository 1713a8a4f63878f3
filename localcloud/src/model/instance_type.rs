//! Instance types: what a name means here. The sizes are AWS's and Eucalyptus's of the same name; cgroups hold
//! instances to them.

/// One instance type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InstanceType {
    pub name: &'static str,
    pub vcpus: u32,
    pub memory_mib: u64,
}

const fn of(name: &'static str, vcpus: u32, memory_mib: u64) -> InstanceType {
    InstanceType { name, vcpus, memory_mib }
}

/// <https://docs.aws.amazon.com/ec2/latest/instancetypes/gp.html>; `m1`, `c1` and `m2` as in Eucalyptus's defaults, with
/// memory rounded up to what a Debian with cloud-init boots in.
pub const INSTANCE_TYPES: &[InstanceType] = &[
    of("m1.small", 1, 512),
    of("m1.medium", 1, 1024),
    of("m1.large", 2, 2048),
    of("m1.xlarge", 2, 4096),
    of("c1.medium", 2, 1024),
    of("t2.nano", 1, 512),
    of("t2.micro", 1, 1024),
    of("t2.small", 1, 2048),
    of("t2.medium", 2, 4096),
    of("t3.nano", 2, 512),
    of("t3.micro", 2, 1024),
    of("t3.small", 2, 2048),
    of("t3.medium", 2, 4096),
    of("m5.large", 2, 8192),
];

#[must_use]
pub fn find(name: &str) -> Option<InstanceType> {
    INSTANCE_TYPES.iter().copied().find(|kind| kind.name == name)
}
