//! Every order of events of one instance, over the production core.
//!
//! Four validators, two values, rounds 0 to 2. One of the four may be Byzantine, or one may lose its
//! power after any effect, with its record or without. Mail is never lost and never sure: any message
//! that was ever said may be heard at any later time or not at all, timers end at any time.
//!
//! ```text
//!   State  = one number for each validator ──▶ Table: Local {production core, disk, what it said}
//!   Step   = (validator, event) ─▶ Local: computed once by the core, then remembered
//! ```
//! What keeps the number of states small, and why nothing is lost by it:
//! * a state is three or four numbers of interned cores; the network is what the cores have said;
//! * COMMITs are not delivered one by one: in every state each core is asked, in a copy, whether the
//!   COMMITs that exist decide. A COMMIT has no other effect on a core than to show its sender's round,
//!   and its sender's PREPARE of that round shows that too;
//! * the Byzantine validator's words need no memory: it says, to one listener at a time, whatever
//!   passes verification and has an effect there now. What would have an effect later is said later;
//! * so every quorum that two honest messages make, one of them and its help make too: an honest
//!   PREPARE or VIEW-CHANGE and its own come together, at the moment at which they have an effect. A
//!   leader also hears each VIEW-CHANGE alone, because its claim matters. Certificates that differ in
//!   their signers alone are as good as each other (`spec/09-bft.md#view-change`), so one is enough;
//! * what is of a round that the listener has left, and proves nothing new to a leader, is not heard.
//!
//! That these hold is argued here, not proven; `tests/bft` draws its runs without them.

pub mod byzantine;
pub mod local;
pub mod table;

use cairn_protocol::bft::Body;
use stateright::{Model, Property};

pub use table::{Event, Faults, Table};

/// One number for each validator: its [`local::Local`]. 0 stands for the Byzantine one.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct State(pub [u32; 4]);

/// Something happens to one validator.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Step {
    /// To whom.
    pub place: u8,
    /// What.
    pub event: Event,
    /// What it makes of it.
    pub next: u32,
}

impl Model for Table {
    type State = State;
    type Action = Step;

    fn init_states(&self) -> Vec<State> {
        vec![self.first()]
    }

    fn actions(&self, state: &State, steps: &mut Vec<Step>) {
        for place in self.honest() {
            steps.extend_from_slice(&self.moves(state, place).steps);
        }
    }

    fn next_state(&self, state: &State, step: Step) -> Option<State> {
        let mut next = *state;
        next.0[usize::from(step.place)] = step.next;
        Some(next)
    }

    fn properties(&self) -> Vec<Property<Table>> {
        vec![
            Property::always("agreement", |table: &Table, state| {
                let mut values = table.decisions(state);
                values.dedup();
                values.len() <= 1
            }),
            Property::always(
                "honest validators keep their word",
                |table: &Table, state| {
                    table
                        .locals(state)
                        .iter()
                        .all(|local| local.broken.is_none())
                },
            ),
            Property::sometimes("a decision", |table: &Table, state| {
                !table.decisions(state).is_empty()
            }),
            Property::sometimes(
                "a prepared value is proposed again",
                |table: &Table, state| {
                    table.says(state, |body| {
                        matches!(body, Body::NewView { justification, .. }
                        if justification.certificate.is_some())
                    })
                },
            ),
            Property::sometimes("two values are prepared", |table: &Table, state| {
                let named = |id| {
                    table.says(state, |body| match body {
                        Body::Commit { id: other, .. } => *other == id,
                        _ => false,
                    })
                };
                table.values().into_iter().all(named)
            }),
        ]
    }
}
