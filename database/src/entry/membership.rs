//! Who keeps a group's log: the content of a membership entry.
//!
//! ```text
//! membership := origin || configs (1 or 2) || learners
//! origin     := 0 | 1, incarnation 16, size varint, root 32
//! config     := count varint (>= 1), ids;   learners := count varint, ids;   id := length varint, bytes
//! ```
//! Two configs are a joint one: a majority of each decides. Ids rise strictly within a list.

use super::codec::{Reader, check_bound, put_bytes, put_varint};
use super::error::EntryError;
use super::header::Incarnation;
use crate::limits::{MEMBER_BYTES_MAX, MEMBERS_MAX};
use crate::tree::Hash;
use std::collections::BTreeSet;

/// The id of a node, as its transport names it.
pub type MemberId = Vec<u8>;

/// Where a log that is not the first of its data comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Origin {
    /// The incarnation before.
    pub incarnation: Incarnation,
    /// How many of its entries are in the data.
    pub size: u64,
    /// The root of its tree at that size.
    pub root: Hash,
}

/// The members of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Membership {
    /// Where the data came from; only entry 0 may name it.
    pub origin: Option<Origin>,
    /// Sets of voters: one, or two while they change.
    pub configs: Vec<BTreeSet<MemberId>>,
    /// Members that follow without a vote.
    pub learners: BTreeSet<MemberId>,
}

impl Membership {
    /// One node by itself.
    pub fn alone(member: impl Into<MemberId>, origin: Option<Origin>) -> Self {
        Membership {
            origin,
            configs: vec![BTreeSet::from([member.into()])],
            learners: BTreeSet::new(),
        }
    }

    pub(super) fn put(&self, out: &mut Vec<u8>) -> Result<(), EntryError> {
        match &self.origin {
            None => out.push(0),
            Some(origin) => {
                out.push(1);
                out.extend_from_slice(&origin.incarnation.0);
                put_varint(out, origin.size);
                out.extend_from_slice(&origin.root);
            }
        }
        check_configs(self.configs.len())?;
        put_varint(out, self.configs.len() as u64);
        for config in &self.configs {
            check_config(config.len())?;
            put_ids(out, config)?;
        }
        put_ids(out, &self.learners)
    }

    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, EntryError> {
        let origin = match reader.u8("membership")? {
            0 => None,
            1 => Some(Origin {
                incarnation: Incarnation(reader.array("membership")?),
                size: reader.varint("membership")?,
                root: reader.array("membership")?,
            }),
            found => {
                return Err(EntryError::Unknown {
                    what: "origin",
                    found,
                });
            }
        };
        let count = reader.count("configs", 2)?;
        check_configs(count)?;
        let mut configs = Vec::new();
        for _ in 0..count {
            let config = read_ids(reader)?;
            check_config(config.len())?;
            configs.push(config);
        }
        let learners = read_ids(reader)?;
        Ok(Membership {
            origin,
            configs,
            learners,
        })
    }
}

fn check_configs(count: usize) -> Result<(), EntryError> {
    check_bound("configs", count as u64, 2)?;
    if count == 0 {
        return Err(EntryError::Kind("a membership has a config"));
    }
    Ok(())
}

fn check_config(count: usize) -> Result<(), EntryError> {
    if count == 0 {
        return Err(EntryError::Kind("a config has a voter"));
    }
    Ok(())
}

fn put_ids(out: &mut Vec<u8>, ids: &BTreeSet<MemberId>) -> Result<(), EntryError> {
    check_bound("members", ids.len() as u64, MEMBERS_MAX)?;
    put_varint(out, ids.len() as u64);
    for id in ids {
        put_bytes(out, "member id", id, MEMBER_BYTES_MAX)?;
    }
    Ok(())
}

fn read_ids(reader: &mut Reader<'_>) -> Result<BTreeSet<MemberId>, EntryError> {
    let count = reader.count("members", MEMBERS_MAX)?;
    let mut ids = BTreeSet::new();
    for _ in 0..count {
        let id = reader.bytes("member id", MEMBER_BYTES_MAX)?.to_vec();
        if ids.last().is_some_and(|last| *last >= id) {
            return Err(EntryError::NotCanonical("list of members"));
        }
        ids.insert(id);
    }
    Ok(ids)
}
