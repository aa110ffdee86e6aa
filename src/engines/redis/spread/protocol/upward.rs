//! Registers a key under its names, and these under theirs where they would not live long enough.

use std::collections::BTreeSet;

use compact_str::CompactString;

use super::answer::{Answer, Answered};
use super::life::Life;
use super::stamp::Stamps;
use super::step::{Cover, Step, Watch};

/// The registrations of one attempt. All have the same life: those further up are made later.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(super) struct Upward {
    life: Life,
    /// Each name with each member that it has been asked to register.
    asked: BTreeSet<(CompactString, CompactString)>,
    under_way: usize,
    covers: Vec<Step>,
}

impl Upward {
    /// Begins to register `key` under `names` for `life`, which a load may watch.
    pub(super) fn begin(
        key: &CompactString,
        names: &[CompactString],
        life: Life,
        watch: Option<Watch>,
        stamps: &mut Stamps,
    ) -> (Self, Vec<Step>) {
        let mut upward = Self {
            life,
            ..Self::default()
        };
        let steps = upward.register(key, names, watch, stamps);
        (upward, steps)
    }

    fn register(
        &mut self,
        member: &CompactString,
        names: &[CompactString],
        watch: Option<Watch>,
        stamps: &mut Stamps,
    ) -> Vec<Step> {
        let mut steps = Vec::new();
        for name in names {
            if name == member || !self.asked.insert((name.clone(), member.clone())) {
                continue;
            }
            steps.push(Step::Register {
                name: name.clone(),
                member: member.clone(),
                stamp: stamps.next(),
                life: self.life,
                watch,
            });
        }
        self.under_way += steps.len();
        steps
    }

    /// Takes in the answer to a registration: what is to be registered next.
    pub(super) fn advance(&mut self, step: &Step, answered: Answered, stamps: &mut Stamps) -> Vec<Step> {
        self.under_way -= 1;
        let (Step::Register { name, .. }, Answer::Registered { above: Some(above) }) =
            (step, answered.answer)
        else {
            return Vec::new();
        };
        self.covers.push(Step::Cover {
            name: name.clone(),
            cover: Cover {
                record: above.record,
                at: above.at,
                life: self.life,
                epoch: answered.epoch,
            },
        });
        self.register(name, &above.names, None, stamps)
    }

    pub(super) fn is_done(&self) -> bool {
        self.under_way == 0
    }

    /// What is known of the names once all is registered.
    pub(super) fn covers(&mut self) -> Vec<Step> {
        std::mem::take(&mut self.covers)
    }
}
