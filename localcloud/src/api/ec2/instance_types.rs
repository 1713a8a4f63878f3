//! DescribeInstanceTypes and DescribeInstanceTypeOfferings: every type is offered in the one zone.

use serde::{Deserialize, Serialize};

use super::{
    dry_run,
    filters::{self, Column, Filter},
    images, launch, pagination,
};
use crate::{
    api::{
        error::ApiError,
        operation::{Caller, Operation},
    },
    model::{
        instance_type::{self, INSTANCE_TYPES, InstanceType},
        site::Zone,
    },
    store::Transaction,
};

/// <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_DescribeInstanceTypes.html>
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct DescribeInstanceTypes {
    #[serde(default, rename = "InstanceType")]
    instance_types: Vec<String>,
    #[serde(default, rename = "Filter")]
    filters: Vec<Filter>,
    #[serde(default)]
    max_results: Option<u32>,
    #[serde(default)]
    next_token: Option<String>,
    #[serde(default)]
    dry_run: Option<bool>,
    /// Eucalyptus' own, which is older than AWS's action of this name, and so is the form of what it asks for.
    #[serde(default)]
    availability: Option<bool>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct InstanceTypes {
    instance_type_set: Vec<TypeItem>,
    instance_type_details: Option<Vec<TypeDetails>>,
    next_token: Option<String>,
}

/// As `euca-describe-instance-types` of euca2ools reads it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct TypeDetails {
    name: &'static str,
    cpu: u32,
    disk: u32,
    memory: u64,
    network_interfaces: u32,
    availability: Option<Vec<ZoneCapacity>>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ZoneCapacity {
    zone_name: String,
    max: usize,
    available: usize,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct TypeItem {
    instance_type: &'static str,
    current_generation: bool,
    free_tier_eligible: bool,
    supported_usage_classes: [&'static str; 1],
    supported_root_device_types: [&'static str; 1],
    supported_virtualization_types: [&'static str; 1],
    bare_metal: bool,
    hypervisor: &'static str,
    processor_info: ProcessorInfo,
    v_cpu_info: VcpuInfo,
    memory_info: MemoryInfo,
    instance_storage_supported: bool,
    hibernation_supported: bool,
    burstable_performance_supported: bool,
    dedicated_hosts_supported: bool,
    auto_recovery_supported: bool,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ProcessorInfo {
    supported_architectures: [&'static str; 1],
}

#[derive(Debug, Serialize)]
struct VcpuInfo {
    #[serde(rename = "defaultVCpus")]
    vcpus: u32,
    #[serde(rename = "defaultCores")]
    cores: u32,
    #[serde(rename = "defaultThreadsPerCore")]
    threads_per_core: u32,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct MemoryInfo {
    #[serde(rename = "sizeInMiB")]
    size_mib: u64,
}

pub(super) fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "aarch64" => "arm64",
        other => other,
    }
}

impl From<InstanceType> for TypeItem {
    fn from(kind: InstanceType) -> Self {
        Self {
            instance_type: kind.name,
            current_generation: ["t3.", "m5."].iter().any(|family| kind.name.starts_with(family)),
            free_tier_eligible: false,
            supported_usage_classes: ["on-demand"],
            supported_root_device_types: ["ebs"],
            supported_virtualization_types: ["hvm"],
            bare_metal: false,
            hypervisor: "xen",
            processor_info: ProcessorInfo { supported_architectures: [architecture()] },
            v_cpu_info: VcpuInfo { vcpus: kind.vcpus, cores: kind.vcpus, threads_per_core: 1 },
            memory_info: MemoryInfo { size_mib: kind.memory_mib },
            instance_storage_supported: false,
            hibernation_supported: false,
            burstable_performance_supported: kind.name.starts_with('t'),
            dedicated_hosts_supported: false,
            auto_recovery_supported: false,
        }
    }
}

const COLUMNS: &[Column<InstanceType>] = &[
    ("bare-metal", |_| vec!["false".to_owned()]),
    ("burstable-performance-supported", |kind| vec![kind.name.starts_with('t').to_string()]),
    ("current-generation", |kind| vec![TypeItem::from(*kind).current_generation.to_string()]),
    ("free-tier-eligible", |_| vec!["false".to_owned()]),
    ("hypervisor", |_| vec!["xen".to_owned()]),
    ("instance-type", |kind| vec![kind.name.to_owned()]),
    ("memory-info.size-in-mib", |kind| vec![kind.memory_mib.to_string()]),
    ("processor-info.supported-architecture", |_| vec![architecture().to_owned()]),
    ("supported-root-device-type", |_| vec!["ebs".to_owned()]),
    ("supported-usage-class", |_| vec!["on-demand".to_owned()]),
    ("supported-virtualization-type", |_| vec!["hvm".to_owned()]),
    ("vcpu-info.default-vcpus", |kind| vec![kind.vcpus.to_string()]),
];

impl Operation for DescribeInstanceTypes {
    const ACTION: &'static str = "DescribeInstanceTypes";
    type Output = InstanceTypes;

    fn run(self, tx: &mut Transaction<'_>, caller: &Caller<'_>) -> Result<InstanceTypes, ApiError> {
        dry_run::check(self.dry_run)?;
        let unknown: Vec<&str> =
            self.instance_types.iter().map(String::as_str).filter(|name| instance_type::find(name).is_none()).collect();
        if !unknown.is_empty() {
            return Err(ApiError::new(
                "InvalidInstanceType",
                format!("The following supplied instance types do not exist: [{}]", unknown.join(", ")),
            ));
        }
        let named = |kind: &&InstanceType| {
            self.instance_types.is_empty() || self.instance_types.iter().any(|name| name == kind.name)
        };
        let kinds = INSTANCE_TYPES.iter().filter(named).copied().collect();
        let kinds = filters::retain(&self.filters, COLUMNS, None, kinds)?;
        let (kinds, next_token) =
            pagination::page(kinds, |kind| kind.name.to_owned(), self.max_results, self.next_token.as_deref())?;
        let instance_type_details = self.availability.map(|with_capacity| {
            let available = launch::room(tx, caller.site);
            // The zones share the machine.
            let capacity = |zone: &Zone| ZoneCapacity {
                zone_name: zone.name.clone(),
                max: caller.site.instance_limit as usize,
                available,
            };
            let details = |kind: &InstanceType| TypeDetails {
                name: kind.name,
                cpu: kind.vcpus,
                disk: images::ROOT_SIZE_GIB,
                memory: kind.memory_mib,
                network_interfaces: 1,
                availability: with_capacity.then(|| caller.site.zones().map(capacity).collect()),
            };
            kinds.iter().map(details).collect()
        });
        let instance_type_set = kinds.into_iter().map(TypeItem::from).collect();
        Ok(InstanceTypes { instance_type_set, instance_type_details, next_token })
    }
}

/// <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_DescribeInstanceTypeOfferings.html>
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct DescribeInstanceTypeOfferings {
    #[serde(default)]
    location_type: Option<String>,
    #[serde(default, rename = "Filter")]
    filters: Vec<Filter>,
    #[serde(default)]
    max_results: Option<u32>,
    #[serde(default)]
    next_token: Option<String>,
    #[serde(default)]
    dry_run: Option<bool>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Offerings {
    instance_type_offering_set: Vec<Offering>,
    next_token: Option<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Offering {
    instance_type: &'static str,
    location_type: String,
    location: String,
}

const OFFERING_COLUMNS: &[Column<Offering>] = &[
    ("instance-type", |offering| vec![offering.instance_type.to_owned()]),
    ("location", |offering| vec![offering.location.clone()]),
];

impl Operation for DescribeInstanceTypeOfferings {
    const ACTION: &'static str = "DescribeInstanceTypeOfferings";
    type Output = Offerings;

    fn run(self, _: &mut Transaction<'_>, caller: &Caller<'_>) -> Result<Offerings, ApiError> {
        dry_run::check(self.dry_run)?;
        let location_type = self.location_type.unwrap_or_else(|| "region".to_owned());
        let locations: Vec<&String> = match location_type.as_str() {
            "region" => vec![&caller.site.region],
            "availability-zone" | "availability-zone-id" => caller.site.zones().map(|zone| &zone.name).collect(),
            other => {
                return Err(ApiError::invalid_parameter_value(format!(
                    "Value ({other}) for parameter locationType is invalid."
                )));
            }
        };
        let offering = |kind: &InstanceType, location: &str| Offering {
            instance_type: kind.name,
            location_type: location_type.clone(),
            location: location.to_owned(),
        };
        let everywhere = INSTANCE_TYPES.iter().flat_map(|kind| locations.iter().map(|place| offering(kind, place)));
        let offerings = filters::retain(&self.filters, OFFERING_COLUMNS, None, everywhere.collect())?;
        let key = |offering: &Offering| format!("{} {}", offering.instance_type, offering.location);
        let (instance_type_offering_set, next_token) =
            pagination::page(offerings, key, self.max_results, self.next_token.as_deref())?;
        Ok(Offerings { instance_type_offering_set, next_token })
    }
}
