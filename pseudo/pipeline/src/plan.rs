//! A policy made ready for one run: the tree of names, and for each column its technique with its key.

use std::sync::Arc;

use aes::Aes256;
use aes::cipher::{Block, BlockCipherEncrypt, KeyInit};
use custody::{ClassName, MasterKey, Purpose, Scope};
use policy::{Column, OnInvalid, OnNull, OnUnknown, Policy, Rule, Spec};
use transform::{Normaliser, People, RunSeed, Technique};

use crate::engine::Rare;
use crate::honey::Planting;
use crate::json::Scanner;
use crate::tree::Tree;
use crate::{Fault, PipelineError, Position};

/// One column of the export.
pub(crate) struct Treatment {
    /// The field it is made of, by its place in the policy.
    pub(crate) field: usize,
    pub(crate) technique: Technique,
    pub(crate) normalisers: Vec<Normaliser>,
    pub(crate) on_null: OnNull,
    pub(crate) on_invalid: OnInvalid,
    pub(crate) column: Column,
    pub(crate) bytes_max: usize,
    /// For techniques that ask whose record it is: the field and its normalisers.
    pub(crate) person: Option<(usize, Vec<Normaliser>)>,
}

/// A policy, ready to run.
pub struct Plan<'a> {
    pub(crate) policy: &'a Policy,
    pub(crate) columns: Vec<Treatment>,
    pub(crate) run: RunSeed,
    pub(crate) planting: Option<Planting>,
    order: Aes256,
}

impl<'a> Plan<'a> {
    /// The policy under its domain's key. `run` is random and fresh for each run, and kept for one that is resumed; `rare` is what
    /// [`crate::count_rare`] gave, and may be empty where no rule asks for it.
    pub fn new(
        policy: &'a Policy,
        master: &MasterKey,
        run: RunSeed,
        rare: Rare,
    ) -> Result<Self, PipelineError> {
        Self::with_vault(policy, master, run, rare, None)
    }

    /// The same for a policy that has rules with `prf+vault`, with the vault that keeps their people.
    pub fn with_vault(
        policy: &'a Policy,
        master: &MasterKey,
        run: RunSeed,
        rare: Rare,
        people: Option<&Arc<dyn People>>,
    ) -> Result<Self, PipelineError> {
        assert_eq!(policy.domain, *master.domain(), "a policy runs under the key of its own domain");
        let mut rare = rare.0;
        let treatment = |(place, rule): (usize, &Rule)| -> Result<Treatment, PipelineError> {
            let known = rare.get_mut(place).and_then(Option::take);
            let technique = rule
                .technique(master, &policy.dataset, known, people)
                .map_err(|source| PipelineError::Technique { path: rule.path.to_string(), source })?;
            let person = match &rule.spec {
                Spec::DateShift { by, .. } => {
                    let field = policy.field_at(by).expect("the policy checked that the field is there");
                    Some((field, policy.fields[field].normalisers.clone()))
                }
                _ => None,
            };
            Ok(Treatment {
                field: policy.field_at(&rule.path).expect("the policy checked that the field is there"),
                technique: technique.expect("dropped fields are no columns"),
                normalisers: rule.normalisers.clone(),
                on_null: rule.on_null,
                on_invalid: rule.on_invalid,
                column: rule.column,
                bytes_max: rule.bytes_max,
                person,
            })
        };
        let columns = policy.columns().enumerate().map(treatment).collect::<Result<_, _>>()?;
        let class = ClassName::new("order").expect("the name is within its limits");
        let order = master.field_key(Purpose::Order, &class, Scope::Dataset, &policy.dataset);
        let order = Aes256::new(order.expose_half().into());
        Ok(Self { policy, columns, run, planting: None, order })
    }

    /// The same for an export of this name, in which rows of made-up persons are planted if the policy says so.
    #[must_use]
    pub fn planted(self, master: &MasterKey, export: &str) -> Self {
        Self { planting: Planting::new(self.policy, master, export), ..self }
    }

    /// Where a record goes among all records of the run: a keyed permutation of their numbers.
    pub(crate) fn rank(&self, record: u64) -> u64 {
        let mut block = [0; 16];
        block[..8].copy_from_slice(&record.to_le_bytes());
        block[8..].copy_from_slice(&self.run.0[..8]);
        self.order.encrypt_block(<&mut Block<Aes256>>::from(&mut block));
        u64::from_le_bytes(*block.first_chunk().expect("a block has 16 bytes"))
    }

    pub(crate) fn stopped(&self, fault: Fault, position: Position) -> PipelineError {
        stopped(self.policy, fault, position)
    }
}

pub(crate) fn scanner(policy: &Policy) -> Scanner {
    Scanner::new(Tree::new(policy), policy.on_unknown == OnUnknown::Drop)
}

pub(crate) fn stopped(policy: &Policy, fault: Fault, position: Position) -> PipelineError {
    let field = fault.field().map(|field| policy.fields[field].path.to_string());
    let kind = fault.kind();
    let source = if let Fault::Value { error, .. } = fault { Some(error) } else { None };
    PipelineError::Stopped { kind, position, field, source }
}
