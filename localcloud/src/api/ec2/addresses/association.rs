//! AssociateAddress and DisassociateAddress.

use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

use super::{association, named, own_address};
use crate::{
    api::{
        ec2::{dry_run, identifiers, interfaces},
        error::ApiError,
        operation::{Caller, Operation, Return},
    },
    model::{
        address::{Address, Association},
        id,
        instance::{Instance, InstanceState},
    },
    store::Transaction,
};

/// <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_AssociateAddress.html>
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct AssociateAddress {
    #[serde(default)]
    allocation_id: Option<String>,
    #[serde(default)]
    public_ip: Option<Ipv4Addr>,
    #[serde(default)]
    instance_id: Option<String>,
    #[serde(default)]
    network_interface_id: Option<String>,
    #[serde(default)]
    private_ip_address: Option<Ipv4Addr>,
    /// Without it an address that is somebody's stays so. By the address itself it is always taken, as on AWS.
    #[serde(default)]
    allow_reassociation: Option<bool>,
    #[serde(default)]
    dry_run: Option<bool>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Associated {
    #[serde(flatten)]
    done: Return,
    association_id: String,
}

/// Ends an association: the instance has its own address again.
fn end(tx: &mut Transaction<'_>, caller: &Caller<'_>, address: &Address) {
    if let Some((_, instance)) = association(tx, address) {
        let own = own_address(caller.site, &instance);
        tx.update::<Instance>(&instance.id, |instance| instance.public_ip = own);
    }
    tx.update::<Address>(&address.id, |address| address.association = None);
}

impl Operation for AssociateAddress {
    const ACTION: &'static str = "AssociateAddress";
    type Output = Associated;

    fn run(self, tx: &mut Transaction<'_>, caller: &Caller<'_>) -> Result<Associated, ApiError> {
        let address = named(tx, self.allocation_id.as_deref(), self.public_ip)?;
        let instance = match (&self.instance_id, &self.network_interface_id) {
            (Some(_), Some(_)) => {
                return Err(ApiError::new(
                    "InvalidParameterCombination",
                    "You may specify instance ID or network interface ID, but not both in the same call",
                ));
            }
            (Some(id), None) => identifiers::instance(tx, id)?,
            (None, Some(id)) => interfaces::instance(tx, id)?,
            (None, None) => {
                return Err(ApiError::new(
                    "MissingParameter",
                    "Either instance ID or network interface ID must be specified",
                ));
            }
        };
        if !matches!(instance.state, InstanceState::Running | InstanceState::Stopped) {
            let (_, state) = instance.state.wire();
            return Err(ApiError::new(
                "IncorrectInstanceState",
                format!("The instance '{}' is not in a valid state for this operation: it is {state}.", instance.id),
            ));
        }
        if let Some(ip) = self.private_ip_address.filter(|ip| *ip != instance.private_ip) {
            return Err(ApiError::invalid_parameter_value(format!(
                "Invalid value '{ip}' for PrivateIpAddress: the instance has {}",
                instance.private_ip
            )));
        }
        let reassociates = self.allow_reassociation.unwrap_or(self.allocation_id.is_none());
        if let Some((known, holder)) = association(tx, &address) {
            if holder.id == instance.id {
                dry_run::check(self.dry_run)?;
                return Ok(Associated { done: Return::TRUE, association_id: known.id });
            }
            if !reassociates {
                return Err(ApiError::new(
                    "Resource.AlreadyAssociated",
                    format!("resource {} is already associated with associate-id {}", address.id, known.id),
                ));
            }
        }
        let addresses = tx.list::<Address>();
        let mut others = addresses.iter().filter(|other| other.id != address.id);
        let other = others
            .find(|other| other.association.as_ref().is_some_and(|association| association.instance_id == instance.id));
        if let Some(other) = other
            && !reassociates
        {
            return Err(ApiError::new(
                "Resource.AlreadyAssociated",
                format!("resource {} is already associated with {}", interfaces::id_of(&instance.id), other.id),
            ));
        }
        dry_run::check(self.dry_run)?;
        end(tx, caller, &address);
        if let Some(other) = other {
            end(tx, caller, other);
        }
        let association_id = id::new("eipassoc");
        let new = Association { id: association_id.clone(), instance_id: instance.id.clone() };
        tx.update::<Address>(&address.id, |address| address.association = Some(new));
        tx.update::<Instance>(&instance.id, |instance| instance.public_ip = address.public_ip);
        Ok(Associated { done: Return::TRUE, association_id })
    }
}

/// <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_DisassociateAddress.html>
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct DisassociateAddress {
    #[serde(default)]
    association_id: Option<String>,
    #[serde(default)]
    public_ip: Option<Ipv4Addr>,
    #[serde(default)]
    dry_run: Option<bool>,
}

impl Operation for DisassociateAddress {
    const ACTION: &'static str = "DisassociateAddress";
    type Output = Return;

    fn run(self, tx: &mut Transaction<'_>, caller: &Caller<'_>) -> Result<Return, ApiError> {
        let address = match (&self.association_id, self.public_ip) {
            (Some(id), None) => {
                identifiers::check_form("InvalidAssociationID", id, &["eipassoc-"])?;
                let mut held = tx.list::<Address>();
                held.retain(|address| association(tx, address).is_some_and(|(association, _)| association.id == *id));
                held.pop().ok_or_else(|| identifiers::not_found("InvalidAssociationID", "association ID", id))?
            }
            (None, ip) => named(tx, None, ip)?,
            (Some(_), Some(_)) => {
                return Err(ApiError::new(
                    "InvalidParameterCombination",
                    "You may specify public IP or association id, but not both in the same call",
                ));
            }
        };
        dry_run::check(self.dry_run)?;
        end(tx, caller, &address);
        Ok(Return::TRUE)
    }
}
